//! `portcullis connect`: which client is started, and how it is told where to go. The token never stands in an argument
//! list, which others on the machine can read; a process's environment is its own account's.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::kind::server::Engine;
use runtime::Secret;

use crate::{ClientError, Connection};

/// Variables of libpq that would lead elsewhere than the ones that we set, or count before them.
const LIBPQ_ELSEWHERE: &[&str] =
    &["PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGCHANNELBINDING", "PGSSLCRL", "PGSSLCRLDIR"];

/// Options of MySQL's clients that count only as the first argument.
const FIRST_ONLY: &[&str] =
    &["--no-defaults", "--print-defaults", "--defaults-file", "--defaults-extra-file"];

/// What is started, ready to be handed a token.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Where it goes.
    pub connection: &'a Connection,
    /// PEM of the installation's authority: nothing else is trusted.
    pub ca: &'a Path,
    /// The program; the usual one of the protocol when absent.
    pub program: Option<&'a OsStr>,
    /// As given behind `--`.
    pub arguments: &'a [OsString],
}

impl Invocation<'_> {
    /// Becomes the client: its signals and its exit status are then its own. Returns only when it could not be started.
    pub fn exec(&self, token: &Secret<String>) -> ClientError {
        let mut programs = Vec::new();
        for program in candidates(self.connection.engine, self.program) {
            let error = self.command(&program, token).exec();
            let name = program.to_string_lossy().into_owned();
            match error.kind() {
                io::ErrorKind::NotFound => programs.push(format!("`{name}`")),
                _ => return ClientError::Unstartable { program: name, source: error },
            }
        }
        ClientError::NoClient { programs, remedy: remedy(self.connection.engine) }
    }

    /// The program with all that it is told.
    fn command(&self, program: &OsStr, token: &Secret<String>) -> Command {
        let mut command = Command::new(program);
        match self.connection.engine {
            Engine::PostgreSql => self.libpq(&mut command, token),
            Engine::MySql => self.mysql(&mut command, program, token),
        }
        command
    }

    /// Everything that is built on libpq reads the same variables; drivers of other makes know most of them too.
    fn libpq(&self, command: &mut Command, token: &Secret<String>) {
        let Connection { host, port, user, database, .. } = self.connection;
        for name in LIBPQ_ELSEWHERE {
            command.env_remove(name);
        }
        command
            .env("PGHOST", host)
            .env("PGPORT", port.to_string())
            .env("PGUSER", user)
            .env("PGPASSWORD", token.expose())
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", self.ca)
            // A ticket of Kerberos' would be offered first, in vain.
            .env("PGGSSENCMODE", "disable")
            .env("PGREQUIREAUTH", "password");
        if let Some(database) = database {
            command.env("PGDATABASE", database);
        }
        command.args(self.arguments);
    }

    /// MySQL's clients read the password alone from their environment.
    fn mysql(&self, command: &mut Command, program: &OsStr, token: &Secret<String>) {
        let Connection { host, port, user, database, .. } = self.connection;
        let (first, rest) = first_only(self.arguments);
        command
            .env("MYSQL_PWD", token.expose())
            // For whatever is built on libmysqlclient; MariaDB's clients send a token inside TLS without being told.
            .env("LIBMYSQL_ENABLE_CLEARTEXT_PLUGIN", "Y")
            .args(first)
            .arg(format!("--host={host}"))
            .arg(format!("--port={port}"))
            .arg("--protocol=tcp")
            .arg(format!("--user={user}"))
            .arg(option("--ssl-ca=", self.ca.as_os_str()));
        match make(program) {
            Make::MariaDb => command.args(["--ssl", "--ssl-verify-server-cert"]),
            Make::Oracle => {
                command.args(["--ssl-mode=VERIFY_IDENTITY", "--enable-cleartext-plugin"])
            }
        };
        // The dump and administration programs mean something else by it, or nothing.
        if let (Some(database), true) = (database, is_shell(program)) {
            command.arg(format!("--database={database}"));
        }
        command.args(rest);
    }
}

fn candidates(engine: Engine, asked: Option<&OsStr>) -> Vec<OsString> {
    match (asked, engine) {
        (Some(program), _) => vec![program.to_owned()],
        (None, Engine::PostgreSql) => vec!["psql".into()],
        (None, Engine::MySql) => vec!["mariadb".into(), "mysql".into()],
    }
}

const fn remedy(engine: Engine) -> &'static str {
    match engine {
        Engine::PostgreSql => {
            "install one (Debian: postgresql-client), or name another with --client PROGRAM"
        }
        Engine::MySql => {
            "install one (Debian: mariadb-client), or name another with --client PROGRAM"
        }
    }
}

/// Whose client it is. The two makers' clients have the same names and other options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Make {
    MariaDb,
    Oracle,
}

