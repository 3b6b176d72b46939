//! The staging file: where a record is before it is in a segment. It is mapped into memory, so that appending takes no
//! system call, and belongs to the system like any file's cached pages, so that it outlives the process.
//!
//! It holds lines as segments do. The first is the place where this gateway's chain begins, with sequence 0; then come
//! those that were appended, up to a zero byte. Once all of them are in a segment, the space is used again from the
//! start, and what stood there before may follow the zero byte. **Invariant:** a line that was appended is whole here or
//! whole in a segment, at every moment. Whoever reads the file goes on from the end of the segments with lines that
//! follow in the chain, and believes nothing else of it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::AuditError;
use crate::chain::{self, HASH_DIGITS, Hash};
use crate::lock::Exclusive;
use crate::mapping::Mapping;

/// About 1,500 records; larger would leave the processor's caches.
pub(crate) const BYTES: usize = 1024 * 1024;

/// More than this at once goes to the segment directly.
pub(crate) const BYTES_AT_ONCE_MAX: usize = BYTES / 2;

/// Stands in the place of the first record's predecessor.
const BEGINNING: &[u8] = b" {\"sequence\":0}\n";

/// Where the lines begin.
const BEGIN: usize = HASH_DIGITS + BEGINNING.len();

/// Where the lines end.
const END: u8 = 0;

pub(crate) fn path_of(directory: &Path) -> PathBuf {
    directory.join("staging.bin")
}

/// Space for lines. Invariant: `BEGIN <= written <= filled < BYTES`.
pub(crate) struct Staging {
    mapping: Mapping,
    /// The end of what is in a segment as well.
    written: usize,
    /// The end of the lines.
    filled: usize,
}

impl Staging {
    /// Begins anew: what the file held must be in the segments. Its blocks are reserved here, because a page that the
    /// disk has no room for could not be refused later: the system would end the process.
    pub(crate) fn open(
        directory: &Path,
        genesis: &Hash,
        lock: Exclusive,
    ) -> Result<Self, AuditError> {
        let path = path_of(directory);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(AuditError::file("open", &path))?;
        reserve(&file).map_err(AuditError::file("reserve the space of", &path))?;
        let mut beginning = vec![b'0'; HASH_DIGITS];
        chain::fill(&mut beginning, genesis);
        beginning.extend_from_slice(BEGINNING);
        beginning.push(END);
        file.write_all_at(&beginning, 0).map_err(AuditError::file("write", &path))?;
        let mapping = Mapping::of(&file, BYTES, lock).map_err(AuditError::file("map", &path))?;
        Ok(Self { mapping, written: BEGIN, filled: BEGIN })
    }

    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.filled + bytes < BYTES
    }

    /// Copies lines in; the caller has seen that there is room.
    pub(crate) fn put(&mut self, lines: &[u8]) {
        let space = self.mapping.bytes_mut().get_mut(self.filled..).unwrap_or_default();
        if let Some((place, [end, ..])) = space.split_at_mut_checked(lines.len()) {
            place.copy_from_slice(lines);
            *end = END;
            self.filled += lines.len();
        }
    }

    /// What is in no segment yet.
    pub(crate) fn unwritten(&self) -> &[u8] {
        self.mapping.bytes().get(self.written..self.filled).unwrap_or_default()
    }

    /// So many bytes more are in a segment. Once all are, the space is free.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written = self.filled.min(self.written + bytes);
        if self.written == self.filled {
            (self.written, self.filled) = (BEGIN, BEGIN);
            if let Some(first) = self.mapping.bytes_mut().get_mut(BEGIN) {
                *first = END;
            }
        }
    }
}

/// Sets the file's size and makes sure that the disk has room for all of it.
fn reserve(file: &File) -> io::Result<()> {
    let had = file.metadata()?.len();
    let wanted = BYTES as u64;
    match fallocate(file, FallocateFlags::empty(), 0, wanted) {
        Ok(()) => file.set_len(wanted),
        // Some file systems can only be written to.
        Err(Errno::OPNOTSUPP) => {
            let missing = wanted.saturating_sub(had);
            file.write_all_at(&vec![0; usize::try_from(missing).unwrap_or(BYTES)], had)?;
            file.set_len(wanted)
        }
        Err(error) => Err(error.into()),
    }
}

/// A position in the chain: a record's number and hash.
pub(crate) type Position = (u64, Hash);

/// The staged lines that follow in the chain, without their newlines. Without a position they follow its beginning as
/// it stands in the file. Meanwhile the log may be written, and its space used again: then this ends early, and what is
/// missing is in a segment by now.
pub(crate) fn following(directory: &Path, after: Option<Position>) -> io::Result<Vec<Vec<u8>>> {
    let file = match File::open(path_of(directory)) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    follow(BufReader::with_capacity(64 * 1024, file.take(BYTES as u64)), after)
}

/// The same, of any bytes.
pub(crate) fn follow(
    mut staged: impl BufRead,
    mut after: Option<Position>,
) -> io::Result<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    while staged.read_until(b'\n', &mut line)? > 0 {
        let Some((hash, json)) = line.strip_suffix(b"\n").and_then(chain::split) else { break };
        let Some(sequence) = sequence_of(&line) else { break };
        let (last, head) = match after {
            Some(after) => after,
            None if sequence == 0 => (0, hash),
            None => break,
        };
        after = Some((last, head));
        if sequence > last {
            if sequence != last + 1 || chain::next(&head, json) != hash {
                break;
            }
            after = Some((sequence, hash));
            line.pop();
            lines.push(std::mem::take(&mut line));
        }
        line.clear();
    }
    Ok(lines)
}

/// The number in a line of this log, or in the first of several.
pub(crate) fn sequence_of(line: &[u8]) -> Option<u64> {
    let json = line.get(HASH_DIGITS..)?.strip_prefix(b" {\"sequence\":")?;
    let digits = json.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(json.get(..digits)?).ok()?.parse().ok()
}
