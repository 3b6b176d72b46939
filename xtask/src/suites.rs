//! PostgreSQL's and MariaDB's own suites through the gateway: brings their programs and files, builds what runs them, runs
//! it.

mod source;

use std::process::Command;

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::packages::{self, For};
use crate::shell;

/// Its regression suite, isolation tester and pipeline tests, directly and through the gateway, and the comparison of
/// the server's own statement log with the audit log.
pub(crate) fn run() -> Result<()> {
    packages::ensure(For::Suites)?;
    let prepared = source::prepare()?;
    let programs = build::programs(Profile::Stack, &[build::PORTCULLIS, build::SUITES])?;
    let [portcullis, suites] = programs.as_slice() else { bail!("nothing was built") };
    shell::run(Command::new(suites).arg(&prepared).env("PORTCULLIS_BIN", portcullis))
}

/// Where the distribution's package has MariaDB's suite.
const MARIADB_SUITE: &str = "/usr/share/mysql/mysql-test";

/// MariaDB's own suite, directly and through the gateway; all of it, or the tests that are named.
pub(crate) fn mariadb(tests: &[&str]) -> Result<()> {
    packages::ensure(For::MariaDbSuite)?;
    let programs = build::programs(Profile::Stack, &[build::PORTCULLIS, build::MARIADB_SUITE])?;
    let [portcullis, suite] = programs.as_slice() else { bail!("nothing was built") };
    let page = shell::checkout().join("docs/conformance/mariadb-test.md");
    let mut command = Command::new(suite);
    command.args(["--suite", MARIADB_SUITE, "--page"]).arg(page).args(tests);
    shell::run(command.env("PORTCULLIS_BIN", portcullis))
}
