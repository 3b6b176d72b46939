//! One of the two ways to the server: how a test is run there, and what is taken back after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::mariadb::MariaDb;
use testkit::{program, wait};

use crate::protocol::Protocol;

const PROGRAM: &str = "/usr/bin/mariadb-test";
const CHARSETS: &str = "/usr/share/mysql/charsets";
const TEST_WITHIN: Duration = Duration::from_mins(2);
/// What the test program ends with when a test says that it cannot run here.
const SKIPPED: i32 = 62;

/// How one comes in.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub port: u16,
    pub user: String,
    /// A short handle in place of the password.
    pub password: Option<String>,
    pub authority: PathBuf,
    /// A client certificate with its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// As the test program ended: 0 when it came to the test's end, -1 when it did not end.
    pub code: i32,
    /// All that it printed, without what is this place's own.
    pub said: String,
}

impl Verdict {
    pub(crate) fn passed(&self) -> bool {
        self.code == 0
    }

    /// What the test program said at last, where a test ended early.
    pub(crate) fn complaint(&self) -> &str {
        let lines = self.said.lines().rev();
        let mut complaints = lines.filter(|line| line.starts_with("mysqltest: "));
        if self.passed() { "" } else { complaints.next().unwrap_or_default() }
    }

    pub(crate) fn skipped(&self) -> bool {
        self.code == SKIPPED
    }
}

/// What a server holds beside what tests make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    databases: BTreeSet<String>,
    accounts: BTreeSet<String>,
    variables: BTreeMap<String, String>,
}

/// One way, with a folder of its own for what tests write.
pub(crate) struct Place<'a> {
    pub name: &'static str,
    way: Way,
    server: &'a MariaDb,
    suite: PathBuf,
    folder: PathBuf,
    clean: State,
}

impl<'a> Place<'a> {
    pub(crate) fn prepare(
        name: &'static str,
        way: Way,
        server: &'a MariaDb,
        suite: &Path,
    ) -> Result<Self> {
        // Tests read and write by paths that begin in the folder of a database, and the test program writes only below its
        // own folder: so it is the server's.
        let folder = server.directory().to_owned();
        for part in ["tmp", "log", "std_data"] {
            let part = folder.join(part);
            fs::create_dir_all(&part)?;
            fs::set_permissions(&part, fs::Permissions::from_mode(0o1777))?;
        }
        for entry in fs::read_dir(suite.join("std_data"))?.flatten() {
            if entry.path().is_file() {
                fs::copy(entry.path(), folder.join("std_data").join(entry.file_name()))?;
            }
        }
        let clean = State::read(server)?;
        Ok(Self { name, way, server, suite: suite.to_owned(), folder, clean })
    }

    /// Runs one test and takes back what it left behind.
    pub(crate) fn run(&self, protocol: Protocol, test: &Path) -> Result<Verdict> {
        let verdict = self.verdict(protocol, test)?;
        self.restore().with_context(|| format!("after {}", test.display()))?;
        Ok(verdict)
    }

    fn verdict(&self, protocol: Protocol, test: &Path) -> Result<Verdict> {
        let (out, err) = (self.path("out"), self.path("err"));
        let mut command = self.command(protocol, test);
        command.stdin(Stdio::null()).stdout(fs::File::create(&out)?);
        let mut child = command.stderr(fs::File::create(&err)?).spawn()?;
        let ended = wait::try_until(TEST_WITHIN, || child.try_wait().transpose());
        let code = if let Some(status) = ended {
            status?.code().unwrap_or(-1)
        } else {
            child.kill()?;
            child.wait()?;
            -1
        };
        let said = [fs::read(&out)?, fs::read(&err)?].concat();
        Ok(Verdict { code, said: self.plain(&String::from_utf8_lossy(&said)) })
    }