/// By its name, else by what it says of itself: distributions install MariaDB's as `mysql` too.
fn make(program: &OsStr) -> Make {
    if name(program).starts_with("mariadb") {
        return Make::MariaDb;
    }
    match Command::new(program).arg("--version").output() {
        Ok(said) => make_by(&String::from_utf8_lossy(&said.stdout)),
        // It does not start either; what is said then is the same for both.
        Err(_) => Make::Oracle,
    }
}

fn make_by(version: &str) -> Make {
    if version.contains("MariaDB") { Make::MariaDb } else { Make::Oracle }
}

fn is_shell(program: &OsStr) -> bool {
    ["mariadb", "mysql"].contains(&name(program).as_str())
}

fn name(program: &OsStr) -> String {
    let path = PathBuf::from(program);
    path.file_name().unwrap_or(program).to_string_lossy().into_owned()
}

fn option(name: &str, value: &OsStr) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

/// The option among the given ones that must stand before ours.
fn first_only(arguments: &[OsString]) -> (&[OsString], &[OsString]) {
    let leads = arguments.first().is_some_and(|argument| {
        let text = argument.to_string_lossy();
        FIRST_ONLY.iter().any(|name| {
            text.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    });
    arguments.split_at_checked(usize::from(leads)).unwrap_or((&[], arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(engine: &str) -> Connection {
        let text = format!(
            r#"{{ "engine": "{engine}", "host": "db.test", "port": 6432, "user": "ada@example.com", "database": "orders" }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn words(command: &Command) -> Vec<String> {
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// What the client's environment is changed to; `(unset)` where it is taken away.
    fn variable(command: &Command, name: &str) -> Option<String> {
        let (_, value) = command.get_envs().find(|(known, _)| *known == OsStr::new(name))?;
        Some(value.map_or("(unset)".into(), OsStr::to_string_lossy).into_owned())
    }

    fn command(engine: &str, program: &str, arguments: &[&str]) -> Command {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let connection = connection(engine);
        let invocation = Invocation {
            connection: &connection,
            ca: Path::new("/ca.pem"),
            program: None,
            arguments: &arguments,
        };
        invocation.command(OsStr::new(program), &Secret::new("pct_secret".to_owned()))
    }

    #[test]
    fn psql_is_told_by_its_environment_and_the_token_is_no_argument() {
        let command = command("postgresql", "psql", &["-c", "select 1"]);
        assert_eq!(words(&command), ["-c", "select 1"]);
        for (name, value) in [
            ("PGHOST", "db.test"),
            ("PGPORT", "6432"),
            ("PGUSER", "ada@example.com"),
            ("PGDATABASE", "orders"),
            ("PGPASSWORD", "pct_secret"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/ca.pem"),
        ] {
            assert_eq!(variable(&command, name), Some(value.to_owned()), "{name}");
        }
        // A service of the person's own would count before all of these.
        assert_eq!(variable(&command, "PGSERVICE"), Some("(unset)".to_owned()));
    }

    #[test]
    fn mariadb_is_told_by_arguments_and_the_token_is_none_of_them() {
        let command = command("mysql", "mariadb", &["--no-defaults", "-e", "select 1"]);
        let expected = [
            "--no-defaults",
            "--host=db.test",
            "--port=6432",
            "--protocol=tcp",
            "--user=ada@example.com",
            "--ssl-ca=/ca.pem",
            "--ssl",
            "--ssl-verify-server-cert",
            "--database=orders",
            "-e",
            "select 1",
        ];
        assert_eq!(words(&command), expected);
        assert_eq!(variable(&command, "MYSQL_PWD"), Some("pct_secret".to_owned()));
    }

    #[test]
    fn a_client_that_is_not_a_shell_names_its_databases_itself() {
        let dump = command("mysql", "/opt/bin/mariadb-dump", &["orders"]);
        assert!(!words(&dump).iter().any(|word| word.starts_with("--database")));
        assert_eq!(words(&dump).last().map(String::as_str), Some("orders"));
    }

    #[test]
    fn the_makers_are_told_apart_by_what_their_clients_say() {
        for (version, expected) in [
            ("mysql  Ver 15.1 Distrib 10.11.14-MariaDB, for debian-linux-gnu", Make::MariaDb),
            ("mysql  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)", Make::Oracle),
        ] {
            assert_eq!(make_by(version), expected);
        }
    }

    #[test]
    fn a_client_that_is_not_installed_is_named_with_the_package_that_has_it() {
        let connection = connection("postgresql");
        let program = OsStr::new("/nowhere/psql");
        let invocation = Invocation {
            connection: &connection,
            ca: Path::new("/ca.pem"),
            program: Some(program),
            arguments: &[],
        };
        let error = invocation.exec(&Secret::new("pct_secret".to_owned()));
        assert_eq!(error.to_string(), "there is no `/nowhere/psql` on this machine");
        assert!(error.remedy().unwrap().contains("postgresql-client"));
    }
}
