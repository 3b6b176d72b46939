//! Opening a log: one writer, the end checked against the chain and the last checkpoint, a torn last write removed,
//! statements that the former process left without an outcome given one, sessions that it left open ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keys::AuditKey;
use model::event::{Actor, EventBody, SessionEnded, StatementOutcome};
use model::{SessionId, Timestamp};
use runtime::Clock;
use serde::Deserialize;

use crate::chain::{self, Hash};
use crate::lock::Exclusive;
use crate::log::{Log, Tail};
use crate::media::Storage;
use crate::segment::{self, Segment};
use crate::staging::{self, Staging};
use crate::verify::{Damage, DamageKind};
use crate::writer::Writer;
use crate::{AuditError, Checkpoint};

/// Gets the latest checkpoint, at most once a second: to keep it where the log's host cannot change it.
pub type CheckpointSink = Box<dyn Fn(&Checkpoint) + Send + Sync>;

/// How many outcomes and ends are appended at once after a crash.
const SETTLED_AT_ONCE: usize = 1024;

/// How a log is opened.
pub struct Options {
    /// Where it lies; made when missing.
    pub directory: PathBuf,
    /// Whose it is.
    pub gateway: String,
    /// Signs checkpoints.
    pub key: AuditKey,
    /// Where times come from.
    pub clock: Clock,
    /// A record is on disk at most so long after it was appended.
    pub sync_interval: Duration,
    /// Where checkpoints go besides the log's own directory.
    pub checkpoint_sink: Option<CheckpointSink>,
    /// The last checkpoint that was kept outside of the log's directory: a log that does not reach it, or reaches
    /// another one, is not opened.
    pub known: Option<Checkpoint>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("directory", &self.directory)
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Statements of the former process that got the outcome `unknown (gateway stopped)`.
    pub unknown_outcomes: u64,
    /// Records that the former process had appended and not written into a segment; now they are in one.
    pub staged_records: u64,
    /// Bytes at the end that no checkpoint covered and that did not make whole records: what a crash or a loss of power
    /// cut short. They were moved into `removed-after-<sequence>.bin`.
    pub torn_bytes: u64,
}

impl Log {
    /// Opens the log, or makes it. Refuses a log whose end is not what the last checkpoint says.
    pub fn open(options: Options) -> Result<(Self, Opened), AuditError> {
        Self::open_on(options, Storage::files())
    }

    pub(crate) fn open_on(
        options: Options,
        storage: Storage,
    ) -> Result<(Self, Opened), AuditError> {
        let directory = options.directory.clone();
        let lock = Exclusive::of(&directory)?;
        let public_key = options.key.public_key().to_vec();
        let mut latest = latest_checkpoint(&directory, &public_key)?;
        if let Some(known) = &options.known {
            check_known(known, (&directory, &options.gateway, &public_key))?;
            if latest.as_ref().is_none_or(|latest| latest.sequence <= known.sequence) {
                latest = Some(known.clone());
            }
        }
        let genesis = chain::genesis(&options.gateway, &public_key);
        let mut end = End::find(&directory, genesis, latest.as_ref())?;
        let segment_first = end.segment.as_ref().map_or(1, |segment| segment.first_sequence);
        let mut writer = Writer::open(directory.clone(), storage, segment_first)
            .map_err(AuditError::file("open", segment::path_of(&directory, segment_first)))?;
        writer.end.sequence = end.sequence;
        writer.end.head = end.head;
        writer.end.segment_bytes = end.bytes;
        let staged_records = end.take_over_staged((&directory, latest.as_ref()), &mut writer)?;
        segment::sync_directory(&directory).map_err(AuditError::file("sync", &directory))?;
        let staging = Staging::open(&directory, &genesis, lock)?;
        let tail = Tail::after((end.sequence, end.head), end.time, staging);
        let log = Self::new(options, tail, writer, latest)?;
        let unknown_outcomes = log.settle(&end)?;
        Ok((log, Opened { unknown_outcomes, staged_records, torn_bytes: end.torn_bytes }))
    }

