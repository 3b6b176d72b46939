//! A PostgreSQL server on this host: `psql` over the unix socket, and the signal that makes it read its files.

use std::path::Path;

use super::Observed;
use crate::enroll::files::{read, read_as};
use crate::enroll::host::feed;
use crate::enroll::{CLIENT_AUTHORITY_FILE, Host, HostError};
use crate::provision::pg::enrolment::{ADMISSION_ERRORS, OBSERVE_DATABASE, OBSERVE_SERVER, RELOAD};

/// Looks at whether the server has read its files again; each look is a connection and takes some 20 ms.
const RELOAD_LOOKS_MAX: u32 = 250;

/// The server, and where its unix socket is.
pub(in crate::enroll) struct Server<'a> {
    pub(in crate::enroll) host: &'a Host,
    pub(in crate::enroll) socket_directory: &'a Path,
}

impl Server<'_> {
    pub(in crate::enroll) fn observe(
        &self,
        maintenance_database: &str,
    ) -> Result<Observed, HostError> {
        let answer = self.psql(maintenance_database, OBSERVE_SERVER)?;
        let mut observed: Observed = parse("the server's answer", &answer)?;
        for database in &mut observed.databases {
            let answer = self.psql(&database.name, OBSERVE_DATABASE)?;
            database.schemas = parse("the database's answer", &answer)?;
        }
        let data_directory = &self.host.data_directory;
        let rules = self.host.place(&data_directory.join(&observed.hba_file))?;
        observed.hba = read(&rules)?.unwrap_or_default();
        let authorities = self.host.place(&data_directory.join(CLIENT_AUTHORITY_FILE))?;
        observed.client_authorities = read(&authorities)?;
        let certificate = data_directory.join(&observed.ssl_cert_file);
        observed.has_certificate = read_as(&self.host.account()?, &certificate)?.is_some();
        Ok(observed)
    }

    pub(in crate::enroll) fn run(
        &self,
        database: &str,
        statements: &[String],
    ) -> Result<(), HostError> {
        self.psql(database, &script(statements)).map(drop)
    }

    /// The server parses the file as it lies there, before it counts.
    pub(in crate::enroll) fn check_admission(&self) -> Result<(), HostError> {
        let said = self.psql("postgres", ADMISSION_ERRORS)?;
        if said.is_empty() { Ok(()) } else { Err(HostError::Admission(said)) }
    }

    /// The rules that are back may be the ones that let us in.
    pub(in crate::enroll) fn rules_are_back(&self) -> Result<(), HostError> {
        self.signal_reload()?;
        for _ in 0..RELOAD_LOOKS_MAX {
            match self.psql("postgres", "SELECT 1;\n") {
                Err(HostError::NoWayIn { .. }) => {}
                other => return other.map(drop),
            }
        }
        Err(HostError::NotReloaded)
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, HostError> {
        let port = self.port()?.to_string();
        let superuser = self.host.superuser();
        let mut command = self.host.command("psql")?;
        command
            .env("PGOPTIONS", "")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .args(["-U", superuser, "-d", database, "-p", &port])
            .arg("-h")
            .arg(self.socket_directory);
        let output = feed(command, sql)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // psql's exit code for a connection that was not opened or got lost.
        if output.status.code() == Some(2) {
            return Err(HostError::NoWayIn { superuser: superuser.to_owned(), said });
        }
        Err(HostError::Sql { database: database.to_owned(), said })
    }

    fn postmaster_line(&self, number: usize) -> Result<String, HostError> {
        let path = self.host.data_directory.join("postmaster.pid");
        let text = read_as(&self.host.account()?, &path)?.unwrap_or_default();
        let line = text.lines().nth(number).map(str::trim).filter(|line| !line.is_empty());
        line.map(str::to_owned).ok_or(HostError::NotRunning(path))
    }

    fn port(&self) -> Result<u16, HostError> {
        let line = self.postmaster_line(3)?;
        let not_running =
            |_| HostError::NotRunning(self.host.data_directory.join("postmaster.pid"));
        line.parse().map_err(not_running)
    }

    /// Makes the server read its files, and waits until it has.
    pub(in crate::enroll) fn reload(&self) -> Result<(), HostError> {
        const WHEN: &str = "SELECT pg_catalog.pg_conf_load_time();\n";
        let before = self.psql("postgres", WHEN)?;
        self.psql("postgres", RELOAD)?;
        for _ in 0..RELOAD_LOOKS_MAX {
            if self.psql("postgres", WHEN)? != before {
                return Ok(());
            }
        }
        Err(HostError::NotReloaded)
    }

    /// The same without a connection.
    pub(in crate::enroll) fn signal_reload(&self) -> Result<(), HostError> {
        let pid = self.postmaster_line(0)?;
        let mut command = self.host.command("kill")?;
        command.args(["-HUP", &pid]);
        if feed(command, "")?.status.success() { Ok(()) } else { Err(HostError::NotReloaded) }
    }
}

/// `ALTER SYSTEM` cannot be in one.
pub(in crate::enroll) fn is_transaction(statements: &[String]) -> bool {
    !statements.iter().any(|statement| statement.starts_with("ALTER SYSTEM"))
}

fn script(statements: &[String]) -> String {
    let lines = format!("{};\n", statements.join(";\n"));
    if is_transaction(statements) {
        format!("BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n{lines}COMMIT;\n")
    } else {
        lines
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, HostError> {
    serde_json::from_str(text)
        .map_err(|source| HostError::Unreadable { what: what.to_owned(), source })
}
