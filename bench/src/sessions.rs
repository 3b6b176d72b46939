//! Many open sessions that do nothing.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{mysql, raw};
use testkit::stack::{Credential, Reach, Stack};
use testkit::wait;

use crate::machine::kib_of;
use crate::pg::pgbouncer::PgBouncer;

/// That open sessions side by side: enough to keep two processors busy.
const OPENERS: usize = 4;
const GONE_WITHIN: Duration = Duration::from_mins(5);
/// Those of the gateway's own connections and of whoever looks.
const BACKENDS_WITHOUT_SESSIONS_MAX: u32 = 8;

/// Whose protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    PostgreSql,
    MariaDb,
}

/// An open session.
pub(crate) enum Client {
    PostgreSql(raw::Client),
    MariaDb(mysql::Client),
}

impl Client {
    /// The TCP connection beneath.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::PostgreSql(client) => client.tcp(),
            Self::MariaDb(client) => client.tcp(),
        }
    }

    /// Runs a statement that ends after everything else here.
    pub(crate) fn sleep(&mut self) -> Result<()> {
        match self {
            Self::PostgreSql(client) => client.query("select pg_sleep(600)"),
            Self::MariaDb(client) => client.start("select sleep(600)"),
        }
    }
}

/// Where sessions are opened, and as whom.
#[derive(Clone)]
pub(crate) struct Door {
    engine: Engine,
    reach: Reach,
    user: String,
    /// Absent where nobody asks.
    token: Option<String>,
}

impl Door {
    /// The gateway's, for the stack's workload that reads.
    pub(crate) fn portcullis(stack: &Stack, engine: Engine) -> Result<Self> {
        let api = &stack.facts.api;
        Ok(Self {
            engine,
            reach: api.reach.clone(),
            user: api.application.clone(),
            token: Some(api.token(Credential::Secret)?),
        })
    }

    /// The gateway's, for a person.
    pub(crate) fn person(person: &testkit::stack::Person, engine: Engine) -> Result<Self> {
        let token = Some(person.token()?);
        Ok(Self { engine, reach: person.reach.clone(), user: person.user.clone(), token })
    }

    /// That of a pgbouncer which asks for no password.
    pub(crate) fn pgbouncer(stack: &Stack, pgbouncer: &PgBouncer) -> Self {
        let ca = stack.postgres.server_ca_file();
        let reach = Reach { port: pgbouncer.port, ca, ..stack.facts.reach.clone() };
        let (user, _) = pgbouncer.client;
        Self { engine: Engine::PostgreSql, reach, user: user.to_owned(), token: None }
    }

    /// MariaDB's own, or one that leads straight to it: TLS under the server's authority, an account without a password.
    pub(crate) fn mariadb((port, ca): (u16, PathBuf), user: &str, stack: &Stack) -> Self {
        let reach = Reach { mysql_port: port, ca, ..stack.facts.reach.clone() };
        Self { engine: Engine::MariaDb, reach, user: user.to_owned(), token: None }
    }

    /// A session that has run a statement and so has a backend.
    pub(crate) fn open(&self) -> Result<Client> {
        match self.engine {
            Engine::PostgreSql => self.open_postgresql().map(Client::PostgreSql),
            Engine::MariaDb => {
                let there = (self.reach.mysql_port, self.reach.ca.as_path());
                let mut client = mysql::Client::open(there, &self.user, self.token.as_deref())?;
                client.query("select 1")?;
                Ok(Client::MariaDb(client))
            }
        }
    }

    fn open_postgresql(&self) -> Result<raw::Client> {
        let parameters = [("user", self.user.as_str()), ("database", self.reach.database.as_str())];
        let mut client = raw::Client::started(&self.reach, &parameters)?;
        match &self.token {
            Some(token) => client = client.log_in(token)?,
            None => {
                client.read_until(b'Z')?;
            }
        }
        client.query("select 1")?;
        client.read_until(b'Z')?;
        Ok(client)
    }

    /// So many.
    pub(crate) fn open_many(&self, count: usize) -> Result<Vec<Client>> {
        let opened = thread::scope(|scope| {
            let share = |number| count / OPENERS + usize::from(number < count % OPENERS);
            let openers: Vec<_> = (0..OPENERS)
                .map(|number| {
                    scope.spawn(move || (0..share(number)).map(|_| self.open()).collect())
                })
                .collect();
            let ended: Vec<Result<Vec<Client>>> = openers
                .into_iter()
                .map(|opener| opener.join().unwrap_or_else(|_| Err(anyhow!("an opener panicked"))))
                .collect();
            ended.into_iter().collect::<Result<Vec<_>>>()
        })?;
        let opened: Vec<Client> = opened.into_iter().flatten().collect();
        ensure!(opened.len() == count, "{} sessions instead of {count}", opened.len());
        Ok(opened)
    }
}

/// Waits until the server has no backend of any session.
pub(crate) fn all_gone(stack: &Stack, engine: Engine) -> Result<()> {
    let count = || match engine {
        Engine::PostgreSql => stack.postgres.psql(
            "postgres",
            "select count(*) from pg_stat_activity where backend_type = 'client backend'",
        ),
        Engine::MariaDb => {
            let mariadb = stack.mariadb.as_ref().context("no MariaDB runs beside")?;
            mariadb.sql("mysql", "select count(*) from information_schema.processlist")
        }
    };
    wait::try_until(GONE_WITHIN, || {
        let backends: u32 = count().ok()?.trim().parse().ok()?;
        (backends <= BACKENDS_WITHOUT_SESSIONS_MAX).then_some(())
    })
    .context("backends remain")
}

/// Memory of a process in KiB, pages that it shares counted in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) all: u64,
    pub(crate) anonymous: u64,
    pub(crate) files: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        Self::parse(&text).with_context(|| format!("not as proc(5) says: {text}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let anonymous = kib_of(text, "Pss_Anon:")?;
        Some(Self { all: kib_of(text, "Pss:")?, anonymous, files: kib_of(text, "Pss_File:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_by_parts() {
        let text = "Rss: 90 kB\nPss: 60 kB\nPss_Dirty: 7 kB\nPss_Anon: 40 kB\nPss_File: 20 kB\n";
        assert_eq!(Memory::parse(text), Some(Memory { all: 60, anonymous: 40, files: 20 }));
        assert!(Memory::of(std::process::id()).unwrap().all > 0);
    }
}