    /// Gives statements without an outcome one, ends the sessions that were open, and says so.
    fn settle(&self, end: &End) -> Result<u64, AuditError> {
        let outcomes = end.open_statements.iter().map(|statement| unknown_outcome(*statement));
        let ends = end.open_sessions.iter().map(|(session, left)| session_ended(*session, left));
        let settled: Vec<EventBody> = outcomes.chain(ends).collect();
        for some in settled.chunks(SETTLED_AT_ONCE) {
            self.append(some)?;
        }
        if end.torn_bytes > 0 {
            let detail = [("bytes".to_owned(), end.torn_bytes.into())].into();
            let subject = format!("after record {}", end.sequence);
            self.append(&[EventBody::Installation {
                actor: Actor::portcullis(),
                action: "tornWriteRemoved".to_owned(),
                subject,
                detail,
            }])?;
        }
        Ok(end.open_statements.len() as u64)
    }
}

fn unknown_outcome((session, number): (SessionId, u64)) -> EventBody {
    EventBody::StatementOutcome(Box::new(StatementOutcome {
        mysql: None,
        session,
        number,
        tags: Vec::new(),
        rows: 0,
        relations: Arc::default(),
        error: None,
        duration_us: 0,
        note: Some("unknown (gateway stopped)".to_owned()),
    }))
}

fn session_ended(session: SessionId, left: &LeftOpen) -> EventBody {
    EventBody::SessionEnded(Box::new(SessionEnded {
        session,
        actor: left.actor.clone(),
        reason: "gatewayStopped".to_owned(),
        code: None,
        statements: left.statements,
        bytes_in: 0,
        bytes_out: 0,
    }))
}

fn latest_checkpoint(
    directory: &Path,
    public_key: &[u8],
) -> Result<Option<Checkpoint>, AuditError> {
    let mut latest: Option<Checkpoint> = None;
    for name in ["checkpoints.log", "checkpoint"] {
        let path = directory.join(name);
        let all = Checkpoint::read_all(&path).map_err(AuditError::file("read", &path))?;
        let Some(checkpoint) = all.into_iter().next_back() else { continue };
        checkpoint.verify(public_key).map_err(|invalid| {
            let place =
                Damage::in_file(DamageKind::CheckpointForged, &path).at(0, invalid.sequence);
            AuditError::Damaged(Box::new(place.said(invalid)))
        })?;
        if latest.as_ref().is_none_or(|known| known.sequence <= checkpoint.sequence) {
            latest = Some(checkpoint);
        }
    }
    Ok(latest)
}

fn check_known(
    known: &Checkpoint,
    (directory, gateway, public_key): (&Path, &str, &[u8]),
) -> Result<(), AuditError> {
    let refuse = |kind, text: &dyn std::fmt::Display| {
        let damage = Damage::in_file(kind, directory).at(0, known.sequence).said(text);
        Err(AuditError::Damaged(Box::new(damage)))
    };
    if known.gateway != gateway {
        let whose = format!("the checkpoint kept outside is of gateway `{}`", known.gateway);
        return refuse(DamageKind::AnotherLog, &whose);
    }
    match known.verify(public_key) {
        Ok(()) => Ok(()),
        Err(invalid) => {
            refuse(DamageKind::CheckpointForged, &format!("kept outside of it: {invalid}"))
        }
    }
}

/// The end of the log as it lies on disk.
struct End {
    segment: Option<Segment>,
    bytes: u64,
    sequence: u64,
    head: Hash,
    time: Timestamp,
    torn_bytes: u64,
    open_statements: BTreeSet<(SessionId, u64)>,
    open_sessions: BTreeMap<SessionId, LeftOpen>,
}

/// A session that the former process did not end.
struct LeftOpen {
    actor: Actor,
    statements: u64,
}

/// What opening needs of a record.
#[derive(Deserialize)]
struct Glance {
    sequence: u64,
    time: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    session: Option<SessionId>,
    #[serde(default)]
    number: Option<u64>,
    #[serde(default)]
    actor: Option<Actor>,
}

/// Where a segment stops to follow from what came before.
struct Broken {
    damage: Damage,
    /// Bytes of whole records before it.
    whole: u64,
    /// It is the very end, a line without its newline.
    torn: bool,
}

impl End {
    fn at(head: Hash) -> Self {
        Self {
            segment: None,
            bytes: 0,
            sequence: 0,
            head,
            time: Timestamp::EPOCH,
            torn_bytes: 0,
            open_statements: BTreeSet::new(),
            open_sessions: BTreeMap::new(),
        }
    }