    fn command(&self, protocol: Protocol, test: &Path) -> Command {
        let Way { port, user, password, authority, certificate } = &self.way;
        let mut command = program::clean(PROGRAM);
        command
            .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--database=test"])
            .args(["--max-connections=64", "--max-connect-retries=1", "--tail-lines=0"])
            .arg(format!("--port={port}"))
            .arg(format!("--user={user}"))
            .args(["--ssl", "--ssl-verify-server-cert"])
            .arg(format!("--ssl-ca={}", authority.display()))
            .arg(format!("--basedir={}/", self.suite.display()))
            .arg(format!("--tmpdir={}", self.path("tmp").display()))
            .arg(format!("--logdir={}", self.path("log").display()))
            .arg(format!("--character-sets-dir={CHARSETS}"))
            .arg(format!("--test-file={}", test.display()))
            .args(protocol.option())
            .current_dir(&self.suite);
        if let Some((certificate, key)) = certificate {
            command.arg(format!("--ssl-cert={}", certificate.display()));
            command.arg(format!("--ssl-key={}", key.display()));
        }
        if let Some(password) = password {
            command.env("MYSQL_PWD", password);
        }
        // What tests find in their environment.
        command
            .env("LC_ALL", "C")
            .env("TZ", "GMT-3")
            .env("MYSQL_TEST_DIR", &self.suite)
            .env("MYSQLTEST_VARDIR", &self.folder)
            .env("MYSQL_TMP_DIR", self.path("tmp"))
            .env("MYSQL_CHARSETSDIR", CHARSETS)
            .env("MYSQL_SHAREDIR", "/usr/share/mysql")
            .env("MASTER_MYPORT", port.to_string())
            .env("MASTER_MYSOCK", self.server.socket())
            .env("DEFAULT_MASTER_PORT", "3306")
            .env("MYSQLD_DATADIR", self.server.data_directory())
            .env("SECURE_LOAD_PATH", self.suite.join("std_data"))
            .env("MTR_TEST_NAME", test.file_stem().unwrap_or_default())
            .env("USE_RUNNING_SERVER", "0");
        command
    }

    fn path(&self, part: &str) -> PathBuf {
        self.folder.join(part)
    }

    /// Without what is this place's own: its folders and its port.
    fn plain(&self, said: &str) -> String {
        let said = said
            .replace(&self.server.data_directory().display().to_string(), "DATADIR")
            .replace(&self.folder.display().to_string(), "VARDIR");
        let said = without_temporary(&said);
        without_number(&without_number(&said, self.way.port), self.server.port())
    }

