//! azure-cli as it is, from PyPI: it registers the installation as a cloud, signs in in each way, and psql opens the
//! database with the token that it prints. It is large, so it is no part of the ordinary tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::program;
use testkit::stack::{API, DEV, Facts, Options, Stack};

use crate::install::{self, Cache};

const VERSION: &str = "2.91.0";
/// How azure-cli says where to type the code; people and scripts look for it.
const CODE: &str = "enter the code ";

/// Anything that does not go as azure-cli's manual says is an error.
pub(crate) fn run(cache: &Cache) -> Result<()> {
    let az = install(cache)?;
    println!("Starting the gateway and PostgreSQL …");
    let stack = Stack::start(&Options::default())?;
    let facts = &stack.facts;
    let folder = tempfile::tempdir()?;
    let cli = Cli { az: &az, home: folder.path(), facts };
    cli.register()?;
    for (what, check) in CHECKS {
        check(&cli).with_context(|| (*what).to_owned())?;
        println!("  {what}");
    }
    Ok(())
}

fn install(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.folder(&format!("azure-cli-{VERSION}"))?;
    let (az, made) = (folder.join("venv/bin/az"), folder.join("made"));
    if made.try_exists()? {
        return Ok(az);
    }
    println!("Installing azure-cli {VERSION} from PyPI …");
    install::must(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")),
    )?;
    let mut pip = Command::new(folder.join("venv/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary"]);
    install::must(pip.arg(format!("azure-cli=={VERSION}")))?;
    std::fs::write(made, "")?;
    Ok(az)
}

struct Cli<'a> {
    az: &'a Path,
    home: &'a Path,
    facts: &'a Facts,
}

type Check = fn(&Cli<'_>) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("the cloud is as the metadata endpoint says", |cli| {
        let cloud = cli.json(&["cloud", "show"])?;
        let told =
            |pointer: &str| cloud.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let origin = &cli.facts.reach.url;
        ensure!(told("/endpoints/activeDirectory").trim_end_matches('/') == origin, "{cloud}");
        ensure!(told("/endpoints/resourceManager").trim_end_matches('/') == origin, "{cloud}");
        ensure!(
            told("/endpoints/ossrdbmsResourceId") == "https://ossrdbms-aad.database.windows.net",
            "{cloud}"
        );
        Ok(())
    }),
    // First: azure-cli keeps tokens, and shows a secret only when it has none.
    ("a wrong secret is refused with the reason", |cli| {
        let said = program::run(&mut cli.login(&["--password=wrong"]))?;
        ensure!(!said.ok() && said.stderr.contains("AADSTS7000215"), "{}", said.stderr);
        Ok(())
    }),
    ("a service principal with a secret signs in, and its token opens the database", |cli| {
        let secret = format!("--password={}", cli.facts.api.secret);
        cli.service_principal(&[&secret])?;
        cli.opens(API)
    }),
    ("a service principal with a certificate signs in, and its token opens the database", |cli| {
        let certificate = cli.facts.api.certificate.as_ref().context("it has no certificate")?;
        cli.service_principal(&["--certificate", &certificate.display().to_string()])?;
        cli.opens(API)
    }),
    ("a person signs in with a device code that they approve elsewhere", |cli| {
        cli.device_code()?;
        let activation = cli.facts.activate(&cli.facts.dev, "orders-readers", "30m")?;
        ensure!(!activation.is_empty());
        cli.opens(DEV)
    }),
    ("the subscription and the tenant are listed", |cli| {
        let subscriptions = cli.json(&["account", "list"])?;
        let tenant = subscriptions.pointer("/0/tenantId").and_then(Value::as_str);
        ensure!(tenant == Some(&cli.facts.reach.tenant), "{subscriptions}");
        let address = format!("{}/tenants?api-version=2022-12-01", cli.facts.reach.url);
        let tenants = cli.json(&["rest", "--url", &address, "--resource", "api://portcullis"])?;
        let listed = tenants.pointer("/value/0/tenantId").and_then(Value::as_str);
        ensure!(listed == Some(&cli.facts.reach.tenant), "{tenants}");
        Ok(())
    }),
];

impl Cli<'_> {
    /// Exactly what the guide prints.
    fn az(&self, arguments: &[&str]) -> Command {
        let mut command = program::clean(self.az);
        command
            .args(arguments)
            .env("AZURE_CONFIG_DIR", self.home)
            .env("AZURE_CORE_INSTANCE_DISCOVERY", "false")
            .env("AZURE_CORE_COLLECT_TELEMETRY", "false")
            .env("AZURE_CORE_LOGIN_EXPERIENCE_V2", "false")
            .env("REQUESTS_CA_BUNDLE", &self.facts.reach.ca)
            .env("NO_PROXY", "localhost,127.0.0.1");
        command
    }

    fn must(&self, arguments: &[&str]) -> Result<String> {
        program::run(&mut self.az(arguments))?.expect_success()
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.must(&[arguments, &["--output", "json"]].concat())?;
        serde_json::from_str(&said).context(said)
    }

    fn register(&self) -> Result<()> {
        let origin = &self.facts.reach.url;
        self.must(&[
            "cloud",
            "register",
            "-n",
            "Portcullis",
            "--endpoint-resource-manager",
            origin,
        ])?;
        self.must(&["cloud", "set", "-n", "Portcullis"]).map(drop)
    }

    fn login(&self, credential: &[&str]) -> Command {
        let (client, tenant) = (&self.facts.api.client_id, &self.facts.reach.tenant);
        let who = ["login", "--service-principal", "--username", client, "--tenant", tenant];
        self.az(&[&who, credential].concat())
    }

    fn service_principal(&self, credential: &[&str]) -> Result<()> {
        program::run(&mut self.login(credential))?.expect_success().map(drop)
    }

    /// The code is read from what azure-cli prints, and approved by the person's own sign-in.
    fn device_code(&self) -> Result<()> {
        let tenant = &self.facts.reach.tenant;
        let mut login = self.az(&["login", "--use-device-code", "--tenant", tenant]);
        let mut child =
            login.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = BufReader::new(child.stderr.take().context("no standard error")?);
        let mut heard = String::new();
        for line in said.lines() {
            let line = line?;
            heard.push_str(&line);
            heard.push('\n');
            let Some((_, rest)) = line.split_once(CODE) else { continue };
            let code = rest.split_whitespace().next().context("no code")?.to_owned();
            let dev = &self.facts.dev;
            let mut approve =
                dev.portcullis(&["login", DEV, "--device-code", &code, "--decision", "approve"]);
            approve.arg("--key-file").arg(dev.key_file());
            approve.arg("--totp-secret-file").arg(dev.totp_secret_file());
            program::run(&mut approve)?.expect_success()?;
        }
        let ended = child.wait()?;
        ensure!(ended.success(), "azure-cli did not sign in: {heard}");
        Ok(())
    }

    /// The line of the guide.
    fn opens(&self, user: &str) -> Result<()> {
        let token = self.json(&["account", "get-access-token", "--resource-type", "oss-rdbms"])?;
        let token = token.get("accessToken").and_then(Value::as_str).context("no `accessToken`")?;
        let said = self.facts.reach.psql(user, token, "select session_user")?.expect_success()?;
        ensure!(said == user, "the database says `{said}`");
        Ok(())
    }
}
