//! Where in the log something can be found: beside each segment, which terms stand in which part of it.
//!
//! An index answers only where *not* to look. What is found is read from the log itself, and `verify` never looks at an
//! index. A full segment's is kept in `<first sequence>.index`: lines of JSON, the last of them the SHA-256 of the
//! others. One that is missing, damaged or of another segment is made anew from the segment; the segment that is being
//! written has its index in memory, carried on at each question.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use model::Timestamp;
use model::event::Event;
use serde::{Deserialize, Serialize};

use crate::chain;
use crate::segment::{self, Segment};

/// A part is at least so long, the last one of a segment excepted.
const PART_BYTES_MIN: u64 = 256 * 1024;
/// Segments whose index stays in memory, the newest.
const SEGMENTS_KEPT_MAX: usize = 64;

/// A term, as parts are asked for it. Two terms can have the same; then a part is looked at in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(u32);

impl Term {
    /// Of a field and what stands in it.
    pub fn new(field: &str, value: &str) -> Self {
        // FNV-1a, folded to 32 bits: what is kept in a file must not depend on the build.
        let bytes = field.bytes().chain([0]).chain(value.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(u32::try_from((hash ^ (hash >> 32)) & u64::from(u32::MAX)).unwrap_or_default())
    }
}

/// Says under which terms an event is to be found.
pub type Terms = Box<dyn Fn(&Event, &mut BTreeSet<Term>) + Send + Sync>;

/// A part of a segment: whole records, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Of which segment, by its first record.
    pub segment: u64,
    offset: u64,
    bytes: u64,
    /// The first record's time.
    pub from: Timestamp,
    /// The last record's time.
    pub until: Timestamp,
    terms: Vec<Term>,
}

impl Part {
    /// Whether one of the terms may stand in it.
    pub fn may_have(&self, any: &[Term]) -> bool {
        any.iter().any(|term| self.terms.binary_search(term).is_ok())
    }
}

/// The indexes of one log.
pub struct Index {
    directory: PathBuf,
    terms: Terms,
    known: Mutex<BTreeMap<u64, Arc<[Part]>>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The first line of a kept index.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heading {
    /// Of the segment.
    bytes: u64,
    /// The chain's hash at its end.
    head: String,
    /// Of what is said about an event: another version has other terms.
    version: u32,
}

/// Counts up when the terms of an event change.
const VERSION: u32 = 2;

impl Index {
    /// Of the log in a folder.
    pub fn new(directory: &Path, terms: Terms) -> Self {
        Self { directory: directory.to_owned(), terms, known: Mutex::default() }
    }

    /// First sequence of each segment and the time of its first record, oldest first.
    pub fn segments(&self) -> io::Result<Vec<(u64, Timestamp)>> {
        let mut begun = Vec::new();
        for segment in segment::list(&self.directory)? {
            let mut line = Vec::new();
            BufReader::new(File::open(&segment.path)?).read_until(b'\n', &mut line)?;
            // The newest may have no record yet.
            if line.ends_with(b"\n") {
                begun.push((segment.first_sequence, event_of(&line)?.time));
            }
        }
        Ok(begun)
    }

    /// The parts of a segment, in order.
    pub fn parts(&self, first: u64) -> io::Result<Arc<[Part]>> {
        let segment =
            Segment { first_sequence: first, path: segment::path_of(&self.directory, first) };
        let bytes = fs::metadata(&segment.path)?.len();
        let known = self.lock().get(&first).map(Arc::clone);
        if let Some(known) = &known
            && known.last().is_some_and(|last| last.offset + last.bytes == bytes)
        {
            return Ok(Arc::clone(known));
        }
        let full =
            segment::list(&self.directory)?.last().is_some_and(|last| last.first_sequence > first);
        let kept = if full && known.is_none() { kept(&segment, bytes) } else { None };
        let parts: Arc<[Part]> = if let Some(parts) = kept {
            parts.into()
        } else {
            let mut parts = known.map(|known| known.to_vec()).unwrap_or_default();
            self.carry_on(&segment, &mut parts)?;
            if full && let Err(error) = keep(&segment, &parts) {
                tracing::warn!(%error, segment = first, "an index of the audit log cannot be kept");
            }
            parts.into()
        };
        let mut all = self.lock();
        all.insert(first, Arc::clone(&parts));
        while all.len() > SEGMENTS_KEPT_MAX {
            all.pop_first();
        }
        Ok(parts)
    }