    /// Databases, accounts and settings as they were; a server that does not answer is started again.
    fn restore(&self) -> Result<()> {
        let state = if let Ok(state) = State::read(self.server) {
            state
        } else {
            self.server.restart()?;
            State::read(self.server)?
        };
        let sql = state.back_to(&self.clean);
        // Some settings refuse to be set one by one; what stays is seen in the next test's result.
        self.server.sql_regardless("mysql", &sql)?;
        for entry in fs::read_dir(self.path("tmp"))?.flatten() {
            let path = entry.path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Without a port, where it stands alone: the same digits also occur in tests' data.
fn without_number(said: &str, port: u16) -> String {
    let port = port.to_string();
    let (mut text, mut left) = (String::with_capacity(said.len()), said);
    while let Some((before, after)) = left.split_once(&port) {
        let alone = !before.ends_with(|letter: char| letter.is_ascii_alphanumeric())
            && !after.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        text.push_str(before);
        text.push_str(if alone { "PORT" } else { &port });
        left = after;
    }
    text + left
}

/// Without the names that the test program gives to scripts of its own.
fn without_temporary(said: &str) -> String {
    const BEGIN: &str = "VARDIR/tmp";
    const RANDOM_BYTES: usize = 6;
    let mut parts = said.split(BEGIN);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(BEGIN);
        let random = part.get(..RANDOM_BYTES);
        let is_name =
            random.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        text.push_str(if is_name { part.get(RANDOM_BYTES..).unwrap_or_default() } else { part });
    }
    text
}

const STATE: &str = "\
select 'database', schema_name, '' from information_schema.schemata
union all select 'account', concat(quote(user), '@', quote(host)), '' from mysql.global_priv where host <> ''
union all select 'account', quote(user), '' from mysql.global_priv where host = ''
union all select 'variable', variable_name, hex(global_value) from information_schema.system_variables
  where global_value is not null and read_only = 'NO' and variable_scope = 'GLOBAL'
    or global_value is not null and read_only = 'NO' and variable_scope = 'SESSION'";

impl State {
    fn read(server: &MariaDb) -> Result<Self> {
        let mut state = Self::default();
        for line in server.sql("mysql", STATE)?.lines() {
            let mut cells = line.split('\t');
            let (kind, name) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let value = cells.next().unwrap_or_default();
            match kind {
                "database" => drop(state.databases.insert(name.to_owned())),
                "account" => drop(state.accounts.insert(name.to_owned())),
                _ => drop(state.variables.insert(name.to_owned(), value.to_owned())),
            }
        }
        Ok(state)
    }

    /// The statements that lead from this state to the clean one. `test` is always made anew.
    fn back_to(&self, clean: &Self) -> String {
        let mut sql = vec!["set foreign_key_checks = 0".to_owned()];
        let extra = self.databases.difference(&clean.databases);
        let extra = extra.chain(clean.databases.get("test"));
        sql.extend(
            extra.map(|name| format!("drop database if exists `{}`", name.replace('`', "``"))),
        );
        sql.push("create database test character set latin1".to_owned());
        for account in self.accounts.difference(&clean.accounts) {
            let what = if account.contains('@') { "user" } else { "role" };
            sql.push(format!("drop {what} {account}"));
        }
        for (name, value) in &clean.variables {
            if self.variables.get(name) != Some(value) {
                sql.push(format!("set global {name} = {}", literal(value)));
            }
        }
        sql.join(";\n")
    }
}

/// A value as it can be set: a number as one, everything else as text.
fn literal(hex: &str) -> String {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .filter_map(|index| u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok())
        .collect();
    let text = String::from_utf8_lossy(&bytes);
    let number = !text.is_empty() && text.parse::<f64>().is_ok();
    if number { text.into_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(databases: &[&str], accounts: &[&str], variables: &[(&str, &str)]) -> State {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let hex = |text: &str| {
            let digits: Vec<String> = text.bytes().map(|byte| format!("{byte:02X}")).collect();
            digits.concat()
        };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), hex(value)));
        State {
            databases: owned(databases),
            accounts: owned(accounts),
            variables: variables.collect(),
        }
    }

    #[test]
    fn a_port_is_left_out_where_it_stands_alone() {
        let said = "port 46009, 127.0.0.1:46009 and '046009'";
        assert_eq!(without_number(said, 46009), "port PORT, 127.0.0.1:PORT and '046009'");
    }

    #[test]
    fn random_names_are_left_out() {
        assert_eq!(without_temporary("at VARDIR/tmp9IyYW9 line 14"), "at VARDIR/tmp line 14");
        assert_eq!(without_temporary("VARDIR/tmp/t1.txt"), "VARDIR/tmp/t1.txt");
    }

    #[test]
    fn what_a_test_left_behind_is_taken_back() {
        let clean = state(&["mysql", "test"], &["'a'@'h'"], &[("SQL_MODE", "X"), ("MAX", "1")]);
        let after = state(
            &["mysql", "test", "o`b"],
            &["'a'@'h'", "'b'@'%'", "'r'"],
            &[("SQL_MODE", "Y"), ("MAX", "2")],
        );
        assert_eq!(
            after.back_to(&clean),
            "set foreign_key_checks = 0;\ndrop database if exists `o``b`;\n\
             drop database if exists `test`;\ncreate database test character set latin1;\n\
             drop user 'b'@'%';\ndrop role 'r';\nset global MAX = 1;\nset global SQL_MODE = 'X'"
        );
    }
}
