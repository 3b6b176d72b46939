//! The files that make up a log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::chain::{self, Hash};

/// A new segment begins once the current one is larger.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) first_sequence: u64,
    pub(crate) path: PathBuf,
}

/// Twenty digits, so that names sort as numbers do.
pub(crate) fn path_of(directory: &Path, first_sequence: u64) -> PathBuf {
    directory.join(format!("{first_sequence:020}.log"))
}

/// The segments of a directory, oldest first.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".log"))
            .filter(|digits| digits.len() == 20)
            .and_then(|digits| digits.parse().ok());
        if let Some(first_sequence) = number {
            segments.push(Segment { first_sequence, path });
        }
    }
    segments.sort();
    Ok(segments)
}

/// The hash of a segment's last record; nothing when it does not end with one.
pub(crate) fn last_hash(segment: &Segment) -> io::Result<Option<Hash>> {
    let bytes = fs::read(&segment.path)?;
    let last =
        bytes.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next());
    Ok(last.and_then(chain::split).map(|(hash, _)| hash))
}

/// Makes the names of new files survive a loss of power.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}
