//! People and workloads of a stack, and the commands that they run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{keys, pass};
use crate::program::{self, Said};

/// How an installation is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reach {
    pub binary: PathBuf,
    pub url: String,
    /// PEM file of the installation's authority.
    pub ca: PathBuf,
    pub tenant: String,
    pub port: u16,
    pub oauth_port: u16,
    /// 0 when nothing is spoken there.
    #[serde(default)]
    pub mysql_port: u16,
    pub database: String,
    /// More environment for every client.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
}

/// Someone with an enrolled key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    pub user: String,
    pub reach: Reach,
    /// Device key, TOTP secret and token cache lie in here.
    pub home: PathBuf,
}

impl Person {
    pub fn new(user: &str, reach: &Reach, people: &Path) -> Result<Self> {
        let home = people.join(user);
        fs::create_dir_all(&home)?;
        Ok(Self { user: user.to_owned(), reach: reach.clone(), home })
    }

    pub fn key_file(&self) -> PathBuf {
        self.home.join("device.pem")
    }

    /// The base32 secret from which an authenticator makes its codes.
    pub fn totp_secret_file(&self) -> PathBuf {
        self.home.join("totp.secret")
    }

    /// Uses a Temporary Access Pass up: a key on this machine, a TOTP secret, and a first sign-in.
    pub fn enrol(&self, pass: &str) -> Result<()> {
        self.login(&["--pass"], pass).map(drop)
    }

    /// Signs in with what enrolment made.
    pub fn sign_in(&self) -> Result<()> {
        self.login(&[], "").map(drop)
    }

    fn login(&self, more: &[&str], input: &str) -> Result<String> {
        let mut command = self.portcullis(&["login", &self.user]);
        command.arg("--key-file").arg(self.key_file());
        command.arg("--totp-secret-file").arg(self.totp_secret_file()).args(more);
        let said = program::feed(&mut command, input)?;
        said.expect_success().with_context(|| format!("{} cannot sign in", self.user))
    }

    /// The binary as this person would run it.
    pub fn portcullis(&self, arguments: &[&str]) -> Command {
        let mut command = self.reach.portcullis(&self.home);
        command.args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Result<Said> {
        program::run(&mut self.portcullis(arguments))
    }

    /// Its output; an error when it does not succeed.
    pub fn must(&self, arguments: &[&str]) -> Result<String> {
        self.run(arguments)?.expect_success()
    }

    /// A database token.
    pub fn token(&self) -> Result<String> {
        self.must(&["token"])
    }

    /// `psql` through the gateway under this person's own name.
    pub fn psql(&self, sql: &str) -> Result<Said> {
        self.reach.psql(&self.user, &self.token()?, sql)
    }

    /// Asks for membership of a group; the activation's id.
    pub fn request(&self, group: &str, duration: &str) -> Result<String> {
        let arguments =
            ["request", group, "--for", duration, "--because", "end-to-end test", "-o", "json"];
        let asked = self.run(&arguments)?.json()?;
        let id = asked.pointer("/metadata/name").and_then(|name| name.as_str());
        Ok(id.with_context(|| format!("no id in {asked}"))?.to_owned())
    }
}

impl Reach {
    /// Where the API and the token service listen.
    pub fn https_port(&self) -> Result<u16> {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.with_context(|| format!("no port in {}", self.url))
    }

