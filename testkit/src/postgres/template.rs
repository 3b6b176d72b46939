//! A data directory fresh from `initdb`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program;
use crate::server::{Account, template};

/// Where Debian and Ubuntu put the server's programs.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A program of the newest PostgreSQL that the distribution has installed.
pub(super) fn binary(name: &str) -> Result<PathBuf> {
    Ok(Path::new(VERSIONS).join(newest_version()?.to_string()).join("bin").join(name))
}

fn newest_version() -> Result<u32> {
    let versions = fs::read_dir(VERSIONS).context("no PostgreSQL below /usr/lib/postgresql")?;
    let with_server = versions.flatten().filter(|entry| entry.path().join("bin/initdb").is_file());
    let numbers = with_server.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.max().context("no PostgreSQL below /usr/lib/postgresql")
}

/// Puts a fresh data directory at `data`.
pub(super) fn copy_to(data: &Path, account: &Account, scratch: &Path) -> Result<()> {
    let name = format!("initdb-{}", newest_version()?);
    template::copy_to(data, &name, || {
        let programs = super::programs()?;
        initdb(data, account, (scratch, &programs))
    })
}

/// By the `initdb` among these programs.
pub(super) fn initdb(
    data: &Path,
    account: &Account,
    (scratch, programs): (&Path, &Path),
) -> Result<()> {
    account.own(scratch)?;
    let mut command = account.command(&programs.join("initdb"));
    command
        .args(["-U", "postgres", "--auth=reject", "--no-sync", "--no-instructions"])
        .args(["--encoding=UTF8", "--no-locale", "-D"])
        .arg(data);
    program::run(&mut command)?.expect_success().map(drop)
}
