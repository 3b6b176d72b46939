//! A throw-away MariaDB server: real, on loopback, in a directory of its own, gone when it is dropped.
//!
//! It runs as an operating system user that cannot read the gateway's files, speaks TLS under a throw-away authority,
//! refuses plain text and lets nobody in but that user, over the unix socket, until a test enrols it.
//!
//! Its files are told apart by who writes them: `my.cnf` is ours, `conf.d` is where enrolment puts its own.

mod options;

use std::fs;
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Identity;
use crate::server::{START_TRIES_MAX, complain, free_port, leftovers, template};
use crate::{program, wait};

pub use crate::server::{Account, Direct, DirectAccess, DirectLogin, Fsync, Place};
pub use options::Options;

/// How the directories of throw-away servers begin.
const PREFIX: &str = "portcullis-mariadb-";
/// What the distribution's package calls the server's user.
const OS_USER: &str = "mysql";
/// Who comes in around the gateway when [`DirectAccess::Superuser`] was asked for. Not `root`: an account of that name on
/// `localhost` goes before one on 127.0.0.1.
pub const SUPERUSER: &str = "superuser";

const DAEMON: &str = "/usr/sbin/mariadbd";
const INSTALL: &str = "/usr/bin/mariadb-install-db";
const CLIENT: &str = "/usr/bin/mariadb";

const STARTS_WITHIN: Duration = Duration::from_mins(1);
const STOPS_WITHIN: Duration = Duration::from_secs(30);
pub(crate) const DIES_WITHIN: Duration = Duration::from_secs(15);

/// A running throw-away server. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub struct MariaDb {
    place: Place,
}

impl Deref for MariaDb {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl DerefMut for MariaDb {
    fn deref_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

impl MariaDb {
    /// Starts one with the usual options.
    pub fn start() -> Result<Self> {
        Self::start_with(&Options::default())
    }

    /// Starts one.
    pub fn start_with(options: &Options) -> Result<Self> {
        leftovers::sweep(PREFIX, stop);
        let place = Place::create(PREFIX, Account::of_package(OS_USER)?)?;
        let mut server = Self { place };
        server.lay_out(options)?;
        server.launch()?;
        if server.direct.is_some() {
            server.sql("mysql", &options::superuser())?;
        }
        Ok(server)
    }

    /// The server whose directory this is, as [`Place::detach`] gave it.
    pub fn attach(directory: &Path) -> Result<Self> {
        let port = fs::read_to_string(directory.join("port"))?;
        let port = port.trim().parse().context("the file `port` names none")?;
        let account = Account::of_package(OS_USER)?;
        Ok(Self { place: Place::attach(directory, port, account)? })
    }

    /// Gives what a test wrote to the server's own account.
    pub fn own(&self, path: &Path) -> Result<()> {
        self.account.own(path)
    }

    /// The folder that its configuration includes, as `/etc/mysql/mariadb.conf.d` is.
    pub fn configuration_directory(&self) -> PathBuf {
        self.directory.join("conf.d")
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// Runs SQL with all rights over the unix socket. The answer has one line a row, tabs between columns, no headings.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        program::feed(&mut self.client(), &format!("use {database};\n{sql}"))?.expect_success()
    }

    /// As [`MariaDb::sql`]; a statement that fails does not end the rest.
    pub fn sql_regardless(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.client();
        Ok(program::feed(command.arg("--force"), &format!("use {database};\n{sql}"))?.stdout)
    }

    /// As an operator's `systemctl restart`, on the same port.
    pub fn restart(&self) -> Result<()> {
        if let Ok(process) = self.process() {
            end(&process)?;
        }
        self.start_again()
    }

    /// `kill -9`; its files stay.
    pub fn kill(&self) -> Result<()> {
        let process = self.process()?;
        process.kill();
        wait::try_until(DIES_WITHIN, || (!process.runs()).then_some(())).context("it does not die")
    }

    /// Starts it after [`MariaDb::kill`], on the same port.
    pub fn start_again(&self) -> Result<()> {
        self.spawn()?;
        self.wait_until_ready()
    }

    /// Its process.
    pub fn process(&self) -> Result<Identity> {
        leftovers::named_in(&pid_file(&self.directory)).context("the database server does not run")
    }

