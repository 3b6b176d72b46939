//! The distribution's client of MariaDB's, around the gateway: it speaks with MySQL's own servers, too.

use std::process::Command;

use anyhow::Result;

use super::{DirectLogin, Place};
use crate::program;

const CLIENT: &str = "/usr/bin/mariadb";

/// On servers of the family of MySQL.
impl Place {
    /// Runs SQL over TCP and TLS, around the gateway, with a client certificate (paths of PEM files).
    pub fn sql_directly(&self, login: &DirectLogin<'_>, sql: &str) -> Result<String> {
        program::feed(&mut self.directly(login), sql)?.expect_success()
    }

    /// The command that [`Place::sql_directly`] runs, reading SQL from its standard input.
    pub fn directly(&self, login: &DirectLogin<'_>) -> Command {
        let mut command = program::clean(CLIENT);
        command
            .args(["--no-defaults", "-N", "-B", "--protocol=tcp", "-h", "127.0.0.1"])
            .args(["-P", &self.port.to_string(), "-u", login.user])
            .args(["--ssl-verify-server-cert", "--ssl-ca"])
            .arg(self.server_ca_file())
            .arg("--ssl-cert")
            .arg(login.certificate)
            .arg("--ssl-key")
            .arg(login.key)
            .args(["-D", login.database]);
        command
    }
}
