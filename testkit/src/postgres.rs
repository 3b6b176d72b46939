//! A throw-away PostgreSQL server: real, on loopback, in a directory of its own, gone when it is dropped.
//!
//! It runs as an operating system user that cannot read the gateway's files, speaks TLS under a throw-away authority and
//! lets nobody in but that user, over the unix socket, until a test enrols it.

mod template;

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Identity;
use crate::server::{START_TRIES_MAX, complain, free_port, leftovers};
use crate::{program, wait};

pub use crate::server::{Account, Direct, DirectAccess, DirectLogin, Fsync, Place};

/// How the directories of throw-away servers begin.
const PREFIX: &str = "portcullis-pg-";
/// What the distribution's package calls the server's user, and the server its superuser.
const SUPERUSER: &str = "postgres";
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// How the server is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the server waits for the disk.
    pub fsync: Fsync,
    /// Whether there is a way around the gateway.
    pub direct_access: DirectAccess,
    /// More lines for `postgresql.conf`: names and values, which are quoted here.
    pub settings: Vec<(String, String)>,
    /// Another PostgreSQL than the distribution's: the folder with its `bin`, which the server gets a copy of.
    pub installed_at: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fsync: Fsync::Off,
            direct_access: DirectAccess::None,
            settings: Vec::new(),
            installed_at: None,
        }
    }
}

/// A running throw-away server. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub struct Postgres {
    place: Place,
    /// The folder of its programs.
    programs: PathBuf,
}

impl Deref for Postgres {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

impl Postgres {
    /// Starts one with the usual options.
    pub fn start() -> Result<Self> {
        Self::start_with(&Options::default())
    }

    /// Starts one.
    pub fn start_with(options: &Options) -> Result<Self> {
        leftovers::sweep(PREFIX, stop);
        let place = Place::create(PREFIX, Account::of_package(SUPERUSER)?)?;
        let mut server = Self { place, programs: programs()? };
        server.lay_out(options)?;
        server.launch()?;
        Ok(server)
    }

    /// The server whose directory this is, as [`Place::detach`] gave it.
    pub fn attach(directory: &Path) -> Result<Self> {
        let text = fs::read_to_string(directory.join("data/postmaster.pid"))
            .context("the server does not run")?;
        let port = text.lines().nth(3).and_then(|line| line.trim().parse().ok());
        let port = port.context("postmaster.pid names no port")?;
        let account = Account::of_package(SUPERUSER)?;
        Ok(Self { place: Place::attach(directory, port, account)?, programs: programs()? })
    }

    /// Where the unix socket is.
    pub fn socket_directory(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// Runs SQL as the superuser over the unix socket. The answer is unaligned, without headings.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_as(SUPERUSER, database, sql)
    }

    /// The same as another user, where `pg_hba.conf` lets that one in.
    pub fn psql_as(&self, user: &str, database: &str, sql: &str) -> Result<String> {
        let mut command = self.account.command(&template::binary("psql")?);
        command
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", user])
            .arg("-h")
            .arg(self.socket_directory())
            .args(["-p", &self.port.to_string(), "-d", database, "-f", "-"]);
        program::feed(&mut command, sql)?.expect_success()
    }

    /// Runs SQL over TCP and TLS, around the gateway, with a client certificate (paths of PEM files).
    pub fn psql_directly(&self, login: &DirectLogin<'_>, sql: &str) -> Result<String> {
        program::feed(&mut self.psql_directly_command(login)?, sql)?.expect_success()
    }

    /// The command that [`Postgres::psql_directly`] runs, reading SQL from its standard input.
    pub fn psql_directly_command(&self, login: &DirectLogin<'_>) -> Result<Command> {
        let mut command = Command::new(template::binary("psql")?);
        command
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGDATABASE", login.database)
            .env("PGUSER", login.user)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", self.server_ca_file())
            .env("PGSSLCERT", login.certificate)
            .env("PGSSLKEY", login.key);
        Ok(command)
    }

    /// Makes the server read its configuration files again.
    pub fn reload(&self) -> Result<()> {
        self.pg_ctl(&["reload"])
    }

