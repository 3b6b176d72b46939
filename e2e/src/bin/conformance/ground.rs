//! The two places that are compared: a gateway in front of a server, and a server of the same version, reached over TLS
//! with a password.

mod mysql;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::postgres::{self, Postgres};
use testkit::program;
use testkit::stack::{Credential, OWNER, Options, Privileges, Stack, Workload};

use crate::known::Engine;
pub(crate) use mysql::MySqlGround;

/// Everything that a client needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub engine: Engine,
    /// `gateway` or `directly`.
    pub name: &'static str,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub authority: PathBuf,
    /// A short handle in place of the password; a gateway's alone.
    pub handle: Option<String>,
    /// Passwords that do not open, each behind the code that says why; a gateway's alone.
    pub refused: Vec<(&'static str, String)>,
}

/// Both.
#[derive(Debug)]
pub(crate) struct Places {
    pub gateway: Place,
    pub directly: Place,
}

/// Both, for clients of PostgreSQL's.
#[derive(Debug)]
pub(crate) struct Ground {
    pub places: Places,
    stack: Stack,
    server: Postgres,
}

impl Ground {
    pub(crate) fn prepare() -> Result<Self> {
        println!("Starting the gateway and the two servers …");
        let options = Options { privileges: Privileges::TestStack, ..Options::default() };
        let stack = Stack::start(&options)?;
        let owner = stack.facts.owner.as_ref().context("the stack has no superuser")?;
        // The first login makes its database user, which is to own databases.
        owner.psql("select 1")?.expect_success()?;
        let password = owner.token(Credential::Secret)?;
        let gateway = Place {
            engine: Engine::PostgreSql,
            name: "gateway",
            port: stack.facts.reach.port,
            user: OWNER.to_owned(),
            password: password.clone(),
            authority: stack.facts.reach.ca.clone(),
            handle: Some(handle(owner)?),
            refused: Vec::new(),
        };
        let server = server(&password)?;
        let directly = Place {
            engine: Engine::PostgreSql,
            name: "directly",
            port: server.port(),
            user: OWNER.to_owned(),
            password,
            authority: server.server_ca_file(),
            handle: None,
            refused: Vec::new(),
        };
        Ok(Self { places: Places { gateway, directly }, stack, server })
    }

    /// The servers' version.
    pub(crate) fn version(&self) -> Result<String> {
        let version = self.stack.postgres.psql("postgres", "show server_version")?;
        Ok(version.split(' ').next().unwrap_or_default().to_owned())
    }

    /// SQL as the superuser of both servers, around everything.
    pub(crate) fn on_both(&self, database: &str, sql: &str) -> Result<()> {
        self.stack.postgres.psql(database, sql)?;
        self.server.psql(database, sql)?;
        Ok(())
    }
}

/// A server that takes the same password over TLS. The token is as good a password as any, and as long as the other.
fn server(password: &str) -> Result<Postgres> {
    let server = Postgres::start_with(&postgres::Options::default())?;
    let hba = server.data_directory().join("pg_hba.conf");
    let mut hba = OpenOptions::new().append(true).open(hba)?;
    hba.write_all(b"hostssl all all 127.0.0.1/32 password\n")?;
    server.reload()?;
    let password = password.replace('\'', "''");
    server.psql(
        "postgres",
        &format!(
            "create role \"{OWNER}\" superuser login password '{password}'; create database orders;"
        ),
    )?;
    Ok(server)
}

impl Place {
    /// The same as one address, for drivers that want it so. A token has no character that would have to be escaped.
    pub(crate) fn url(&self, database: &str) -> String {
        let Self { port, user, password, authority, .. } = self;
        let authority = authority.display();
        format!(
            "postgres://{user}:{password}@localhost:{port}/{database}?sslmode=verify-full&sslrootcert={authority}"
        )
    }

    /// What its clients follow for this place.
    pub(crate) fn command(&self, program: &Path, database: &str) -> Command {
        match self.engine {
            Engine::PostgreSql => self.libpq(program, database),
            Engine::MySql => self.variables(program, database),
        }
    }

    /// libpq's environment.
    fn libpq(&self, program: &Path, database: &str) -> Command {
        let mut command = program::clean(program);
        command
            .env("PGHOST", "localhost")
            .env("PGPORT", self.port.to_string())
            .env("PGDATABASE", database)
            .env("PGUSER", &self.user)
            .env("PGPASSWORD", &self.password)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &self.authority)
            .env("PGCONNECT_TIMEOUT", "20")
            .envs(self.handle.iter().map(|handle| ("PGHANDLE", handle)));
        command
    }
}

/// A short handle in place of a token.
fn handle(owner: &Workload) -> Result<String> {
    let said = program::run(owner.token_command(Credential::Secret)?.arg("--handle"))?;
    let handle = said.expect_success()?;
    anyhow::ensure!(handle.starts_with("pct_"), "`{handle}` is no handle");
    Ok(handle)
}
