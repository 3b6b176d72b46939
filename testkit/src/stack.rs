//! The whole product on real servers: PostgreSQL with the `orders` database, an installation that protects it, people
//! and workloads with credentials. The demo, `up` and the end-to-end tests stand on it.

mod certificate;
mod configuration;
mod databases;
pub mod detached;
pub mod federation;
mod mariadb;
mod options;
mod people;
pub mod webhook;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use certificate::create as certificate;
pub use mariadb::{MARIADB_SERVER, on_its_host};
pub use options::{Beside, Enrolment, Options, Privileges};
pub use people::{Credential, Person, Reach, Workload};

use crate::issuer::Issuer;
use crate::mariadb::MariaDb;
use crate::postgres::Postgres;
use crate::process::{Identity, Reaper, Running};
use crate::program::{self, Said};
use crate::slot::{Kind, Slot, slot};
use crate::wait;
use configuration::Ports;
use federation::Federation;
use people::{client_id, enrolled, tenant, workload};

pub const SERVER: &str = "orders";
pub const DEV: &str = "dev@example.com";
pub const APPROVER: &str = "approver@example.com";
pub const AUDITOR: &str = "auditor@example.com";
pub const ADMIN: &str = "admin@example.com";
pub const API: &str = "orders-api";
pub const OWNER: &str = "orders-owner";
/// Where `orders-api` may have people's browsers sent back to.
pub const REDIRECT_URI: &str = "http://localhost:8765/cb";
/// The client that Azure's own tools and libraries sign people in with.
pub const PUBLIC_CLIENT: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

const START_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// All that one needs to know to use a running stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Configuration, store, audit log, people's homes.
    pub folder: PathBuf,
    pub reach: Reach,
    pub dev: Person,
    pub approver: Person,
    pub auditor: Person,
    pub admin: Person,
    pub api: Workload,
    pub owner: Option<Workload>,
    pub federation: Federation,
    pub postgres: PathBuf,
    #[serde(default)]
    pub mariadb: Option<PathBuf>,
}

impl Facts {
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("portcullis.yaml")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("data/audit")
    }

    /// The server's own log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// From now on this copy of the binary is run.
    fn use_binary(&mut self, binary: &Path) {
        binary.clone_into(&mut self.reach.binary);
        let people = [&mut self.dev, &mut self.approver, &mut self.auditor, &mut self.admin];
        for person in people {
            binary.clone_into(&mut person.reach.binary);
        }
        for workload in std::iter::once(&mut self.api).chain(&mut self.owner) {
            binary.clone_into(&mut workload.reach.binary);
        }
    }

    /// The binary with `--config`: what an operator runs on the server's host.
    pub fn on_host(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = program::clean(&self.reach.binary);
        program::run(command.args(arguments).arg("--config").arg(self.configuration()))
    }

    /// A new person, enrolled, eligible for these groups.
    pub fn newcomer(&self, user: &str, eligible: &[&str]) -> Result<Person> {
        let user_document = format!(
            "apiVersion: portcullis.dev/v1\nkind: User\nmetadata: {{ name: {user} }}\n\
             spec: {{ displayName: {user} }}\n"
        );
        let eligibilities = eligible.iter().map(|group| {
            format!(
                "apiVersion: portcullis.dev/v1\nkind: Eligibility\n\
                 metadata: {{ name: {user}.{group} }}\nspec: {{ user: {user}, group: {group} }}\n"
            )
        });
        let documents: Vec<String> = std::iter::once(user_document).chain(eligibilities).collect();
        self.apply(&documents.join("---\n"))?.expect_success()?;
        let person = Person::new(user, &self.reach, &self.folder.join("people"))?;
        person.enrol(&pass(&self.admin.must(&["user", "pass", user, "-o", "json"])?)?)?;
        Ok(person)
    }

    /// `portcullis apply -f -` as the owner.
    pub fn apply(&self, documents: &str) -> Result<Said> {
        program::feed(&mut self.admin.portcullis(&["apply", "-f", "-"]), documents)
    }

    /// Asks for membership and has it approved; the activation's id.
    pub fn activate(&self, person: &Person, group: &str, duration: &str) -> Result<String> {
        let activation = person.request(group, duration)?;
        self.approver.must(&["approve", &activation])?;
        Ok(activation)
    }

    /// Audit events as the auditor reads them, oldest first.
    pub fn audit(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut words = vec!["audit", "-o", "json", "--limit", "10000"];
        words.extend(arguments);
        // One event a line.
        let text = self.auditor.must(&words)?;
        text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
    }
}