    /// Stops it at once, as a crash would, and keeps its files.
    pub fn crash(&self) -> Result<()> {
        self.pg_ctl(&["stop", "-m", "immediate", "-w"])
    }

    /// `kill -9` of the server and of every process of it; its files stay.
    pub fn kill(&self) -> Result<()> {
        let postmaster = self.postmaster()?;
        let backends = postmaster.children();
        // The server first: it would start anew what it misses.
        for process in std::iter::once(&postmaster).chain(&backends) {
            process.kill();
        }
        let gone = || std::iter::once(&postmaster).chain(&backends).all(|each| !each.runs());
        wait::try_until(ENDS_WITHIN, || gone().then_some(())).context("it does not die")
    }

    /// Starts it again after [`Postgres::crash`] or [`Postgres::kill`], on the same port.
    pub fn restart(&self) -> Result<()> {
        let log = self.log();
        let mut result = Ok(());
        // What a killed server's last process holds of its memory may still be held.
        let start = || {
            result = self.pg_ctl(&["start", "-w", "-l", text(&log).ok()?]);
            result.is_ok().then_some(())
        };
        match wait::try_until(ENDS_WITHIN, start) {
            Some(()) => Ok(()),
            None => result,
        }
    }

    /// Its first process.
    pub fn postmaster(&self) -> Result<Identity> {
        let pid_file = self.data_directory().join("postmaster.pid");
        leftovers::named_in(&pid_file).context("the database server does not run")
    }

    fn lay_out(&mut self, options: &Options) -> Result<()> {
        let data = self.data_directory();
        match &options.installed_at {
            None => template::copy_to(&data, &self.account, &self.directory)?,
            Some(installed) => {
                // Where the account that it runs as can read.
                let ours = self.directory.join("postgresql");
                let mut copy = Command::new("cp");
                program::run(copy.args(["-R", "--reflink=auto"]).arg(installed).arg(&ours))?
                    .expect_success()?;
                self.programs = ours.join("bin");
                template::initdb(&data, &self.account, (&self.directory, &self.programs))?;
            }
        }
        fs::create_dir(self.socket_directory())?;
        self.certify(&data)?;
        fs::write(data.join("pg_hba.conf"), hba(&self.account))?;
        fs::write(data.join("pg_ident.conf"), ident(&self.account))?;
        fs::write(data.join("postgresql.conf"), self.configuration(options))?;
        fs::write(data.join("port.conf"), "")?;
        self.account.own(&self.directory)?;
        if options.direct_access == DirectAccess::Superuser {
            self.direct = Some(Direct::create(&self.directory, SUPERUSER)?);
        }
        Ok(())
    }

    fn configuration(&self, options: &Options) -> String {
        let fsync = match options.fsync {
            Fsync::On => "on",
            Fsync::Off => "off",
        };
        let socket = self.socket_directory().display().to_string();
        let fixed = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &socket),
            ("unix_socket_permissions", "0700"),
            ("ssl", "on"),
            ("ssl_cert_file", "server.crt"),
            ("ssl_key_file", "server.key"),
            ("fsync", fsync),
            ("max_connections", "200"),
            ("max_prepared_transactions", "10"),
            ("dynamic_shared_memory_type", "posix"),
            ("shared_buffers", "128MB"),
            ("log_timezone", "UTC"),
            ("timezone", "UTC"),
            ("datestyle", "ISO, MDY"),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| line(name, value));
        let given = options.settings.iter().map(|(name, value)| line(name, value));
        fixed.chain(given).chain(["include 'port.conf'\n".to_owned()]).collect()
    }

    fn launch(&mut self) -> Result<()> {
        let log = self.log();
        for _ in 0..START_TRIES_MAX {
            self.port = free_port()?;
            // In a file, so that it is the same after a crash.
            let port = line("port", &self.port.to_string());
            fs::write(self.data_directory().join("port.conf"), port)?;
            match self.pg_ctl(&["start", "-w", "-t", "60", "-l", text(&log)?]) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    ensure!(said.contains("Address already in use"), "{error}\n{said}");
                    fs::remove_file(&log)?;
                }
            }
        }
        bail!("no free port in {START_TRIES_MAX} tries")
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<()> {
        pg_ctl((&self.account, &self.programs), &self.data_directory(), arguments)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !self.detached
            && let Err(error) = stop(&self.directory)
        {
            complain(&error);
        }
    }
}