    /// The binary, with token cache and device key in this folder.
    pub fn portcullis(&self, home: &Path) -> Command {
        let mut command = program::clean(&self.binary);
        command
            .env("PORTCULLIS_URL", &self.url)
            .env("PORTCULLIS_CA", &self.ca)
            .env("PORTCULLIS_HOME", home)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `psql` through the gateway: TLS with the names checked, a token as the password.
    pub fn psql(&self, user: &str, token: &str, sql: &str) -> Result<Said> {
        program::feed(self.client("psql", user, token).args(["-X", "-A", "-t", "-f", "-"]), sql)
    }

    /// Any client of PostgreSQL's, told by its environment where to go.
    pub fn client(&self, name: &str, user: &str, token: &str) -> Command {
        let mut command = program::clean(name);
        command
            .env("PGHOST", "localhost")
            .env("PGPORT", self.port.to_string())
            .env("PGDATABASE", &self.database)
            .env("PGUSER", user)
            .env("PGPASSWORD", token)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &self.ca)
            .env("PGCONNECT_TIMEOUT", "20")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A workload with a credential of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workload {
    pub application: String,
    pub client_id: String,
    pub secret: String,
    /// PEM: certificate and key, as Azure's libraries want them.
    pub certificate: Option<PathBuf>,
    pub reach: Reach,
}

impl Workload {
    /// A database token, by the environment that Azure's libraries follow.
    pub fn token_command(&self, with: Credential) -> Result<Command> {
        self.portcullis(with, &["token"])
    }

    /// The binary as this workload would run it.
    pub fn portcullis(&self, with: Credential, arguments: &[&str]) -> Result<Command> {
        // No cache of anyone's: a workload signs in afresh.
        let home = self.reach.ca.parent().unwrap_or(Path::new("/")).join("nobody");
        let mut command = self.reach.portcullis(&home);
        command
            .args(arguments)
            .env("AZURE_AUTHORITY_HOST", &self.reach.url)
            .env("AZURE_TENANT_ID", &self.reach.tenant)
            .env("AZURE_CLIENT_ID", &self.client_id);
        match with {
            Credential::Secret => command.env("AZURE_CLIENT_SECRET", &self.secret),
            Credential::Certificate => {
                let path = self.certificate.as_ref().context("it has no certificate")?;
                command.env("AZURE_CLIENT_CERTIFICATE_PATH", path)
            }
        };
        Ok(command)
    }

    pub fn token(&self, with: Credential) -> Result<String> {
        program::run(&mut self.token_command(with)?)?.expect_success()
    }

    pub fn psql(&self, sql: &str) -> Result<Said> {
        self.reach.psql(&self.application, &self.token(Credential::Secret)?, sql)
    }
}

/// Which credential a workload shows.
#[derive(Clone, Copy, Debug)]
pub enum Credential {
    Secret,
    /// An assertion signed with its certificate's key.
    Certificate,
}

/// An application of the example, with a secret of its own.
pub(super) fn workload(
    admin: &Person,
    application: &str,
    certificate: Option<PathBuf>,
) -> Result<Workload> {
    let added = ["application", "secret", "add", application, "-o", "json"];
    let added = admin.run(&added)?.json()?;
    let secret = added.get("secret").and_then(Value::as_str);
    let secret = secret.with_context(|| format!("no secret among {:?}", keys(&added)))?.to_owned();
    let client_id = client_id(admin, "applications", application)?;
    let (application, reach) = (application.to_owned(), admin.reach.clone());
    Ok(Workload { application, client_id, secret, certificate, reach })
}

/// The client id that was drawn for it.
pub(super) fn client_id(admin: &Person, kind: &str, workload: &str) -> Result<String> {
    let document = admin.run(&["get", kind, workload, "-o", "json"])?.json()?;
    let client_id = document.pointer("/status/clientId").and_then(Value::as_str);
    let client_id = client_id.with_context(|| format!("no client id in {document}"))?.to_owned();
    ensure!(!client_id.is_empty(), "an empty client id");
    Ok(client_id)
}

/// The tenant's id.
pub(super) fn tenant(admin: &Person) -> Result<String> {
    let tenants = admin.run(&["get", "tenants", "-o", "json"])?.json()?;
    let id = tenants.pointer("/0/metadata/uid").and_then(Value::as_str);
    Ok(id.with_context(|| format!("no tenant in {tenants}"))?.to_owned())
}

/// Someone with a key of their own, by a pass of the owner's.
pub(super) fn enrolled(admin: &Person, user: &str, people: &Path) -> Result<Person> {
    let person = Person::new(user, &admin.reach, people)?;
    person.enrol(&pass(&admin.must(&["user", "pass", user, "-o", "json"])?)?)?;
    Ok(person)
}
