//! Writing segments: what was staged, in order, in files of a bounded size.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chain::Hash;
use crate::media::{Media, Storage};
use crate::segment;
use crate::staging::{self, Position};

/// Where the segments end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Of the last record.
    pub(crate) sequence: u64,
    pub(crate) head: Hash,
    /// The first record of the last segment.
    pub(crate) segment_first: u64,
    pub(crate) segment_bytes: u64,
}

/// The only one who writes segments, under one lock that is taken before the tail's.
pub(crate) struct Writer {
    pub(crate) end: End,
    pub(crate) current: Arc<dyn Media>,
    /// Segments that are full and not on disk yet.
    pub(crate) full: Vec<Arc<dyn Media>>,
    storage: Storage,
    directory: PathBuf,
    /// What was taken from the staging file.
    pub(crate) taken: Vec<u8>,
}

impl Writer {
    pub(crate) fn open(
        directory: PathBuf,
        storage: Storage,
        segment_first: u64,
    ) -> io::Result<Self> {
        let current = (storage.open)(&segment::path_of(&directory, segment_first))?;
        let end = End { sequence: 0, head: [0; 32], segment_first, segment_bytes: 0 };
        Ok(Self { end, current, full: Vec::new(), storage, directory, taken: Vec::new() })
    }

    /// Writes whole lines, the last of which has this number and hash. A segment ends with the record that makes it larger than it
    /// should be; the next begins with the record after.
    pub(crate) fn write(&mut self, mut lines: &[u8], last: Position) -> io::Result<()> {
        while !lines.is_empty() {
            if self.end.segment_bytes > self.storage.segment_bytes_max {
                self.roll(lines)?;
            }
            let (fit, rest) = lines.split_at(self.fitting(lines));
            self.current.append(fit)?;
            self.end.segment_bytes += fit.len() as u64;
            lines = rest;
        }
        (self.end.sequence, self.end.head) = last;
        Ok(())
    }

    /// Returns once everything written so far is on disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        for full in self.full.drain(..) {
            full.sync()?;
        }
        self.current.sync()
    }

    /// The bytes up to the end of the line that fills the segment.
    fn fitting(&self, lines: &[u8]) -> usize {
        let room = self.storage.segment_bytes_max.saturating_sub(self.end.segment_bytes);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let filling = lines.get(room..).unwrap_or_default();
        let end = filling.iter().position(|byte| *byte == b'\n');
        end.map_or(lines.len(), |end| room + end + 1)
    }

    /// Begins a new segment, with these lines. The committer syncs the full one first, and the directory, before anything in the new one
    /// counts as on disk.
    fn roll(&mut self, lines: &[u8]) -> io::Result<()> {
        let first = staging::sequence_of(lines).ok_or(io::ErrorKind::InvalidData)?;
        let next =
            (self.storage.open)(&segment::path_of(&self.directory, first)).map_err(|error| {
                io::Error::new(error.kind(), format!("a new segment could not be begun: {error}"))
            })?;
        self.full.push(std::mem::replace(&mut self.current, next));
        (self.end.segment_first, self.end.segment_bytes) = (first, 0);
        Ok(())
    }
}