/// How long a part took to start.
#[derive(Clone, Debug)]
pub struct Took {
    pub part: &'static str,
    pub length: Duration,
}

/// A running stack. Dropping it ends all of it.
#[derive(Debug)]
pub struct Stack {
    pub facts: Facts,
    pub postgres: Postgres,
    pub mariadb: Option<MariaDb>,
    pub took: Vec<Took>,
    issuer: Option<Issuer>,
    server: Running,
    options: Options,
    reaper: Reaper,
    left_running: bool,
    holds: Vec<Slot>,
}

impl Stack {
    /// Starts one in a folder of its own, when fewer than the allowed number run.
    pub fn start(options: &Options) -> Result<Self> {
        let slot = slot(Kind::Database);
        let folder = private_folder("portcullis-stack-")?;
        let started = Self::start_in(&folder, options, &mut |_| Ok(()))?;
        Ok(started.holding(slot))
    }

    /// Starts one in this folder. `created` hears of everything that must be ended should this process die.
    pub fn start_in(
        folder: &Path,
        options: &Options,
        created: &mut dyn FnMut(&Created<'_>) -> Result<()>,
    ) -> Result<Self> {
        let mut reaper = Reaper::start()?;
        reaper.folder(folder)?;
        let mut parts = Parts::new(folder, options);
        let (postgres, mariadb) = parts.databases(created)?;
        reaper.process(&postgres.postmaster()?)?;
        reaper.folder(postgres.directory())?;
        if let Some(mariadb) = &mariadb {
            reaper.process(&mariadb.process()?)?;
            reaper.folder(mariadb.directory())?;
        }
        let ports = Ports::find()?;
        let issuer = parts.issuer()?;
        let pass = parts.installation((&postgres, mariadb.as_ref()), ports, &issuer)?;
        let (server, reach) = parts.server(ports, created)?;
        reaper.process(server.identity())?;
        let people = parts.people(&reach, &pass, (&postgres, mariadb.as_ref()))?;
        // Enrolment restarted it.
        if let Some(mariadb) = &mariadb {
            reaper.process(&mariadb.process()?)?;
        }
        let Enrolled { admin, dev, approver, auditor, api, owner } = people;
        let federation = Federation {
            issuer: issuer.url.clone(),
            folder: folder.join("issuer"),
            client_id: client_id(&admin, "managedidentities", federation::JOB)?,
        };
        let facts = Facts {
            folder: folder.to_owned(),
            reach: admin.reach.clone(),
            dev,
            approver,
            auditor,
            admin,
            api,
            owner,
            federation,
            postgres: postgres.directory().to_owned(),
            mariadb: mariadb.as_ref().map(|mariadb| mariadb.directory().to_owned()),
        };
        let (took, options) = (parts.took, options.clone());
        Ok(Self {
            facts,
            postgres,
            mariadb,
            took,
            issuer: Some(issuer),
            server,
            options,
            reaper,
            left_running: false,
            holds: Vec::new(),
        })
    }

    /// Gives the slot back when it ends.
    fn holding(mut self, slot: Slot) -> Self {
        self.holds.push(slot);
        self
    }

    /// The server's process.
    pub fn server(&mut self) -> &mut Running {
        &mut self.server
    }

    /// As an operator's `systemctl stop`.
    pub fn stop_server(&mut self) -> Result<()> {
        self.server.stop(STOP_WITHIN).map(drop)
    }

    /// As a crash.
    pub fn kill_server(&mut self) -> Result<()> {
        self.server.kill().map(drop)
    }

    /// Starts it again on the same ports.
    pub fn start_server(&mut self) -> Result<()> {
        let mut command =
            server_command(&self.facts.reach.binary, &self.facts.folder, &self.options);
        self.server = Running::start(&mut command, &self.facts.log())?;
        self.reaper.process(self.server.identity())?;
        let reach = &self.facts.reach;
        let ports = [reach.https_port()?, reach.port, reach.oauth_port];
        ready(&mut self.server, &ports, &self.facts.log())
    }

    /// Another environment for the server's next start.
    pub fn environment(&mut self, environment: &[(String, String)]) {
        self.options.environment = environment.to_vec();
    }

    /// The cluster's issuer, to be told how to behave.
    pub fn issuer(&self) -> Result<&Issuer> {
        self.issuer.as_ref().context("it runs beside us")
    }

    /// Leaves everything running after this process.
    pub fn leave_running(mut self) -> Result<Facts> {
        self.left_running = true;
        self.reaper.dismiss();
        self.postgres.detach()?;
        if let Some(mariadb) = &mut self.mariadb {
            mariadb.detach()?;
        }
        Ok(self.facts.clone())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.left_running {
            return;
        }
        // The end of a test must not wait for sessions to drain.
        let ended = self.server.kill().map(drop);
        let removed = fs::remove_dir_all(&self.facts.folder);
        if ended.is_ok() && removed.is_ok() {
            self.reaper.dismiss();
        }
    }
}

/// Something that outlives this process unless it is ended.
#[derive(Debug)]
pub enum Created<'a> {
    Postgres(&'a Path),
    MariaDb(&'a Path),
    Server(&'a Identity),
}

/// The stack while it is being made.
struct Parts<'a> {
    folder: &'a Path,
    options: &'a Options,
    took: Vec<Took>,
}

struct Enrolled {
    admin: Person,
    dev: Person,
    approver: Person,
    auditor: Person,
    api: Workload,
    owner: Option<Workload>,
}

impl<'a> Parts<'a> {
    fn new(folder: &'a Path, options: &'a Options) -> Self {
        Self { folder, options, took: Vec::new() }
    }

    fn timed<T>(&mut self, part: &'static str, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = wait::now();
        let made = make().with_context(|| part.to_owned())?;
        self.took.push(Took { part, length: started.elapsed() });
        Ok(made)
    }

    fn issuer(&mut self) -> Result<Issuer> {
        let folder = self.folder.join("issuer");
        self.timed("issuer", || {
            let issuer = Issuer::start(&folder)?;
            federation::write_token(&folder, &issuer.url)?;
            Ok(issuer)
        })
    }

    /// The owner's Temporary Access Pass.
    fn installation(
        &mut self,
        databases: (&Postgres, Option<&MariaDb>),
        ports: Ports,
        issuer: &Issuer,
    ) -> Result<String> {
        let (folder, options) = (self.folder, self.options);
        self.timed("installation", || {
            let certificate = certificate::create(&folder.join("orders-api.pem"))?;
            configuration::seed(folder, databases, &certificate, options)?;
            let workloads = federation::documents(&issuer.url, options);
            fs::write(folder.join("seed/7-federation.yaml"), workloads)?;
            let file = configuration::write(folder, ports, options, issuer)?;
            let mut init = program::clean(program::binary()?);
            init.args(["init", "--tenant", "Example", "--domain", "example.com"]);
            init.args(["--owner", ADMIN, "-o", "json", "--config"]).arg(file);
            pass(&program::run(&mut init)?.expect_success()?)
        })
    }

    fn server(
        &mut self,
        ports: Ports,
        created: &mut dyn FnMut(&Created<'_>) -> Result<()>,
    ) -> Result<(Running, Reach)> {
        let (folder, options) = (self.folder, self.options);
        let binary = program::binary()?;
        let server = self.timed("Portcullis", || {
            let log = folder.join("server.log");
            let mut command = server_command(&binary, folder, options);
            let mut server = Running::start(&mut command, &log)?;
            created(&Created::Server(server.identity()))?;
            ready(&mut server, &[ports.https, ports.postgresql, ports.oauth], &log)?;
            Ok(server)
        })?;
        let reach = Reach {
            binary,
            url: ports.origin(),
            ca: folder.join("data/ca.pem"),
            tenant: String::new(),
            port: ports.postgresql,
            oauth_port: ports.oauth,
            mysql_port: match options.beside {
                Beside::Nothing => 0,
                Beside::MariaDb => ports.mysql,
            },
            database: "orders".to_owned(),
            environment: Vec::new(),
        };
        Ok((server, reach))
    }

    fn people(
        &mut self,
        reach: &Reach,
        pass: &str,
        (postgres, beside): (&Postgres, Option<&MariaDb>),
    ) -> Result<Enrolled> {
        let folder = self.folder.join("people");
        let mut reach = reach.clone();
        let owner_of_all = self.timed("first owner", || {
            let admin = Person::new(ADMIN, &reach, &folder)?;
            admin.enrol(pass)?;
            Ok(admin)
        })?;
        reach.tenant = tenant(&owner_of_all)?;
        ensure!(!reach.tenant.is_empty(), "the tenant has no id");
        let admin = Person { reach: reach.clone(), ..owner_of_all };
        if self.options.enrolment == Enrolment::Applied {
            self.timed("enrolment of the server", || enroll(&admin, postgres))?;
            if let Some(mariadb) = beside {
                self.timed("enrolment of MariaDB", || mariadb::enroll(&admin, mariadb))?;
            }
        }
        let (dev, approver, auditor) = self.timed("people", || {
            let enrolled = |user| enrolled(&admin, user, &folder);
            Ok((enrolled(DEV)?, enrolled(APPROVER)?, enrolled(AUDITOR)?))
        })?;
        let (privileges, certificate) =
            (self.options.privileges, self.folder.join("orders-api.pem"));
        let (api, owner) = self.timed("workloads", || {
            let api = workload(&admin, API, Some(certificate))?;
            let owner = match privileges {
                Privileges::Ordinary => None,
                Privileges::TestStack => Some(workload(&admin, OWNER, None)?),
            };
            Ok((api, owner))
        })?;
        Ok(Enrolled { admin, dev, approver, auditor, api, owner })
    }
}

fn server_command(binary: &Path, folder: &Path, options: &Options) -> Command {
    let mut command = match options.wrapper.split_first() {
        None => program::clean(binary),
        Some((program, arguments)) => {
            let mut command = program::clean(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command.args(["server", "--config"]).arg(folder.join("portcullis.yaml")).current_dir(folder);
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// Waits until every port answers.
fn ready(server: &mut Running, ports: &[u16], log: &Path) -> Result<()> {
    let said = || fs::read_to_string(log).unwrap_or_default();
    for port in ports {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        let answer = wait::try_until(START_WITHIN, || match server.ended() {
            Some(status) => Some(Err(status)),
            None => TcpStream::connect(address).ok().map(|_| Ok(())),
        });
        match answer {
            Some(Ok(())) => {}
            Some(Err(status)) => bail!("the server ended with {status}\n{}", said()),
            None => bail!("nothing answers on port {port}\n{}", said()),
        }
    }
    Ok(())
}

/// The stack that tests share when they do not disturb one another: the one that `PORTCULLIS_STACK` names, else one that
/// lives as long as this process.
pub fn shared() -> Result<&'static Facts> {
    static SHARED: Mutex<Option<&'static Facts>> = Mutex::new(None);

    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(facts) = *shared {
        return Ok(facts);
    }
    let facts: &'static Facts = match program::setting("PORTCULLIS_STACK") {
        Some(folder) => Box::leak(Box::new(detached::attach(Path::new(&folder))?)),
        // Never dropped; the reaper ends it when this process does.
        None => &Box::leak(Box::new(Stack::start(&Options::default())?)).facts,
    };
    *shared = Some(facts);
    Ok(facts)
}

/// A new temporary folder that only we can enter.
pub fn private_folder(prefix: &str) -> Result<PathBuf> {
    let mode = fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix(prefix).permissions(mode).tempdir()?;
    Ok(folder.keep())
}

/// What an operator does on the database's host.
fn enroll(admin: &Person, postgres: &Postgres) -> Result<()> {
    let mut command = admin.portcullis(&["server", "enroll", SERVER, "--apply"]);
    command.arg("--data-directory").arg(postgres.data_directory());
    command.arg("--socket-directory").arg(postgres.socket_directory());
    command.args(["--os-user", postgres.os_user(), "--superuser", "postgres"]);
    let direct = postgres.directory().join("direct-ca.pem");
    if postgres.direct().is_some() {
        command.arg("--additional-authority").arg(direct);
    }
    program::run(&mut command)?.expect_success()?;
    Ok(())
}

/// The Temporary Access Pass in what `init` and `user pass` print.
fn pass(printed: &str) -> Result<String> {
    let printed: Value = serde_json::from_str(printed).context("not JSON")?;
    let pass = printed.get("pass").and_then(Value::as_str);
    Ok(pass.with_context(|| format!("no pass among {:?}", keys(&printed)))?.to_owned())
}

/// What was printed instead, without its values: they may be secret.
fn keys(value: &Value) -> Vec<&String> {
    value.as_object().map(|fields| fields.keys().collect()).unwrap_or_default()
}