    fn lay_out(&mut self, options: &Options) -> Result<()> {
        self.make_temporary_directory()?;
        let data = self.data_directory();
        template::copy_to(&data, "mariadb-install-db", || self.install(&data))?;
        let directory = self.directory.clone();
        self.certify(&directory)?;
        fs::create_dir(self.configuration_directory())?;
        fs::write(self.directory.join("my.cnf"), options.configuration(self))?;
        self.account.own(&self.directory)?;
        if options.direct_access == DirectAccess::Superuser {
            let direct = Direct::create(&self.directory, SUPERUSER)?;
            // What it trusts until it is enrolled.
            let trusted = format!("[mariadbd]\nssl_ca = {}\n", direct.authority_file().display());
            fs::write(self.configuration_directory().join("direct.cnf"), trusted)?;
            self.direct = Some(direct);
        }
        Ok(())
    }

    fn install(&self, data: &Path) -> Result<()> {
        self.account.own(&self.directory)?;
        let mut command = self.account.command(Path::new(INSTALL));
        command
            .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
            .args(["--auth-root-authentication-method=socket", "--innodb-log-file-size=8M"])
            .arg(format!("--auth-root-socket-user={}", self.account.name))
            .arg(format!("--tmpdir={}", self.temporary_directory().display()))
            .arg(format!("--datadir={}", data.display()));
        program::run(&mut command)?.expect_success().map(drop)
    }

    fn launch(&mut self) -> Result<()> {
        for _ in 0..START_TRIES_MAX {
            self.port = free_port()?;
            // In a file, so that it is the same after a crash.
            let port = format!("[mariadbd]\nport = {}\n", self.port);
            fs::write(self.configuration_directory().join("port.cnf"), port)?;
            fs::write(self.directory.join("port"), self.port.to_string())?;
            self.account.own(&self.configuration_directory())?;
            match self.start_again() {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let said = fs::read_to_string(self.log()).unwrap_or_default();
                    ensure!(said.contains("Address already in use"), "{error}\n{said}");
                    fs::remove_file(self.log())?;
                }
            }
        }
        bail!("no free port in {START_TRIES_MAX} tries")
    }

    fn spawn(&self) -> Result<()> {
        self.account.start_beside(Path::new(DAEMON), &self.directory.join("my.cnf"))
    }

    fn wait_until_ready(&self) -> Result<()> {
        let mut seen = None;
        let ready = wait::try_until(STARTS_WITHIN, || {
            let runs = leftovers::named_in(&pid_file(&self.directory));
            seen = seen.clone().or(runs);
            let ended = seen.as_ref().is_some_and(|process| !process.runs());
            let failed = fs::read_to_string(self.log())
                .is_ok_and(|log| log.lines().any(|line| line.ends_with("[ERROR] Aborting")));
            if ended || (seen.is_none() && failed) {
                return Some(false);
            }
            let open = TcpStream::connect(self.address()).is_ok();
            (open && seen.is_some() && self.answers()).then_some(true)
        });
        match ready {
            Some(true) => Ok(()),
            Some(false) => bail!("the database server ended"),
            None => bail!("the database server is not ready within {STARTS_WITHIN:?}"),
        }
    }

    fn answers(&self) -> bool {
        program::feed(&mut self.client(), "select 1").is_ok_and(|said| said.ok())
    }

    fn client(&self) -> Command {
        let mut command = self.account.command(Path::new(CLIENT));
        command.args(["--no-defaults", "-N", "-B", "-u", &self.account.name, "-S"]);
        command.arg(self.socket());
        command
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if !self.detached
            && let Err(error) = stop(&self.directory)
        {
            complain(&error);
        }
    }
}

pub(crate) fn pid_file(directory: &Path) -> PathBuf {
    directory.join("data/server.pid")
}

pub(crate) fn end(process: &Identity) -> Result<()> {
    process.stop(STOPS_WITHIN);
    ensure!(!process.runs(), "the server does not stop");
    Ok(())
}

/// Ends the server in this directory, if it runs, and removes the directory. Nothing happens when it is gone already.
pub fn stop(directory: &Path) -> Result<()> {
    if !directory.try_exists()? {
        return Ok(());
    }
    if let Some(process) = leftovers::named_in(&pid_file(directory)) {
        // Nobody reads its files any more, so nothing has to be written out.
        process.kill();
        wait::try_until(DIES_WITHIN, || (!process.runs()).then_some(()))
            .context("the server does not stop")?;
    }
    fs::remove_dir_all(directory).with_context(|| format!("{} stays", directory.display()))
}

#[cfg(test)]
mod tests;
