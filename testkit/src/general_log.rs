//! MariaDB's own general query log, and its comparison with the audit log by a program that shares no code with us.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::mariadb::{MariaDb, SUPERUSER};
use crate::stack::{MARIADB_SERVER, Stack};
use crate::statement_log::{self, Agreement};
use crate::{program, wait};

const FILE: &str = "general-log";
const WITHIN: Duration = Duration::from_secs(30);

/// Lets the server log every command from here on, and says where.
pub fn begin(mariadb: &MariaDb) -> Result<PathBuf> {
    let file = mariadb.data_directory().join(FILE);
    let sql = format!(
        "set global log_output = 'FILE', general_log_file = '{}', general_log = on",
        file.display()
    );
    mariadb.sql("mysql", &sql)?;
    Ok(file)
}

/// Compares them, when every session has ended. The file is the one that [`begin`] told of.
pub fn compare(stack: &Stack, file: &Path, audit_log: &Path) -> Result<Agreement> {
    let mariadb = stack.mariadb.as_ref().context("no MariaDB runs beside")?;
    statement_log::wait_for_ends(audit_log)?;
    written(mariadb, file)?;
    let mut command = program::clean("python3");
    command.arg(script()).arg("--general-log").arg(file).arg("--audit-log").arg(audit_log);
    command.args(["--server", MARIADB_SERVER]);
    for user in [mariadb.os_user(), SUPERUSER, "portcullis_provisioner"] {
        command.args(["--except-user", user]);
    }
    let said = program::run(&mut command)?;
    match said.code {
        0 | 1 => Ok(Agreement { agrees: said.ok(), printed: said.stdout.trim_end().to_owned() }),
        _ => bail!("{said}"),
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/completeness/compare_mysql.py")
}

/// Until all is in it that the server was sent: every line is written before its statement is answered.
fn written(mariadb: &MariaDb, file: &Path) -> Result<()> {
    let marker = format!("the log up to byte {}", fs::metadata(file)?.len());
    mariadb.sql("mysql", &format!("select '{marker}'"))?;
    let seen = || String::from_utf8_lossy(&fs::read(file).ok()?).contains(&marker).then_some(());
    wait::try_until(WITHIN, seen).context("the server's log does not get on")
}
