//! A throw-away MySQL server: real, on loopback, in a directory of its own, gone when it is dropped. The distribution has
//! none, so its programs are given, and the server gets a copy of them: the user that it runs as cannot read ours.

use std::fs;
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::mariadb::{DIES_WITHIN, end, pid_file, stop};
use crate::process::Identity;
use crate::server::{START_TRIES_MAX, complain, free_port, leftovers, template};
use crate::{program, wait};

pub use crate::server::{Account, DirectLogin, Place};

const PREFIX: &str = "portcullis-mysql-";
/// What the packages of MySQL and of MariaDB call the server's user.
const OS_USER: &str = "mysql";
const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// Where the programs are that tests start.
const PROGRAMS: &str = "PORTCULLIS_MYSQL";

/// The programs that `cargo xtask conformance --newest-mysql` has fetched.
pub fn programs() -> Result<PathBuf> {
    let folder = program::setting(PROGRAMS);
    let missing = "names no folder: run `cargo xtask conformance --newest-mysql`";
    folder.map(PathBuf::from).with_context(|| format!("{PROGRAMS} {missing}"))
}

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
        server.sql("mysql", &owner(&server.account.name))?;
        Ok(server)
    }

    /// The folder that its configuration includes, as `/etc/mysql/mysql.conf.d` is.
    pub fn configuration_directory(&self) -> PathBuf {
        self.directory.join("conf.d")
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
        wait::try_until(DIES_WITHIN, || (!process.runs()).then_some(()))
            .context("it does not die")?;
        // It names a process that is there until somebody has reaped it, and would keep the next one from starting.
        Ok(fs::remove_file(self.directory.join("socket.lock"))?)
    }

    /// Starts it after [`MySql::kill`], on the same port.
    pub fn start_again(&self) -> Result<()> {
        self.spawn()?;
        self.wait_until_ready()
    }

    fn process(&self) -> Result<Identity> {
        leftovers::named_in(&pid_file(&self.directory)).context("the database server does not run")
    }

    /// Runs SQL with all rights over the unix socket. The answer has one line a row, tabs between columns, no headings.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        program::feed(&mut self.client(), &format!("use {database};\n{sql}"))?.expect_success()
    }

    /// One of its own programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join("programs/bin").join(name)
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn lay_out(&mut self, programs: &Path, settings: &[(&str, &str)]) -> Result<()> {
        let directory = self.directory.clone();
        let mut copy = Command::new("cp");
        copy.args(["-R", "--reflink=auto", "--no-preserve=ownership", "--"]);
        program::run(copy.arg(programs).arg(directory.join("programs")))?.expect_success()?;
        self.make_temporary_directory()?;
        self.certify(&directory)?;
        fs::create_dir(self.configuration_directory())?;
        fs::write(directory.join("my.cnf"), self.configuration(settings))?;
        // Another version's would have to be upgraded.
        let length = fs::metadata(programs.join("program/mysqld"))?.len();
        let name = format!("mysqld-{length}");
        template::copy_to(&self.data_directory(), &name, || self.install())?;
        self.account.own(&directory)
    }

    fn install(&self) -> Result<()> {
        self.account.own(&self.directory)?;
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
            // Accounts are rows: what was committed outlives the process, as on a server in use.
            ("innodb_flush_log_at_trx_commit", "2"),
            ("innodb_doublewrite", "OFF"),
            ("skip_log_bin", "1"),
            ("secure_file_priv", "NULL"),
        ];
        let paths = paths.map(|(name, file)| format!("{name} = {}\n", path(file)));
        let fixed = fixed.iter().chain(settings).map(|(name, value)| format!("{name} = {value}\n"));
        let lines: String = paths.into_iter().chain(fixed).collect();
        format!("[mysqld]\n{lines}!includedir {}\n", path("conf.d"))
    }

    fn launch(&mut self) -> Result<()> {
        for _ in 0..START_TRIES_MAX {
            self.port = free_port()?;
            let port = format!("[mysqld]\nport = {}\n", self.port);
            fs::write(self.configuration_directory().join("port.cnf"), port)?;
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
        self.account.start_beside(&self.program("mysqld"), &self.directory.join("my.cnf"))
    }

    fn wait_until_ready(&self) -> Result<()> {
        let pid = pid_file(&self.directory);
        wait::try_until(STARTS_WITHIN, || {
            let failed =
                fs::read_to_string(self.log()).is_ok_and(|log| log.contains("[ERROR] [MY-010119]"));
            let open = TcpStream::connect(self.address()).is_ok();
            let ready = open && leftovers::named_in(&pid).is_some() && self.answers();
            (ready || failed).then_some(ready)
        })
        .filter(|ready| *ready)
        .with_context(|| {
            let said = fs::read_to_string(self.log()).unwrap_or_default();
            format!("the database server does not start:\n{said}")
        })
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

/// Whoever the server runs as may do everything, as after an installation by the distribution.
fn owner(user: &str) -> String {
    format!(
        "install plugin auth_socket soname 'auth_socket.so';\n\
         create user '{user}'@'localhost' identified with auth_socket;\n\
         grant all on *.* to '{user}'@'localhost' with grant option;\n\
         grant system_user on *.* to '{user}'@'localhost';"
    )
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
