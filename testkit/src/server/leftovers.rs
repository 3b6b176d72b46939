//! Servers whose test was killed: found by their mark, stopped at the next start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Identity;

/// Holds pid and start time of the process whose server it is. Absent: nobody's, left running on purpose.
const MARK: &str = "owner";

/// A new directory whose name begins so, marked as ours. Below /tmp whatever TMPDIR says: a unix socket's path has at
/// most 107 bytes.
pub(crate) fn directory(prefix: &str) -> Result<PathBuf> {
    let directory = tempfile::Builder::new().prefix(prefix).tempdir_in("/tmp");
    let directory = directory.context("no directory for the server")?.keep();
    mark(&directory)?;
    Ok(directory)
}

fn mark(directory: &Path) -> Result<()> {
    let ours = Identity::of(std::process::id()).context("this process is nowhere")?;
    fs::write(directory.join(MARK), format!("{} {}", ours.pid, ours.started))?;
    Ok(())
}

pub(crate) fn unmark(directory: &Path) -> Result<()> {
    fs::remove_file(directory.join(MARK))?;
    Ok(())
}

/// Stops and removes every server of this kind whose owner is gone. Another sweep at the same time may win; that is fine.
pub(crate) fn sweep(prefix: &str, stop: fn(&Path) -> Result<()>) {
    for directory in orphans(prefix) {
        if let Err(error) = stop(&directory) {
            super::complain(&error);
        }
    }
}

fn orphans(prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/tmp") else { return Vec::new() };
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)));
    ours.map(|entry| entry.path()).filter(|directory| orphaned(directory)).collect()
}

fn orphaned(directory: &Path) -> bool {
    let Ok(mark) = fs::read_to_string(directory.join(MARK)) else { return false };
    let Some((pid, started)) = mark.split_once(' ') else { return false };
    let Ok(pid) = pid.parse() else { return false };
    !Identity { pid, started: started.to_owned() }.runs()
}

/// The process that this file names in its first line, while it runs.
pub(crate) fn named_in(pid_file: &Path) -> Option<Identity> {
    let text = fs::read_to_string(pid_file).ok()?;
    text.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Identity::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_left_is_an_orphan() {
        let ours = tempfile::tempdir().unwrap();
        mark(ours.path()).unwrap();
        assert!(!orphaned(ours.path()));
        fs::write(ours.path().join(MARK), format!("{} 1", std::process::id())).unwrap();
        assert!(orphaned(ours.path()), "a reused pid is not the owner");
        unmark(ours.path()).unwrap();
        assert!(!orphaned(ours.path()), "left running on purpose");
    }
}
