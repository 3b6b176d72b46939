//! Proving a log whole, offline: given its files, its public key and the last checkpoint that is known from elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Checkpoint;
use crate::chain::{self, Hash};
use crate::segment::{self, Segment};
use crate::staging;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DamageKind {
    /// A record's bytes are not what its hash says.
    Altered,
    /// Records are not there.
    Missing,
    /// A record stands twice.
    Doubled,
    /// Records stand in another order.
    Swapped,
    /// The log ends before the last checkpoint.
    TailMissing,
    /// A whole segment file is not there.
    SegmentMissing,
    /// The chain holds, but not the one that was signed.
    Rewritten,
    /// A checkpoint was not signed with this log's key.
    CheckpointForged,
    /// No signed checkpoint covers the log.
    NoCheckpoint,
    /// The log is another gateway's, or was written with another key.
    AnotherLog,
    /// A file cannot be read.
    Unreadable,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// What.
    pub kind: DamageKind,
    /// In which file (or the log's directory).
    pub file: PathBuf,
    /// On which line of it, from 1; 0 when it is not about a line.
    pub line: u64,
    /// Which record it is about, by what its place should hold; 0 when it is not about one.
    pub sequence: u64,
    /// In words.
    pub text: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.sequence > 0 {
            write!(f, ": record {}", self.sequence)?;
        }
        write!(f, ": {}", self.text)
    }
}

impl Damage {
    pub(crate) fn in_file(kind: DamageKind, file: &Path) -> Self {
        Self { kind, file: file.to_owned(), line: 0, sequence: 0, text: String::new() }
    }

    pub(crate) fn at(mut self, line: u64, sequence: u64) -> Self {
        (self.line, self.sequence) = (line, sequence);
        self
    }

    fn turned(mut self, kind: DamageKind, text: &str) -> Self {
        (self.kind, self.text) = (kind, text.to_owned());
        self
    }

    pub(crate) fn said(mut self, text: impl fmt::Display) -> Self {
        self.text = text.to_string();
        self
    }
}

/// What is known of the log from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The name of the gateway whose log it should be.
    pub gateway: &'a str,
    /// The log's Ed25519 public key.
    pub public_key: &'a [u8],
    /// The last checkpoint that was kept outside of the log's directory.
    pub last: Option<&'a Checkpoint>,
}

/// A log that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Records in it.
    pub records: u64,
    /// Of these, how many a signed checkpoint covers. The rest were appended after it.
    pub covered: u64,
    /// Of these, how many are only staged: in no segment yet, because they are the latest or the process was killed.
    pub staged: u64,
    /// The chain's hash at its end, in hex.
    pub head: String,
    /// Checkpoints that agree with it.
    pub checkpoints: u64,
}

/// Proves the log whole, or names the first place where it is not.
pub fn verify(directory: &Path, known: &Known<'_>) -> Result<Verified, Damage> {
    let signed = checkpoints(directory, known)?;
    let segments = segment::list(directory)
        .map_err(|error| Damage::in_file(DamageKind::Unreadable, directory).said(error))?;
    let mut walk = Walk {
        sequence: 0,
        head: chain::genesis(known.gateway, known.public_key),
        signed: &signed,
        end: None,
    };
    for segment in &segments {
        walk.segment(segment)?;
    }
    let Some((last, signed_last)) = signed.last_key_value() else {
        let damage = Damage::in_file(DamageKind::NoCheckpoint, directory);
        return Err(
            damage.said("no signed checkpoint covers the log; give one that was kept elsewhere")
        );
    };
    if walk.sequence < *last {
        return Err(walk.cut_short(directory, (*last, signed_last.segment)));
    }
    // A signature never covers what is only staged: what is missing in the segments was found above.
    let staged = walk.staged(directory)?;
    Ok(Verified {
        records: walk.sequence,
        staged,
        covered: *last,
        head: data_encoding::HEXLOWER.encode(&walk.head),
        checkpoints: signed.len() as u64,
    })
}