    fn find(
        directory: &Path,
        genesis: Hash,
        latest: Option<&Checkpoint>,
    ) -> Result<Self, AuditError> {
        let segments = segment::list(directory).map_err(AuditError::file("list", directory))?;
        let mut end = Self::at(genesis);
        let first = first_of_last_run(&segments)?.min(signed_segment(&segments, latest));
        if let Some(before) = first.checked_sub(1).and_then(|before| segments.get(before)) {
            end.head = segment::last_hash(before)
                .map_err(AuditError::file("read", &before.path))?
                .ok_or_else(|| {
                    let damage = Damage::in_file(DamageKind::Altered, &before.path);
                    AuditError::Damaged(Box::new(
                        damage.said("it does not end with a whole record"),
                    ))
                })?;
            end.sequence = segments.get(first).map_or(0, |next| next.first_sequence - 1);
        }
        for (index, segment) in segments.iter().enumerate().skip(first) {
            let rest = segments.get(index..).unwrap_or_default();
            if let Some(broken) = end.follow(segment, latest)? {
                end.remove(directory, rest, (broken, latest))?;
                break;
            }
        }
        match latest {
            Some(latest) if latest.sequence > end.sequence => {
                let holds_it = segment::path_of(directory, latest.segment);
                let (kind, place) = match holds_it.try_exists() {
                    Ok(false) => (DamageKind::SegmentMissing, holds_it.as_path()),
                    _ => (DamageKind::TailMissing, directory),
                };
                let damage = Damage::in_file(kind, place).at(0, end.sequence + 1);
                Err(AuditError::Damaged(Box::new(damage.said(format_args!(
                    "the last checkpoint covers record {}, the log ends at {}",
                    latest.sequence, end.sequence
                )))))
            }
            _ => Ok(end),
        }
    }

    /// Goes on with the records that the former process staged and that are in no segment: it was killed. They are on
    /// disk before their space is used again.
    fn take_over_staged(
        &mut self,
        (directory, latest): (&Path, Option<&Checkpoint>),
        writer: &mut Writer,
    ) -> Result<u64, AuditError> {
        let staged = staging::following(directory, Some((self.sequence, self.head)))
            .map_err(AuditError::file("read", staging::path_of(directory)))?;
        let (mut lines, before) = (Vec::new(), self.sequence);
        for line in staged {
            let line = [line.as_slice(), b"\n"].concat();
            if self.record(&line, latest).is_err() {
                break;
            }
            lines.extend_from_slice(&line);
        }
        if !lines.is_empty() {
            let written =
                writer.write(&lines, (self.sequence, self.head)).and_then(|()| writer.sync());
            written.map_err(AuditError::file("write staged records into", directory))?;
        }
        Ok(self.sequence - before)
    }

