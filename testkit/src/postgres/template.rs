//! A data directory fresh from `initdb`, made once and copied: copying takes a tenth of the time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Account, run};

/// Where Debian and Ubuntu put the server's programs.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A program of the newest PostgreSQL that the distribution has installed.
pub(super) fn binary(name: &str) -> Result<PathBuf> {
    let newest = newest_version().context("no PostgreSQL below /usr/lib/postgresql")?;
    Ok(Path::new(VERSIONS).join(newest.to_string()).join("bin").join(name))
}

fn newest_version() -> Option<u32> {
    let versions = fs::read_dir(VERSIONS).ok()?.flatten();
    let with_server = versions.filter(|entry| entry.path().join("bin/initdb").is_file());
    with_server.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max()
}

/// Puts a fresh data directory at `data`, from the copy in the build directory when there is one.
pub(super) fn copy_to(data: &Path, account: &Account, scratch: &Path) -> Result<()> {
    let Some(cached) = cache()? else { return initdb(data, account, scratch) };
    if !cached.join("PG_VERSION").is_file() {
        initdb(data, account, scratch)?;
        return keep(data, &cached);
    }
    copy(&cached, data)
}

fn initdb(data: &Path, account: &Account, scratch: &Path) -> Result<()> {
    account.own(scratch)?;
    let mut command = account.command(&binary("initdb")?);
    command
        .args(["-U", "postgres", "--auth=reject", "--no-sync", "--no-instructions"])
        .args(["--encoding=UTF8", "--no-locale", "-D"])
        .arg(data);
    run(command).map(|_| ())
}

/// Complete or absent: it is renamed into place. Whoever comes second throws theirs away.
fn keep(data: &Path, cached: &Path) -> Result<()> {
    let parent = cached.parent().context("a cache without a parent")?;
    fs::create_dir_all(parent)?;
    let fresh = tempfile::Builder::new().prefix("initdb-").tempdir_in(parent)?.keep();
    fs::remove_dir(&fresh)?;
    copy(data, &fresh)?;
    if fs::rename(&fresh, cached).is_err() {
        fs::remove_dir_all(&fresh)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = std::process::Command::new("cp");
    command.args(["-R", "--reflink=auto", "--no-preserve=ownership", "--"]).arg(from).arg(to);
    run(command).map(|_| ())
}

/// In the build directory that this program is from, which cargo marks with `CACHEDIR.TAG`.
fn cache() -> Result<Option<PathBuf>> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let version = newest_version().context("no PostgreSQL below /usr/lib/postgresql")?;
    Ok(target.map(|target| target.join("portcullis-testkit").join(format!("initdb-{version}"))))
}
