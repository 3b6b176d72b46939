//! A throw-away MySQL server: real, on loopback, in a directory of its own, gone when it is dropped. The distribution has
//! none, so its programs are given, and the server gets a copy of them: the user that it runs as cannot read ours.

use std::fs;
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::mariadb::stop;
use crate::server::{START_TRIES_MAX, complain, free_port, leftovers};
use crate::{program, wait};

pub use crate::server::{Account, Place};

const PREFIX: &str = "portcullis-mysql-";
/// What the packages of MySQL and of MariaDB call the server's user.
const OS_USER: &str = "mysql";
const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// A running throw-away server. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub struct MySql {
    place: Place,
}

impl Deref for MySql {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl DerefMut for MySql {
    fn deref_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

impl MySql {
    /// Starts one of these programs: a folder with `bin`, `lib`, `plugin` and `share` in it. These are more lines of
    /// its configuration.
    pub fn start(programs: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        leftovers::sweep(PREFIX, stop);
        let mut server = Self { place: Place::create(PREFIX, Account::of_package(OS_USER)?)? };
        server.lay_out(programs, settings)?;
        server.launch()?;
        Ok(server)
    }

    /// Runs SQL with all rights over the unix socket. The answer has one line a row, tabs between columns, no headings.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        program::feed(&mut self.client(), &format!("use {database};\n{sql}"))?.expect_success()
    }

    /// One of its own programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join("programs/bin").join(name)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn lay_out(&mut self, programs: &Path, settings: &[(&str, &str)]) -> Result<()> {
        let directory = self.directory.clone();
        let mut copy = Command::new("cp");
        copy.args(["-R", "--reflink=auto", "--no-preserve=ownership", "--"]);
        program::run(copy.arg(programs).arg(directory.join("programs")))?.expect_success()?;
        self.make_temporary_directory()?;
        self.certify(&directory)?;
        fs::write(directory.join("my.cnf"), self.configuration(settings))?;
        fs::write(directory.join("port.cnf"), "")?;
        self.account.own(&directory)?;
        let mut install = self.account.command(&self.program("mysqld"));
        install.arg(self.defaults()).arg("--initialize-insecure");
        let said = program::run(&mut install)?;
        ensure!(said.ok(), "{}", fs::read_to_string(self.log()).unwrap_or(said.stderr));
        Ok(())
    }

    fn defaults(&self) -> String {
        format!("--defaults-file={}", self.directory.join("my.cnf").display())
    }

    fn configuration(&self, settings: &[(&str, &str)]) -> String {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let paths = [
            ("datadir", "data"),
            ("tmpdir", "tmp"),
            ("pid_file", "data/server.pid"),
            ("socket", "socket"),
            ("log_error", "server.log"),
            ("ssl_cert", "server.crt"),
            ("ssl_key", "server.key"),
            ("lc_messages_dir", "programs/share"),
            ("character_sets_dir", "programs/share/charsets"),
            ("plugin_dir", "programs/plugin"),
        ];
        let fixed = [
            ("bind_address", "127.0.0.1"),
            ("mysqlx", "OFF"),
            ("skip_name_resolve", "ON"),
            ("require_secure_transport", "ON"),
            ("default_time_zone", "+00:00"),
            ("innodb_buffer_pool_size", "64M"),
            ("innodb_flush_log_at_trx_commit", "0"),
            ("innodb_doublewrite", "OFF"),
            ("skip_log_bin", "1"),
            ("secure_file_priv", "NULL"),
        ];
        let paths = paths.map(|(name, file)| format!("{name} = {}\n", path(file)));
        let fixed = fixed.iter().chain(settings).map(|(name, value)| format!("{name} = {value}\n"));
        let lines: String = paths.into_iter().chain(fixed).collect();
        format!("[mysqld]\n{lines}!include {}\n", path("port.cnf"))
    }

    fn launch(&mut self) -> Result<()> {
        for _ in 0..START_TRIES_MAX {
            self.port = free_port()?;
            let port = self.directory.join("port.cnf");
            fs::write(&port, format!("[mysqld]\nport = {}\n", self.port))?;
            self.account.own(&port)?;
            self.spawn()?;
            match self.wait_until_ready() {
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
        self.account.start_beside(&self.program("mysqld"), &self.directory.join("my.cnf"))
    }

    fn wait_until_ready(&self) -> Result<()> {
        let pid = self.data_directory().join("server.pid");
        wait::try_until(STARTS_WITHIN, || {
            let failed =
                fs::read_to_string(self.log()).is_ok_and(|log| log.contains("[ERROR] [MY-010119]"));
            let open = TcpStream::connect(self.address()).is_ok();
            let ready = open && leftovers::named_in(&pid).is_some() && self.answers();
            (ready || failed).then_some(ready)
        })
        .filter(|ready| *ready)
        .context("the database server does not start")
        .map(drop)
    }

    fn answers(&self) -> bool {
        program::feed(&mut self.client(), "select 1").is_ok_and(|said| said.ok())
    }

    fn client(&self) -> Command {
        let mut command = self.account.command(&self.program("mysql"));
        command.args(["--no-defaults", "-N", "-B", "-u", "root", "-S"]).arg(self.socket());
        command
    }
}

impl Drop for MySql {
    fn drop(&mut self) {
        if !self.detached
            && let Err(error) = stop(&self.directory)
        {
            complain(&error);
        }
    }
}