/// Every checkpoint that is known, by the record that it covers. A forged one is damage, wherever it lies.
fn checkpoints(directory: &Path, known: &Known<'_>) -> Result<BTreeMap<u64, Signed>, Damage> {
    let mut signed = BTreeMap::new();
    let mut take = |checkpoint: &Checkpoint, file: &Path, line: u64| {
        let damage = |kind| Damage::in_file(kind, file).at(line, checkpoint.sequence);
        if checkpoint.gateway != known.gateway {
            let text = format!(
                "the checkpoint is of gateway `{}`, not of `{}`",
                checkpoint.gateway, known.gateway
            );
            return Err(damage(DamageKind::AnotherLog).said(text));
        }
        let head = checkpoint.head_hash().filter(|_| checkpoint.verify(known.public_key).is_ok());
        let Some(head) = head else {
            let text = format!(
                "the checkpoint at record {} was not signed with this log's key",
                checkpoint.sequence
            );
            return Err(damage(DamageKind::CheckpointForged).said(text));
        };
        let found = Signed { head, segment: checkpoint.segment };
        match signed.insert(checkpoint.sequence, found) {
            Some(other) if other != found => {
                Err(damage(DamageKind::Rewritten).said("two checkpoints disagree"))
            }
            _ => Ok(()),
        }
    };
    for name in ["checkpoints.log", "checkpoint"] {
        let path = directory.join(name);
        let read = || {
            Checkpoint::read_lines(&path)
                .map_err(|error| Damage::in_file(DamageKind::Unreadable, &path).said(error))
        };
        let mut all = read()?;
        if all.iter().any(Result::is_err) {
            // It may just have been overwritten while it was read.
            all = read()?;
        }
        for (index, line) in all.iter().enumerate() {
            let number = index as u64 + 1;
            let checkpoint = line.as_ref().map_err(|error| {
                Damage::in_file(DamageKind::CheckpointForged, &path)
                    .at(number, 0)
                    .said(format_args!("it is not a checkpoint: {error}"))
            })?;
            take(checkpoint, &path, number)?;
        }
    }
    if let Some(last) = known.last {
        take(last, Path::new("the checkpoint given"), 0)?;
    }
    Ok(signed)
}

/// What a checkpoint says of its record.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Signed {
    head: Hash,
    segment: u64,
}

struct Walk<'a> {
    sequence: u64,
    head: Hash,
    signed: &'a BTreeMap<u64, Signed>,
    /// The last segment that was there, and its last line.
    end: Option<(&'a Path, u64)>,
}

#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}

