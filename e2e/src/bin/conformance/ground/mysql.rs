//! The two places for clients of MySQL's and MariaDB's: MariaDB behind the gateway, and MariaDB itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use model::code::{CREDENTIAL_MALFORMED, TOKEN_EXPIRED};
use testkit::mariadb::MariaDb;
use testkit::program;
use testkit::stack::{Beside, Credential, OWNER, Options, Privileges, Stack};
use testkit::wait;

use super::{Place, Places, handle};
use crate::known::Engine;

/// What both servers hold.
const FIXTURE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/mysql/fixture.sql"));
/// More than one packet of the protocol holds.
const PACKETS: &str = "set global max_allowed_packet = 64 * 1024 * 1024";
/// How long the token lives that is to be expired.
const SHORT: &str = "token: { databaseTokenLifetime: 1s }";
const LONG: &str = "token: { databaseTokenLifetime: 60m }";

/// Both, for clients of MySQL's and MariaDB's.
#[derive(Debug)]
pub(crate) struct MySqlGround {
    pub places: Places,
    server: MariaDb,
    _stack: Stack,
}

impl MySqlGround {
    pub(crate) fn prepare() -> Result<Self> {
        println!("Starting the gateway and the two servers …");
        let options = Options {
            privileges: Privileges::TestStack,
            beside: Beside::MariaDb,
            configuration: SHORT,
            ..Options::default()
        };
        let mut stack = Stack::start(&options)?;
        let expired = expired(&mut stack)?;
        let owner = stack.facts.owner.as_ref().context("the stack has no superuser")?;
        let behind = stack.mariadb.as_ref().context("no MariaDB runs beside")?;
        behind.sql("orders", &format!("{PACKETS};\n{FIXTURE}"))?;
        let password = owner.token(Credential::Secret)?;
        let handle = handle(owner)?;
        let gateway = Place {
            engine: Engine::MySql,
            name: "gateway",
            port: stack.facts.reach.mysql_port,
            user: OWNER.to_owned(),
            password: password.clone(),
            authority: stack.facts.reach.ca.clone(),
            refused: vec![
                (TOKEN_EXPIRED.id, expired),
                (CREDENTIAL_MALFORMED.id, "no-token".to_owned()),
                (CREDENTIAL_MALFORMED.id, format!("{handle}x")),
            ],
            handle: Some(handle),
        };
        let server = server(&password)?;
        let directly = Place {
            engine: Engine::MySql,
            name: "directly",
            port: server.port(),
            user: OWNER.to_owned(),
            password,
            authority: server.server_ca_file(),
            handle: None,
            refused: Vec::new(),
        };
        Ok(Self { places: Places { gateway, directly }, server, _stack: stack })
    }

    /// The servers' version.
    pub(crate) fn version(&self) -> Result<String> {
        let version = self.server.sql("mysql", "select version()")?;
        Ok(version.split('-').next().unwrap_or_default().to_owned())
    }
}

/// A server that takes the same password over TLS. The token is as good a password as any, and as long as the other.
fn server(password: &str) -> Result<MariaDb> {
    let server = MariaDb::start()?;
    let account = format!("'{OWNER}'@'127.0.0.1'");
    let password = password.replace('\'', "''");
    let sql = format!(
        "create user {account} identified by '{password}' require ssl;\n\
         grant all privileges on *.* to {account} with grant option;\n\
         create database orders;\n{PACKETS};"
    );
    server.sql("mysql", &sql)?;
    server.sql("orders", FIXTURE)?;
    Ok(server)
}

/// A token whose time is over, from an installation that gives longer ones from then on.
fn expired(stack: &mut Stack) -> Result<String> {
    let owner = stack.facts.owner.as_ref().context("the stack has no superuser")?;
    let token = owner.token(Credential::Secret)?;
    let issued = wait::now();
    let file = stack.facts.configuration();
    let text = fs::read_to_string(&file)?;
    ensure!(text.matches(SHORT).count() == 1, "the configuration has `{SHORT}` not once");
    fs::write(&file, text.replacen(SHORT, LONG, 1))?;
    stack.stop_server()?;
    stack.start_server()?;
    wait::until(std::time::Duration::from_secs(10), "the token's end", || {
        (issued.elapsed() > std::time::Duration::from_secs(2)).then_some(())
    });
    Ok(token)
}

impl Place {
    /// What the programs follow: no client of these looks at variables itself.
    pub(super) fn variables(&self, program: &Path, database: &str) -> Command {
        let refused = self.refused.iter().map(|(code, password)| format!("{code}={password}"));
        let refused: Vec<String> = refused.collect();
        let mut command = program::clean(program);
        command
            .env("DB_HOST", "127.0.0.1")
            .env("DB_PORT", self.port.to_string())
            .env("DB_NAME", database)
            .env("DB_USER", &self.user)
            .env("DB_PASSWORD", &self.password)
            .env("DB_CA", &self.authority)
            .envs(self.handle.iter().map(|handle| ("DB_HANDLE", handle)))
            .env("DB_REFUSED", refused.join(" "));
        command
    }
}