/// The folder of the server's programs.
pub fn programs() -> Result<PathBuf> {
    let server = template::binary("postgres")?;
    Ok(server.parent().context("a program without a folder")?.to_owned())
}

/// Stops the server in this directory, if it runs, and removes the directory. Nothing happens when it is gone already.
pub fn stop(directory: &Path) -> Result<()> {
    if !directory.try_exists()? {
        return Ok(());
    }
    let data = directory.join("data");
    if data.join("postmaster.pid").try_exists()? {
        // A pid file without a process is what a crash of the whole machine leaves; pg_ctl says so and that is fine.
        if let Err(error) = pg_ctl(
            (&Account::of_package(SUPERUSER)?, &programs()?),
            &data,
            &["stop", "-m", "immediate"],
        ) {
            ensure!(
                leftovers::named_in(&data.join("postmaster.pid")).is_none(),
                "the server does not stop: {error}"
            );
        }
    }
    fs::remove_dir_all(directory).with_context(|| format!("{} stays", directory.display()))
}

fn pg_ctl((account, programs): (&Account, &Path), data: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = account.command(&programs.join("pg_ctl"));
    // Not inherited: the server would hold the caller's pipes open for as long as it runs.
    command.arg("-D").arg(data).arg("-s").args(arguments).stdout(Stdio::null());
    let output = command.stdin(Stdio::null()).output().context("cannot run pg_ctl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    Ok(())
}

fn hba(account: &Account) -> String {
    // `peer` compares the two names; where they differ, a map says that this account is the superuser.
    let map = if account.name == SUPERUSER { "" } else { " map=superuser" };
    format!("local all {SUPERUSER} peer{map}\n")
}

fn ident(account: &Account) -> String {
    format!("superuser {} {SUPERUSER}\n", account.name)
}

fn line(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\'', "''"))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_answers_its_superuser_and_leaves_nothing_behind() {
        let server = Postgres::start().unwrap();
        let directory = server.directory().to_owned();
        assert_eq!(server.psql("postgres", "select current_user").unwrap(), "postgres");
        assert_eq!(server.psql("postgres", "show ssl").unwrap(), "on");
        drop(server);
        assert!(!directory.try_exists().unwrap());
    }

    #[test]
    fn nobody_comes_in_over_tcp_before_enrolment() {
        let server = Postgres::start_with(&Options {
            direct_access: DirectAccess::Superuser,
            ..Options::default()
        })
        .unwrap();
        let direct = server.direct().unwrap();
        let login = DirectLogin {
            user: "postgres",
            database: "postgres",
            certificate: &direct.certificate,
            key: &direct.key,
        };
        let refused = server.psql_directly(&login, "select 1").unwrap_err().to_string();
        assert!(refused.contains("no pg_hba.conf entry"), "{refused}");
    }

    #[test]
    fn a_detached_server_outlives_its_value_and_stops_when_told() {
        let directory = Postgres::start().unwrap().detach().unwrap();
        let again = Postgres::attach(&directory).unwrap();
        assert_eq!(again.psql("postgres", "select 1").unwrap(), "1");
        drop(again);
        assert!(leftovers::named_in(&directory.join("data/postmaster.pid")).is_some());
        stop(&directory).unwrap();
        assert!(!directory.try_exists().unwrap());
        stop(&directory).unwrap();
    }

    #[test]
    fn a_crashed_server_starts_again_on_the_same_port() {
        let server = Postgres::start().unwrap();
        for end in [Postgres::crash, Postgres::kill] {
            end(&server).unwrap();
            assert!(server.psql("postgres", "select 1").is_err());
            server.restart().unwrap();
            assert_eq!(server.psql("postgres", "show port").unwrap(), server.port().to_string());
        }
    }
}
