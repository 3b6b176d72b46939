//! A data directory fresh from the server's own installer, made once and copied: copying takes a tenth of the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::program;

/// Puts a fresh data directory at `data`, from the copy of this name in the build directory when there is one.
pub(crate) fn copy_to(data: &Path, name: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(cached) = cache(name)? else { return make() };
    if cached.is_dir() {
        return copy(&cached, data);
    }
    make()?;
    keep(data, &cached)
}

/// Complete or absent: it is renamed into place. Whoever comes second throws theirs away.
fn keep(data: &Path, cached: &Path) -> Result<()> {
    let parent = cached.parent().context("a cache without a parent")?;
    fs::create_dir_all(parent)?;
    let fresh = tempfile::Builder::new().prefix("template-").tempdir_in(parent)?.keep();
    fs::remove_dir(&fresh)?;
    copy(data, &fresh)?;
    if fs::rename(&fresh, cached).is_err() {
        fs::remove_dir_all(&fresh)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    command.args(["-R", "--reflink=auto", "--no-preserve=ownership", "--"]).arg(from).arg(to);
    program::run(&mut command)?.expect_success().map(drop)
}

/// In the build directory that this program is from, which cargo marks with `CACHEDIR.TAG`.
fn cache(name: &str) -> Result<Option<PathBuf>> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(target.map(|target| target.join("portcullis-testkit").join(name)))
}