impl<'a> Walk<'a> {
    fn segment(&mut self, segment: &'a Segment) -> Result<(), Damage> {
        if segment.first_sequence != self.sequence + 1 {
            return Err(self.gap(segment));
        }
        let unreadable = |error: std::io::Error| {
            Damage::in_file(DamageKind::Unreadable, &segment.path).said(error)
        };
        let mut lines =
            BufReader::with_capacity(256 * 1024, File::open(&segment.path).map_err(unreadable)?);
        let (mut line, mut number) = (Vec::new(), 0);
        while lines.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
            number += 1;
            // The last line may still be being written.
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            let place = Place { file: &segment.path, line: number };
            if let Err(damage) = self.record(whole, &place) {
                let ours = damage.kind == DamageKind::AnotherLog
                    && self.signed_later(&mut lines).map_err(unreadable)?;
                let altered = "its bytes are not what its hash says";
                return Err(if ours {
                    damage.turned(DamageKind::Altered, altered)
                } else {
                    damage
                });
            }
            line.clear();
        }
        self.end = Some((&segment.path, number));
        Ok(())
    }

    /// Goes on with what is staged and follows; how many records that is.
    fn staged(&mut self, directory: &Path) -> Result<u64, Damage> {
        let file = staging::path_of(directory);
        let lines = staging::following(directory, Some((self.sequence, self.head)))
            .map_err(|error| Damage::in_file(DamageKind::Unreadable, &file).said(error))?;
        for line in &lines {
            self.record(line, &Place { file: &file, line: 0 })?;
        }
        Ok(lines.len() as u64)
    }

    /// Whether a later record carries a hash that was signed for it: then the log is ours, and its first record altered.
    fn signed_later(&self, lines: &mut impl BufRead) -> std::io::Result<bool> {
        let (mut line, mut sequence) = (Vec::new(), 1);
        while lines.read_until(b'\n', &mut line)? > 0 {
            sequence += 1;
            let hash = chain::split(&line).map(|(hash, _)| hash);
            let signed = self.signed.get(&sequence);
            if signed.is_some_and(|signed| Some(signed.head) == hash) {
                return Ok(true);
            }
            line.clear();
        }
        Ok(false)
    }

    /// The next segment does not begin where the one before ends.
    fn gap(&self, next: &Segment) -> Damage {
        let expected = self.sequence + 1;
        let missing = segment::path_of(next.path.parent().unwrap_or(Path::new("")), expected);
        let text = format!(
            "records {expected} to {} are missing; the next segment begins at record {}",
            next.first_sequence.saturating_sub(1),
            next.first_sequence
        );
        Damage::in_file(DamageKind::SegmentMissing, &missing).at(0, expected).said(text)
    }

    /// The log ends before a record that was signed: its end was cut off, or whole files are gone.
    fn cut_short(&self, directory: &Path, (last, segment): (u64, u64)) -> Damage {
        let expected = self.sequence + 1;
        let text = format!(
            "the log ends at record {}, a signed checkpoint covers record {last}",
            self.sequence
        );
        let (kind, file, line) = match self.end {
            Some((file, line)) if segment < expected => {
                (DamageKind::TailMissing, file.to_owned(), line)
            }
            // The record was signed in a segment of which nothing is left.
            _ => (DamageKind::SegmentMissing, segment::path_of(directory, expected), 0),
        };
        Damage::in_file(kind, &file).at(line, expected).said(text)
    }

    fn record(&mut self, line: &[u8], place: &Place<'_>) -> Result<(), Damage> {
        let expected = self.sequence + 1;
        let damage = |kind| Damage::in_file(kind, place.file).at(place.line, expected);
        let Some((hash, json)) = chain::split(line) else {
            return Err(damage(DamageKind::Altered).said("it is not a record"));
        };
        let numbered: Option<Numbered> = serde_json::from_slice(json).ok();
        if chain::next(&self.head, json) != hash {
            return Err(self.diagnose(numbered.map(|record| record.sequence), damage));
        }
        if numbered.map(|record| record.sequence) != Some(expected) {
            return Err(damage(DamageKind::Rewritten)
                .said("the chain holds, but the record has another number"));
        }
        (self.sequence, self.head) = (expected, hash);
        match self.signed.get(&expected) {
            Some(signed) if signed.head != hash => Err(damage(DamageKind::Rewritten)
                .said("the chain up to here is not the one that was signed")),
            _ => Ok(()),
        }
    }

    /// Why a record does not follow from the one before.
    fn diagnose(&self, found: Option<u64>, damage: impl Fn(DamageKind) -> Damage) -> Damage {
        let expected = self.sequence + 1;
        match found {
            Some(1) if expected == 1 => damage(DamageKind::AnotherLog).said(
                "the first record was altered, or the log is another gateway's or of another key",
            ),
            Some(found) if found == self.sequence => damage(DamageKind::Doubled).said(format_args!("record {found} stands twice")),
            Some(found) if found < expected => {
                damage(DamageKind::Swapped).said(format_args!("record {found} stands where {expected} belongs"))
            }
            Some(found) if found > expected => damage(DamageKind::Missing)
                .said(format_args!("record {found} stands where {expected} belongs: records are missing or were swapped")),
            _ => damage(DamageKind::Altered).said("its bytes are not what its hash says"),
        }
    }
}

struct Place<'a> {
    file: &'a Path,
    line: u64,
}
