//! A stack that stays when we end: `up` and `down`, and how tests attach to one.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::webhook::{self, StandIn, Webhook};
use super::{
    Beside, Created, Facts, Options, PUBLIC_CLIENT, Privileges, REDIRECT_URI, Stack, Workload,
    federation,
};
use crate::mariadb::{self, MariaDb};
use crate::postgres::{self, Postgres};
use crate::process::{self, Identity, Running};
use crate::server::Fsync;
use crate::{program, wait};

/// What runs and must be ended, one a line; written before anything else learns of it.
const LEDGER: &str = "ledger";
/// How it is used, for tests that attach.
const FACTS: &str = "facts.json";
/// How it is used, for a shell.
const ENVIRONMENT: &str = "env";

const STOP_WITHIN: Duration = Duration::from_secs(15);
const START_WITHIN: Duration = Duration::from_secs(15);

/// Starts the stack with everything that tests need, so that it can be left running. What half-started is ended; a folder
/// that holds someone else's stack or files is left alone.
pub fn up(folder: &Path, options: &Options, stand_in: &StandIn) -> Result<Stack> {
    let folder = prepare(folder)?;
    let started = start(&folder, options, stand_in);
    if started.is_err() {
        down(&folder).context("what had started could not be ended")?;
    }
    started
}

fn start(folder: &Path, options: &Options, stand_in: &StandIn) -> Result<Stack> {
    let mut ledger = fs::OpenOptions::new().create(true).append(true).open(folder.join(LEDGER))?;
    let mut created = |created: &Created<'_>| -> Result<()> {
        match created {
            Created::Postgres(folder) => writeln!(ledger, "postgres {}", folder.display())?,
            Created::MariaDb(folder) => writeln!(ledger, "mariadb {}", folder.display())?,
            Created::Server(Identity { pid, started }) => {
                writeln!(ledger, "server {pid} {started}")?;
            }
        }
        Ok(ledger.sync_data()?)
    };
    // The stack's own process must be able to run after this checkout has built another.
    let kept = folder.join("portcullis");
    fs::copy(program::binary()?, &kept)?;
    let mut started = Stack::start_in(folder, options, &mut created)?;
    detach_issuer(&mut started, stand_in, &mut created)?;
    finish(started, &kept, (stand_in, &mut created))
}

