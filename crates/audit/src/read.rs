//! Reading a log, also while it is written.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use model::event::Event;

use crate::chain;
use crate::segment::{self, Segment};

/// Reads events in order. At the end, `next` gives `None`; called again later, it goes on with what was appended since.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    from: u64,
    current: Option<(Segment, BufReader<File>)>,
    /// A line whose end was not written yet.
    partial: Vec<u8>,
}

impl Reader {
    /// Starts at the first event whose sequence is at least `from`.
    pub fn open(directory: &Path, from: u64) -> io::Result<Self> {
        let mut reader =
            Self { directory: directory.to_owned(), from, current: None, partial: Vec::new() };
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

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
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
            let (_, json) =
                chain::split(&line).ok_or_else(|| invalid("a line is not a record".to_owned()))?;
            let event: Event =
                serde_json::from_slice(json).map_err(|error| invalid(error.to_string()))?;
            if event.sequence >= self.from {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

impl Iterator for Reader {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        self.event().transpose()
    }
}
