//! PostgreSQL's own suites through the gateway: brings their programs and files, builds what runs them, runs it.

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
