//! Reading a log, also while it is written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use model::event::Event;

use crate::chain;
use crate::segment::{self, Segment};
use crate::staging::{self, Position};

/// Reads events in order. At the end, `next` gives `None`; called again later, it goes on with what was appended since.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    from: u64,
    current: Option<(Segment, BufReader<File>)>,
    /// A line whose end was not written yet.
    partial: Vec<u8>,
    /// The last record that was read.
    last: Option<Position>,
    /// Records after it that were found staged.
    staged: VecDeque<Vec<u8>>,
    /// The last record that was found staged: a segment will hold it too, or does by now.
    staged_last: u64,
}

impl Reader {
    /// Starts at the first event whose sequence is at least `from`.
    pub fn open(directory: &Path, from: u64) -> io::Result<Self> {
        let mut reader = Self {
            directory: directory.to_owned(),
            from,
            current: None,
            partial: Vec::new(),
            last: None,
            staged: VecDeque::new(),
            staged_last: 0,
        };
        let segments = segment::list(directory)?;
        let start =
            segments.iter().rposition(|segment| segment.first_sequence <= from).unwrap_or(0);
        if let Some(segment) = segments.into_iter().nth(start) {
            reader.enter(segment)?;
        }
        Ok(reader)
    }

    /// The first sequences of the log's segments, oldest first: where reading can begin without reading what is before.
    pub fn segments(directory: &Path) -> io::Result<Vec<u64>> {
        Ok(segment::list(directory)?.into_iter().map(|segment| segment.first_sequence).collect())
    }

    fn enter(&mut self, segment: Segment) -> io::Result<()> {
        let file = File::open(&segment.path)?;
        self.current = Some((segment, BufReader::with_capacity(256 * 1024, file)));
        Ok(())
    }

    /// The segment after the current one, once it exists.
    fn following(&self) -> io::Result<Option<Segment>> {
        let after = self.current.as_ref().map_or(0, |(segment, _)| segment.first_sequence);
        Ok(segment::list(&self.directory)?
            .into_iter()
            .find(|segment| segment.first_sequence > after))
    }

    /// The next line of the log, wherever it is.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(line) = self.staged.pop_front() {
            return Ok(Some(line));
        }
        if let Some(line) = self.line_of_segment()? {
            return Ok(Some(line));
        }
        self.staged = staging::following(&self.directory, self.place()?)?.into();
        self.staged_last = self.staged.back().map_or(self.staged_last, |line| sequence_of(line));
        match self.staged.pop_front() {
            Some(line) => Ok(Some(line)),
            // It may have been written into a segment between the two looks.
            None => self.line_of_segment(),
        }
    }

    /// After which record to go on; nothing at the very beginning.
    fn place(&self) -> io::Result<Option<Position>> {
        let Some((segment, _)) = self.current.as_ref().filter(|_| self.last.is_none()) else {
            return Ok(self.last);
        };
        let segments = segment::list(&self.directory)?;
        let before = segments.iter().rev().find(|before| *before < segment);
        let head = before.map(segment::last_hash).transpose()?.flatten();
        Ok(head.map(|head| (segment.first_sequence - 1, head)))
    }

    /// The next line of a segment that was not found staged before.
    fn line_of_segment(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(line) = self.whole_line()? {
            if self.staged_last == 0 || sequence_of(&line) > self.staged_last {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    fn whole_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some((_, lines)) = &mut self.current {
                lines.read_until(b'\n', &mut self.partial)?;
                if self.partial.ends_with(b"\n") {
                    self.partial.pop();
                    return Ok(Some(std::mem::take(&mut self.partial)));
                }
            }
            // A segment is whole before its follower exists: what is partial here will never be finished there.
            let Some(next) = self.following()? else { return Ok(None) };
            self.partial.clear();
            self.enter(next)?;
        }
    }

    fn event(&mut self) -> io::Result<Option<Event>> {
        while let Some(line) = self.line()? {
            let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
            let (hash, json) =
                chain::split(&line).ok_or_else(|| invalid("a line is not a record".to_owned()))?;
            let event: Event =
                serde_json::from_slice(json).map_err(|error| invalid(error.to_string()))?;
            self.last = Some((event.sequence, hash));
            if event.sequence >= self.from {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

/// Of what is no record, a number that is none's.
fn sequence_of(line: &[u8]) -> u64 {
    staging::sequence_of(line).unwrap_or(u64::MAX)
}

impl Iterator for Reader {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        self.event().transpose()
    }
}
