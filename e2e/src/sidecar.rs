//! `portcullis proxy` beside a test: its own process, and clients that know nothing of tokens.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::process::{Identity, Reaper, Running};
use testkit::program::{self, Said};
use testkit::wait;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A proxy that listens. Ends when dropped.
#[derive(Debug)]
pub struct Sidecar {
    process: Running,
    reaper: Reaper,
    log: PathBuf,
    _folder: tempfile::TempDir,
    /// As it was printed: `127.0.0.1:PORT` or a path.
    pub address: String,
}

impl Sidecar {
    /// Starts `proxy` as this command, which names neither the output nor where to listen, on any free port.
    pub fn start(command: Command) -> Result<Self> {
        Self::start_at(command, "127.0.0.1:0")
    }

    /// The same, listening there.
    pub fn start_at(mut command: Command, listen: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        command.args(["-o", "json", "--listen", listen]);
        let mut process = Running::start(&mut command, &log)?;
        let mut reaper = Reaper::start()?;
        reaper.process(process.identity())?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let ready = wait::try_until(READY_WITHIN, || match process.ended() {
            Some(status) => Some(Err(status)),
            None => Some(Ok(address(&said())?)),
        });
        match ready {
            Some(Ok(address)) => Ok(Self { process, reaper, log, _folder: folder, address }),
            Some(Err(status)) => bail!("the proxy ended with {status}\n{}", said()),
            None => bail!("the proxy does not listen\n{}", said()),
        }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Tokens that it has fetched since it listens.
    pub fn renewals(&self) -> usize {
        self.said().matches("a token was fetched").count()
    }

    /// Its process.
    pub fn identity(&self) -> &Identity {
        self.process.identity()
    }

    /// How it ended; waits for it.
    pub fn ended(&mut self, within: Duration) -> Result<i32> {
        let status = wait::try_until(within, || self.process.ended());
        status.and_then(|status| status.code()).context("the proxy has not ended by itself")
    }

    /// Where it listens.
    pub fn port(&self) -> Result<&str> {
        let (_, port) = self.address.rsplit_once(':').context("it listens on no port")?;
        Ok(port)
    }

    /// Any client of PostgreSQL's, told nothing but the port.
    pub fn client(&self, name: &str) -> Result<Command> {
        let mut command = program::clean(name);
        // Whatever an application's settings have in these fields.
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port()?).env("PGUSER", "application");
        command.env("PGPASSWORD", "unused").env("PGCONNECT_TIMEOUT", "30");
        Ok(command)
    }

    /// What `psql` says.
    pub fn psql(&self, sql: &str) -> Result<Said> {
        program::feed(self.client("psql")?.args(["-X", "-A", "-t", "-f", "-"]), sql)
    }

    /// The distribution's client of MariaDB's, told nothing but the port.
    pub fn mariadb(&self) -> Result<Command> {
        let mut command = program::clean("mariadb");
        command.args(["--no-defaults", "-N", "-B", "--protocol=tcp", "-h", "127.0.0.1"]);
        command.args(["-P", self.port()?, "-u", "application"]).env("MYSQL_PWD", "unused");
        Ok(command)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let ended = self.process.ended().is_some() || self.process.kill().is_ok();
        if ended {
            self.reaper.dismiss();
        }
    }
}

/// The address in what was printed: the document is over several lines, what is logged is not.
fn address(said: &str) -> Option<String> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("\"address\": \""))?;
    Some(line.split('"').next()?.to_owned())
}