/// The issuer goes on as a process of its own.
fn detach_issuer(
    stack: &mut Stack,
    stand_in: &StandIn,
    created: &mut dyn FnMut(&Created<'_>) -> Result<()>,
) -> Result<()> {
    let Some(issuer) = stack.issuer.take() else { return Ok(()) };
    let StandIn::Program(own) = stand_in else {
        // A test's own process, which is no program to start again: it goes on in there.
        std::mem::forget(issuer);
        return Ok(());
    };
    let (folder, port) = (stack.facts.federation.folder.clone(), issuer.port()?);
    drop(issuer);
    let kept = stack.facts.folder.join("issuer-of-the-stack");
    fs::copy(own, &kept)?;
    let mut command = program::clean(&kept);
    command.args(["issuer", "--port", &port.to_string(), "--dir"]).arg(&folder);
    let running = Running::start(&mut command, &folder.join("log"))?;
    created(&Created::Server(running.identity()))?;
    let address = (Ipv4Addr::LOCALHOST, port);
    wait::until(START_WITHIN, "the issuer", || TcpStream::connect(address).ok());
    Ok(())
}

/// Hears of what must be ended.
type Ledger<'a> = &'a mut dyn FnMut(&Created<'_>) -> Result<()>;

fn finish(
    mut stack: Stack,
    kept: &Path,
    (stand_in, created): (&StandIn, Ledger<'_>),
) -> Result<Stack> {
    let folder = stack.facts.folder.clone();
    stack.facts.use_binary(kept);
    if stack.facts.owner.is_some() {
        let part = wait::now();
        first_logins(&stack.facts).context("first logins")?;
        stack.took.push(super::Took { part: "first logins", length: part.elapsed() });
    }
    let mut facts = process::private_file(&folder.join(FACTS))?;
    facts.write_all(serde_json::to_string_pretty(&stack.facts)?.as_bytes())?;
    let part = wait::now();
    let webhook =
        webhook::start(&stack.facts, &folder, stand_in, created).context("admission webhook")?;
    stack.took.push(super::Took { part: "admission webhook", length: part.elapsed() });
    let environment = environment(&stack, &webhook)?;
    process::private_file(&folder.join(ENVIRONMENT))?.write_all(environment.as_bytes())?;
    Ok(stack)
}

/// The stack that `up` left in this folder.
pub fn attach(folder: &Path) -> Result<Facts> {
    let text = fs::read_to_string(folder.join(FACTS)).context("no stack runs there")?;
    Ok(serde_json::from_str(&text)?)
}

/// Ends what `up` started, as far as it still runs, and removes the folder. Nothing happens the second time.
pub fn down(folder: &Path) -> Result<()> {
    let ledger = match fs::read_to_string(folder.join(LEDGER)) {
        Ok(ledger) => ledger,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if folder.join(ENVIRONMENT).try_exists()? {
                bail!("`{}` is not a folder of `up`'s", folder.display());
            }
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for line in ledger.lines().rev() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["server", pid, started] => {
                let pid = pid.parse().context("the ledger is damaged")?;
                Identity { pid, started: (*started).to_owned() }.stop(STOP_WITHIN);
            }
            ["postgres", directory] => postgres::stop(Path::new(directory))?,
            ["mariadb", directory] => mariadb::stop(Path::new(directory))?,
            _ => bail!("the ledger is damaged: `{line}`"),
        }
    }
    fs::remove_dir_all(folder).with_context(|| format!("`{}` stays", folder.display()))
}

/// An empty folder that only we can enter.
fn prepare(folder: &Path) -> Result<PathBuf> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    if folder.join(LEDGER).try_exists()? {
        bail!("a stack was started in `{0}`; end it with `down --dir {0}`", folder.display());
    }
    if fs::read_dir(folder)?.next().is_some() {
        bail!("`{}` is not empty", folder.display());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    Ok(folder.canonicalize()?)
}

/// Each workload once through the gateway, so that its database user exists.
fn first_logins(facts: &Facts) -> Result<()> {
    for workload in std::iter::once(&facts.api).chain(&facts.owner) {
        let user = workload.psql("select session_user")?.expect_success()?;
        if user != workload.application {
            bail!("`{}` became `{user}`", workload.application);
        }
    }
    Ok(())
}

/// Where a shell finds everything. Values without quotes: none of them holds a character that a shell would read.
fn environment(stack: &Stack, webhook: &Webhook) -> Result<String> {
    let facts = &stack.facts;
    let mut pairs = addresses(facts, &stack.postgres);
    pairs.extend(stack.mariadb.iter().flat_map(|mariadb| beside(mariadb, facts)));
    let people = [
        ("DEV", &facts.dev),
        ("APPROVER", &facts.approver),
        ("AUDITOR", &facts.auditor),
        ("ADMIN", &facts.admin),
    ];
    for (prefix, person) in people {
        let secret = fs::read_to_string(person.totp_secret_file())?;
        pairs.push((format!("{prefix}_USER"), person.user.clone()));
        pairs.push((format!("{prefix}_KEY_FILE"), path(&person.key_file())));
        pairs.push((format!("{prefix}_TOTP_SECRET"), secret.trim().to_owned()));
        pairs.push((format!("{prefix}_TOTP_SECRET_FILE"), path(&person.totp_secret_file())));
    }
    for (prefix, workload) in [("API", Some(&facts.api)), ("OWNER", facts.owner.as_ref())] {
        pairs.extend(workload.iter().flat_map(|workload| credentials(prefix, workload)));
    }
    pairs.extend(sdk(facts)?);
    pairs.push(("WEBHOOK_URL".to_owned(), webhook.url.clone()));
    let bundle = path(&bundle(facts, webhook)?);
    let ca = path(&facts.reach.ca);
    pairs.extend(
        [
            ("SSL_CERT_FILE", bundle.clone()),
            ("REQUESTS_CA_BUNDLE", bundle.clone()),
            ("CURL_CA_BUNDLE", bundle),
            ("NODE_EXTRA_CA_CERTS", ca.clone()),
            ("PGSSLROOTCERT", ca),
            ("AZURE_CORE_INSTANCE_DISCOVERY", "false".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let mut text = String::new();
    for (name, value) in &pairs {
        if !value.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:@~+=,".contains(c)) {
            bail!("{name} holds a character that a shell would read");
        }
        writeln!(text, "{name}={value}")?;
    }
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    writeln!(text, "export {}", names.join(" "))?;
    Ok(text)
}

fn addresses(facts: &Facts, postgres: &Postgres) -> Vec<(String, String)> {
    let reach = &facts.reach;
    let mut pairs = vec![
        ("PORTCULLIS", path(&reach.binary)),
        ("PORTCULLIS_URL", reach.url.clone()),
        ("PORTCULLIS_CA", path(&reach.ca)),
        ("AZURE_AUTHORITY_HOST", reach.url.clone()),
        ("AZURE_TENANT_ID", reach.tenant.clone()),
        ("SDK_REDIRECT_URI", REDIRECT_URI.to_owned()),
        ("PUBLIC_CLIENT_ID", PUBLIC_CLIENT.to_owned()),
        ("PG_HOST", "localhost".to_owned()),
        ("PG_PORT", reach.port.to_string()),
        ("PG_OAUTH_PORT", reach.oauth_port.to_string()),
        ("PG_DB", reach.database.clone()),
        ("PG_DIRECT_HOST", "127.0.0.1".to_owned()),
        ("PG_DIRECT_PORT", postgres.port().to_string()),
        ("PG_DIRECT_CA", path(&postgres.server_ca_file())),
        ("PORTCULLIS_CONFIG", path(&facts.configuration())),
        ("PG_DATA_DIRECTORY", path(&postgres.data_directory())),
        ("PG_LOG", path(&postgres.log())),
    ];
    if let Some(direct) = postgres.direct() {
        pairs.push(("PG_DIRECT_USER", "postgres".to_owned()));
        pairs.push(("PG_DIRECT_CERT", path(&direct.certificate)));
        pairs.push(("PG_DIRECT_KEY", path(&direct.key)));
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn beside(mariadb: &MariaDb, facts: &Facts) -> Vec<(String, String)> {
    let mut pairs = vec![
        ("MYSQL_HOST", "localhost".to_owned()),
        ("MYSQL_PORT", facts.reach.mysql_port.to_string()),
        ("MYSQL_DB", "orders".to_owned()),
        ("MYSQL_DIRECT_HOST", "127.0.0.1".to_owned()),
        ("MYSQL_DIRECT_PORT", mariadb.port().to_string()),
        ("MYSQL_DIRECT_CA", path(&mariadb.server_ca_file())),
        ("MYSQL_DATA_DIRECTORY", path(&mariadb.data_directory())),
        ("MYSQL_LOG", path(&mariadb.log())),
    ];
    if let Some(direct) = mariadb.direct() {
        pairs.push(("MYSQL_DIRECT_USER", mariadb::SUPERUSER.to_owned()));
        pairs.push(("MYSQL_DIRECT_CERT", path(&direct.certificate)));
        pairs.push(("MYSQL_DIRECT_KEY", path(&direct.key)));
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn credentials(prefix: &str, workload: &Workload) -> Vec<(String, String)> {
    let mut pairs = vec![
        ("CLIENT_ID", workload.client_id.clone()),
        ("CLIENT_SECRET", workload.secret.clone()),
        ("DB_USER", workload.application.clone()),
    ];
    if let Some(certificate) = &workload.certificate {
        pairs.push(("CLIENT_CERTIFICATE_PATH", path(certificate)));
    }
    pairs.into_iter().map(|(name, value)| (format!("{prefix}_{name}"), value)).collect()
}

/// What Azure's libraries are tried with: an application with every kind of credential, and a managed identity with an
/// issuer that vouches for it.
fn sdk(facts: &Facts) -> Result<Vec<(String, String)>> {
    let (api, federation) = (&facts.api, &facts.federation);
    let certificate = api.certificate.as_deref().context("the application has no certificate")?;
    let pairs = [
        ("SDK_CLIENT_ID", api.client_id.clone()),
        ("SDK_CLIENT_SECRET", api.secret.clone()),
        ("SDK_CLIENT_CERT", path(certificate)),
        ("SDK_DB_USER", api.application.clone()),
        ("MI_CLIENT_ID", federation.client_id.clone()),
        ("MI_DB_USER", federation::JOB.to_owned()),
        ("FEDERATED_TOKEN_FILE", path(&federation.token_file())),
        ("FED_ISSUER", federation.issuer.clone()),
        ("FED_SUBJECT", federation::SUBJECT.to_owned()),
        ("FED_KEY", path(&federation.key_file())),
        ("FED_KID", federation.kid()?),
    ];
    Ok(pairs.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The machine's authorities and the installation's: the variables that name it replace the former.
fn bundle(facts: &Facts, webhook: &Webhook) -> Result<PathBuf> {
    let machine = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    let ours = fs::read_to_string(&facts.reach.ca)?;
    let file = facts.folder.join("ca-bundle.pem");
    fs::write(&file, format!("{machine}{ours}{}", webhook.authority))?;
    Ok(file)
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// What `up` starts.
pub fn options(privileges: Privileges, fsync: Fsync) -> Options {
    Options { privileges, fsync, beside: Beside::MariaDb, ..Options::default() }
}