    /// Follows the chain through one segment, up to its end or to where it breaks.
    fn follow(
        &mut self,
        segment: &Segment,
        latest: Option<&Checkpoint>,
    ) -> Result<Option<Broken>, AuditError> {
        let damage = |line: u64, sequence: u64, what: &str| {
            Damage::in_file(DamageKind::Altered, &segment.path).at(line, sequence).said(what)
        };
        if segment.first_sequence != self.sequence + 1 {
            let damage = damage(0, self.sequence + 1, "records before it are missing");
            return Ok(Some(Broken { damage, whole: 0, torn: false }));
        }
        let bytes = fs::read(&segment.path).map_err(AuditError::file("read", &segment.path))?;
        self.segment = Some(segment.clone());
        self.bytes = 0;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let Err(what) = self.record(line, latest) else {
                self.bytes += line.len() as u64;
                continue;
            };
            let damage = damage(index as u64 + 1, self.sequence + 1, &what);
            let torn = !line.ends_with(b"\n");
            return Ok(Some(Broken { damage, whole: self.bytes, torn }));
        }
        Ok(None)
    }

    /// Takes one line in; says why not when it does not follow.
    fn record(&mut self, line: &[u8], latest: Option<&Checkpoint>) -> Result<(), String> {
        let line = line.strip_suffix(b"\n").ok_or("its line does not end")?;
        let (hash, json) = chain::split(line).ok_or("it is not a record")?;
        if chain::next(&self.head, json) != hash {
            return Err("its hash does not follow from the record before".to_owned());
        }
        let glance: Glance = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let signed = latest.filter(|latest| latest.sequence == glance.sequence);
        if signed.is_some_and(|signed| signed.head_hash() != Some(hash)) {
            return Err("the chain up to here is not the one that was signed".to_owned());
        }
        (self.head, self.sequence, self.time) = (hash, glance.sequence, glance.time);
        self.note(glance);
        Ok(())
    }

    /// What a crash cut short, or a loss of power left half written, was never on disk for anyone: no checkpoint covers
    /// it. It is moved aside, so that the log can go on. What a checkpoint covers is damage.
    fn remove(
        &mut self,
        directory: &Path,
        segments: &[Segment],
        (broken, latest): (Broken, Option<&Checkpoint>),
    ) -> Result<(), AuditError> {
        let last = segments.len() == 1;
        let never_durable = match latest {
            Some(latest) => latest.sequence <= self.sequence,
            None => broken.torn && last,
        };
        if !never_durable {
            return Err(AuditError::Damaged(Box::new(broken.damage)));
        }
        let aside = directory.join(format!("removed-after-{:020}.bin", self.sequence));
        let mut options = OpenOptions::new();
        let aside_file = options.append(true).create(true).mode(0o600).open(&aside);
        let mut aside_file = aside_file.map_err(AuditError::file("open", &aside))?;
        for (index, segment) in segments.iter().enumerate() {
            let whole = if index == 0 { broken.whole } else { 0 };
            let moved = move_aside(segment, whole, &mut aside_file);
            self.torn_bytes += moved.map_err(AuditError::file("cut", &segment.path))?;
        }
        Ok(())
    }

    fn note(&mut self, glance: Glance) {
        let Glance { kind, session: Some(session), number, actor, .. } = glance else { return };
        match (kind.as_str(), number, actor) {
            ("sessionOpened", _, Some(actor)) => {
                self.open_sessions.insert(session, LeftOpen { actor, statements: 0 });
            }
            ("sessionEnded", _, _) => {
                self.open_sessions.remove(&session);
            }
            ("statement", Some(number), _) => {
                self.open_statements.insert((session, number));
                if let Some(open) = self.open_sessions.get_mut(&session) {
                    open.statements = open.statements.max(number);
                }
            }
            ("statementOutcome", Some(number), _) => {
                self.open_statements.remove(&(session, number));
            }
            _ => {}
        }
    }
}

/// Whether the line is a record that follows from this place in the chain.
#[cfg(any(test, fuzzing))]
pub(crate) fn continues(head: &Hash, line: &[u8]) -> bool {
    End::at(*head).record(line, None).is_ok()
}

/// Moves what follows the whole records out of a segment; a segment without any is taken away.
fn move_aside(segment: &Segment, whole: u64, aside: &mut File) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
    file.seek(SeekFrom::Start(whole))?;
    let moved = io::copy(&mut file, aside)?;
    aside.sync_all()?;
    file.set_len(whole)?;
    file.sync_all()?;
    if whole == 0 && segment.first_sequence > 1 {
        fs::remove_file(&segment.path)?;
    }
    Ok(moved)
}

/// The segment in which the last process began: statements without an outcome are not older.
fn first_of_last_run(segments: &[Segment]) -> Result<usize, AuditError> {
    for (index, segment) in segments.iter().enumerate().rev() {
        let bytes = fs::read(&segment.path).map_err(AuditError::file("read", &segment.path))?;
        if bytes.split(|byte| *byte == b'\n').any(|line| contains(line, b"\"type\":\"started\"")) {
            return Ok(index);
        }
    }
    Ok(0)
}

/// The segment that must hold the last signed record, whatever a process that began later appended.
fn signed_segment(segments: &[Segment], latest: Option<&Checkpoint>) -> usize {
    let signed = latest.map_or(u64::MAX, |latest| latest.sequence);
    segments.iter().rposition(|segment| segment.first_sequence <= signed).unwrap_or(0)
}

fn contains(line: &[u8], wanted: &[u8]) -> bool {
    line.windows(wanted.len()).any(|window| window == wanted)
}
