//! Servers whose test was killed: found by their mark, stopped at the next start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// How the directories of throw-away servers begin.
pub(super) const PREFIX: &str = "portcullis-pg-";

/// Holds pid and start time of the process whose server it is. Absent: nobody's, left running on purpose.
const MARK: &str = "owner";

pub(super) fn mark(directory: &Path) -> Result<()> {
    let pid = std::process::id();
    fs::write(directory.join(MARK), format!("{pid} {}", start_time(pid).unwrap_or_default()))?;
    Ok(())
}

pub(super) fn unmark(directory: &Path) -> Result<()> {
    fs::remove_file(directory.join(MARK))?;
    Ok(())
}

/// Stops and removes every server whose owner is gone. Another sweep at the same time may win; that is fine.
pub(super) fn sweep() {
    for directory in orphans() {
        if let Err(error) = super::stop(&directory) {
            super::complain(&error);
        }
    }
}

fn orphans() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/tmp") else { return Vec::new() };
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
    ours.map(|entry| entry.path()).filter(|directory| orphaned(directory)).collect()
}

fn orphaned(directory: &Path) -> bool {
    let Ok(mark) = fs::read_to_string(directory.join(MARK)) else { return false };
    let mut words = mark.split(' ');
    let (Some(pid), Some(started)) = (words.next(), words.next()) else { return false };
    let Ok(pid) = pid.parse() else { return false };
    start_time(pid).as_deref() != Some(started)
}

/// In clock ticks since the machine's start (`proc(5)`, field 22 of `stat`): tells a pid from its reuse.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name in parentheses and may hold spaces.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether a server runs on this data directory.
pub(super) fn runs(data: &Path) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    pid.is_some_and(|pid| start_time(pid).is_some())
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