    /// The events of a part, from the log.
    pub fn events(&self, part: &Part) -> io::Result<Vec<Event>> {
        let mut file = File::open(segment::path_of(&self.directory, part.segment))?;
        file.seek(SeekFrom::Start(part.offset))?;
        let mut bytes = Vec::new();
        file.take(part.bytes).read_to_end(&mut bytes)?;
        bytes.split_inclusive(|byte| *byte == b'\n').map(event_of).collect()
    }

    /// Everything of the segment that is not in `parts` yet; the last of them may have been cut short.
    fn carry_on(&self, segment: &Segment, parts: &mut Vec<Part>) -> io::Result<()> {
        parts.pop_if(|last| last.bytes < PART_BYTES_MIN);
        let mut offset = parts.last().map_or(0, |last| last.offset + last.bytes);
        let mut file = File::open(&segment.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut lines = BufReader::with_capacity(256 * 1024, file);
        let (mut part, mut terms) = (None::<Part>, BTreeSet::new());
        let mut line = Vec::new();
        loop {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            let ended = !line.ends_with(b"\n");
            if let Some(full) = part.take_if(|part| ended || part.bytes >= PART_BYTES_MIN) {
                let terms = std::mem::take(&mut terms).into_iter().collect();
                parts.push(Part { terms, ..full });
            }
            if ended {
                return Ok(());
            }
            let event = event_of(&line)?;
            let part = part.get_or_insert_with(|| Part {
                segment: segment.first_sequence,
                offset,
                bytes: 0,
                from: event.time,
                until: event.time,
                terms: Vec::new(),
            });
            part.until = event.time;
            part.bytes += line.len() as u64;
            offset += line.len() as u64;
            (self.terms)(&event, &mut terms);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<[Part]>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was kept of a full segment, if it is whole and of this segment.
fn kept(segment: &Segment, bytes: u64) -> Option<Vec<Part>> {
    let path = path_of(segment);
    let text = fs::read(&path).ok()?;
    let parts = parts_of(&text, segment, bytes);
    if parts.is_none() {
        tracing::warn!(index = %path.display(), "an index of the audit log is damaged or of another log; it is made anew");
    }
    parts
}

fn event_of(line: &[u8]) -> io::Result<Event> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let (_, json) = chain::split(line.trim_ascii_end())
        .ok_or_else(|| invalid("a line is not a record".to_owned()))?;
    serde_json::from_slice(json).map_err(|error| invalid(error.to_string()))
}

fn path_of(segment: &Segment) -> PathBuf {
    segment.path.with_extension("index")
}

/// The chain's hash at the end of a segment, which the last part holds.
fn head_of(segment: &Segment, parts: &[Part]) -> io::Result<String> {
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(parts.last().map_or(0, |last| last.offset)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let line = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let hash = line.and_then(chain::split).map(|(hash, _)| HEXLOWER.encode(&hash));
    hash.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a line is not a record"))
}

fn keep(segment: &Segment, parts: &[Part]) -> io::Result<()> {
    let bytes = fs::metadata(&segment.path)?.len();
    let heading = Heading { bytes, head: head_of(segment, parts)?, version: VERSION };
    let mut text = serde_json::to_vec(&heading)?;
    for part in parts {
        text.push(b'\n');
        serde_json::to_writer(&mut text, part)?;
    }
    text.push(b'\n');
    let digest =
        HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text).as_ref());
    text.extend_from_slice(digest.as_bytes());
    let (path, aside) = (path_of(segment), segment.path.with_extension("index-new"));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(&text)?;
    fs::rename(aside, path)
}

fn parts_of(text: &[u8], segment: &Segment, bytes: u64) -> Option<Vec<Part>> {
    let end = text.iter().rposition(|byte| *byte == b'\n')?;
    let (lines, digest) = text.split_at_checked(end + 1)?;
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, lines);
    if HEXLOWER.decode(digest).ok()?.as_slice() != expected.as_ref() {
        return None;
    }
    let mut lines = lines.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    let heading: Heading = serde_json::from_slice(lines.next()?).ok()?;
    let parts: Vec<Part> =
        lines.map(|line| serde_json::from_slice(line).ok()).collect::<Option<_>>()?;
    let head = head_of(segment, &parts).ok()?;
    let expected = Heading { bytes, head, version: VERSION };
    let covered = parts.last().is_some_and(|last| last.offset + last.bytes == bytes);
    (heading == expected && covered).then_some(parts)
}
