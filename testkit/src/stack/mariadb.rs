//! MariaDB behind the gateway: its documents, and what an administrator does on its host.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::Result;

use super::configuration::indented;
use super::{Options, Person, Privileges};
use crate::mariadb::MariaDb;
use crate::program;

/// What the server is called, beside [`super::SERVER`].
pub const MARIADB_SERVER: &str = "orders-mariadb";
/// The listener's name.
pub(super) const LISTENER: &str = "mysql";

/// The server and its roles, held by whom PostgreSQL's are held.
pub(super) fn documents(mariadb: &MariaDb, options: &Options) -> String {
    let (port, ca) = (mariadb.port(), indented(mariadb.server_ca().trim_end(), 4));
    let audit_mode = options.audit_mode;
    let databases = match options.privileges {
        Privileges::Ordinary => "databases: { only: [orders] }",
        // The server itself answers for databases that do not exist: MariaDB's own suite makes some, and loads files.
        Privileges::TestStack => "testStack: true\n  databases: any\n  localInfile: allowed",
    };
    let mut text = format!(
        "apiVersion: portcullis.dev/v1
kind: DatabaseServer
metadata: {{ name: {MARIADB_SERVER} }}
spec:
  engine: mysql
  host: 127.0.0.1
  port: {port}
  listeners: [{LISTENER}]
  {databases}
  publicNetworkAccess: disabled
  audit: {{ mode: {audit_mode} }}
  ca: |
{ca}
"
    );
    let mut add = |document: std::fmt::Arguments<'_>| {
        // Writing into a String never fails.
        let _written = write!(text, "---\napiVersion: portcullis.dev/v1\n{document}\n");
    };
    for privileges in ["reader", "writer", "admin"] {
        add(format_args!(
            "kind: DatabaseRole
metadata: {{ name: {MARIADB_SERVER}.{privileges} }}
spec: {{ server: {MARIADB_SERVER}, privileges: {privileges}, databases: [orders] }}"
        ));
    }
    for (privileges, kind, who) in [
        ("reader", "group", "orders-readers"),
        ("writer", "group", "orders-writers"),
        ("admin", "group", "orders-admins"),
        ("reader", "application", super::API),
    ] {
        add(format_args!(
            "kind: RoleAssignment
metadata: {{ name: {MARIADB_SERVER}-{who} }}
spec: {{ principal: {{ {kind}: {who} }}, role: {MARIADB_SERVER}.{privileges} }}"
        ));
    }
    if options.privileges == Privileges::TestStack {
        add(format_args!(
            "kind: DatabaseRole
metadata: {{ name: {MARIADB_SERVER}.superuser }}
spec: {{ server: {MARIADB_SERVER}, privileges: superuser }}"
        ));
        add(format_args!(
            "kind: RoleAssignment
metadata: {{ name: {MARIADB_SERVER}-{owner} }}
spec: {{ principal: {{ application: {owner} }}, role: {MARIADB_SERVER}.superuser }}",
            owner = super::OWNER
        ));
    }
    text
}

/// What an operator does on the server's host.
pub(super) fn enroll(admin: &Person, mariadb: &MariaDb) -> Result<()> {
    let mut command = admin.portcullis(&["server", "enroll", MARIADB_SERVER, "--apply"]);
    if let Some(direct) = mariadb.direct() {
        command.arg("--additional-authority").arg(direct.authority_file());
    }
    program::run(on_its_host(&mut command, mariadb))?.expect_success()?;
    mariadb.restart()
}

/// Where the server is, for `portcullis server enroll`.
pub fn on_its_host<'a>(command: &'a mut Command, mariadb: &MariaDb) -> &'a mut Command {
    command
        .arg("--data-directory")
        .arg(mariadb.data_directory())
        .arg("--socket")
        .arg(mariadb.socket())
        .arg("--configuration-directory")
        .arg(mariadb.configuration_directory())
        .args(["--os-user", mariadb.os_user()])
}

impl super::Facts {
    /// What the distribution's client says to a statement, under this name with this token.
    pub fn mariadb(&self, user: &str, token: &str, sql: &str) -> Result<program::Said> {
        let mut command = self.mariadb_command(user);
        command.args(["-e", sql]).env("MYSQL_PWD", token);
        program::run(&mut command)
    }

    /// The distribution's client, which takes the token from `MYSQL_PWD`.
    pub fn mariadb_command(&self, user: &str) -> Command {
        let mut command = program::clean("mariadb");
        command
            .args(["--no-defaults", "-N", "-B", "--protocol=tcp", "-h", "127.0.0.1"])
            .args(["-P", &self.reach.mysql_port.to_string(), "-u", user, "-D", "orders"])
            .args(["--ssl", "--ssl-verify-server-cert"])
            .arg("--ssl-ca")
            .arg(&self.reach.ca);
        command
    }
}
