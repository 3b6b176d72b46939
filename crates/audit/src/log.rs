//! Appending: one write for a batch, sequence numbers and times given here, durability shared by all who wait.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use model::event::EventBody;
use runtime::Clock;
use tokio::sync::watch;

use crate::chain::{self, HASH_DIGITS, Hash};
use crate::media::{Media, Storage};
use crate::segment;
use crate::{AuditError, Checkpoint, Options, commit};

/// The audit log of one gateway. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    _commits: Arc<commit::Committer>,
}

/// Proof that records are in the log's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt {
    /// The last of them.
    pub sequence: u64,
    /// When they were taken.
    pub time: Timestamp,
}

/// How far the log is on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) durable: u64,
    pub(crate) failed: Option<Arc<str>>,
}

pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) public_key: Vec<u8>,
    pub(crate) gateway: String,
    pub(crate) tail: Mutex<Tail>,
    /// Wakes the committer.
    pub(crate) work: Condvar,
    /// Wakes threads that wait for a sync.
    pub(crate) synced: Condvar,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) failed: watch::Sender<Option<String>>,
    pub(crate) latest: Mutex<Option<Checkpoint>>,
    storage: Storage,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("directory", &self.directory)
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// How soon the committer must sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Demand {
    /// Within the interval.
    Interval,
    /// At once: someone waits.
    Now,
    /// At once, for the last time.
    Close,
}

/// The end of the log, under one short lock.
pub(crate) struct Tail {
    pub(crate) sequence: u64,
    pub(crate) head: Hash,
    pub(crate) segment: Arc<dyn Media>,
    pub(crate) segment_first: u64,
    segment_bytes: u64,
    /// Segments that are full and not on disk yet.
    pub(crate) full: Vec<Arc<dyn Media>>,
    time: Timestamp,
    /// How soon the committer must sync.
    pub(crate) demand: Demand,
    /// The committer has nothing to do and wants to hear of the next record.
    pub(crate) idle: bool,
    /// Why the log is closed; never taken back.
    pub(crate) failure: Option<Arc<str>>,
    buffer: Vec<u8>,
    /// Keeps other processes away from this chain.
    _lock: File,
}

/// Where the log ends on disk.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    pub(crate) head: Hash,
    pub(crate) time: Timestamp,
    pub(crate) segment_first: u64,
    pub(crate) segment_bytes: u64,
}

impl Tail {
    pub(crate) fn new(position: Position, segment: Arc<dyn Media>, lock: File) -> Self {
        let Position { sequence, head, time, segment_first, segment_bytes } = position;
        Self {
            sequence,
            head,
            segment,
            segment_first,
            segment_bytes,
            full: Vec::new(),
            time,
            _lock: lock,
            demand: Demand::Interval,
            idle: false,
            failure: None,
            buffer: Vec::new(),
        }
    }
}

const RECHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A batch larger than this gives its buffer back.
const BUFFER_BYTES_KEPT: usize = 256 * 1024;

impl Log {
    pub(crate) fn new(
        options: Options,
        tail: Tail,
        latest: Option<Checkpoint>,
        storage: Storage,
    ) -> Result<Self, AuditError> {
        let Options { directory, gateway, key, clock, sync_interval, checkpoint_sink, known: _ } =
            options;
        let durable = tail.sequence;
        let shared = Arc::new(Shared {
            directory,
            clock,
            public_key: key.public_key().to_vec(),
            gateway,
            tail: Mutex::new(tail),
            work: Condvar::new(),
            synced: Condvar::new(),
            progress: watch::Sender::new(Progress { durable, failed: None }),
            failed: watch::Sender::new(None),
            latest: Mutex::new(latest),
            storage,
        });
        let settings = commit::Settings { key, sync_interval, sink: checkpoint_sink };
        let committer = commit::Committer::start(Arc::clone(&shared), settings)?;
        Ok(Self { shared, _commits: Arc::new(committer) })
    }

    /// Appends a batch with one write. When it returns, the records are in the log's file: losing this process loses
    /// none of them. It never waits for the disk.
    pub fn append(&self, bodies: &[EventBody]) -> Result<Receipt, AuditError> {
        let mut tail = self.shared.lock();
        if let Some(failure) = &tail.failure {
            return Err(AuditError::Closed(failure.to_string()));
        }
        let (mut sequence, mut head) = (tail.sequence, tail.head);
        let time = self.shared.clock.now().max(tail.time);
        let stamp = time.to_string();
        let mut buffer = std::mem::take(&mut tail.buffer);
        buffer.clear();
        for body in bodies {
            sequence += 1;
            head = encode(&mut buffer, &head, (sequence, &stamp), body)?;
        }
        if let Err(error) = tail.segment.append(&buffer) {
            return Err(self
                .shared
                .fail(&mut tail, &format!("a record could not be written: {error}")));
        }
        tail.segment_bytes += buffer.len() as u64;
        (tail.sequence, tail.head, tail.time) = (sequence, head, time);
        if buffer.capacity() <= BUFFER_BYTES_KEPT {
            tail.buffer = buffer;
        }
        if tail.segment_bytes > self.shared.storage.segment_bytes_max {
            self.shared.roll(&mut tail)?;
        }
        if std::mem::take(&mut tail.idle) {
            self.shared.work.notify_one();
        }
        Ok(Receipt { sequence, time })
    }

    /// Returns once the records are on disk. One sync serves everyone who waits.
    pub async fn durable(&self, receipt: Receipt) -> Result<(), AuditError> {
        let mut progress = self.shared.progress.subscribe();
        self.shared.ask_for_sync(receipt.sequence);
        let reached = progress
            .wait_for(|progress| progress.durable >= receipt.sequence || progress.failed.is_some())
            .await
            .map_err(|_| AuditError::Closed("the log was closed".to_owned()))?;
        outcome(&reached, receipt)
    }

    /// The same for threads outside of the runtime.
    pub fn durable_blocking(&self, receipt: Receipt) -> Result<(), AuditError> {
        self.shared.ask_for_sync(receipt.sequence);
        let mut tail = self.shared.lock();
        loop {
            let progress = self.shared.progress.borrow().clone();
            if progress.durable >= receipt.sequence || progress.failed.is_some() {
                return outcome(&progress, receipt);
            }
            // The bound is for the gap between looking at the progress and waiting.
            let waited = self.shared.synced.wait_timeout(tail, RECHECK_INTERVAL);
            tail = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Changes once, when a write or sync has failed: sessions that must be recorded must end.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.subscribe()
    }

    /// The latest signed checkpoint; absent before the first record is on disk.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ed25519 public key of the log.
    pub fn public_key(&self) -> &[u8] {
        &self.shared.public_key
    }

    /// Where the log lies.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }
}

fn outcome(progress: &Progress, receipt: Receipt) -> Result<(), AuditError> {
    match &progress.failed {
        _ if progress.durable >= receipt.sequence => Ok(()),
        Some(failure) => Err(AuditError::Closed(failure.to_string())),
        None => Err(AuditError::Closed("the record is not on disk".to_owned())),
    }
}

/// One line, as an `Event` with this number and time is written; returns the chain's new head.
fn encode(
    buffer: &mut Vec<u8>,
    head: &Hash,
    (sequence, stamp): (u64, &str),
    body: &EventBody,
) -> Result<Hash, AuditError> {
    let start = buffer.len();
    buffer.resize(start + HASH_DIGITS, b'0');
    buffer.push(b' ');
    let json = buffer.len();
    buffer.extend_from_slice(b"{\"sequence\":");
    serde_json::to_writer(&mut *buffer, &sequence)?;
    buffer.extend_from_slice(b",\"time\":\"");
    buffer.extend_from_slice(stamp.as_bytes());
    buffer.push(b'"');
    // The body is an object with a `type` at least: its brace becomes the comma before its first member. Flattening it
    // through serde instead takes three times as long.
    let brace = buffer.len();
    serde_json::to_writer(&mut *buffer, body)?;
    if let Some(brace) = buffer.get_mut(brace) {
        *brace = b',';
    }
    let hash = chain::next(head, buffer.get(json..).unwrap_or_default());
    buffer.push(b'\n');
    chain::fill(buffer.get_mut(start..start + HASH_DIGITS).unwrap_or_default(), &hash);
    Ok(hash)
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tail> {
        // A panic while the lock was held leaves the tail as the last finished append left it.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_for_sync(&self, sequence: u64) {
        if self.progress.borrow().durable < sequence {
            let mut tail = self.lock();
            tail.demand = tail.demand.max(Demand::Now);
            drop(tail);
            self.work.notify_one();
        }
    }

    /// Closes the log for good: what the disk refused once is never taken for written later.
    pub(crate) fn fail(&self, tail: &mut Tail, reason: &str) -> AuditError {
        let failure = Arc::clone(tail.failure.get_or_insert_with(|| Arc::from(reason)));
        self.progress.send_modify(|progress| progress.failed = Some(Arc::clone(&failure)));
        self.failed.send_replace(Some(failure.to_string()));
        self.work.notify_one();
        self.synced.notify_all();
        tracing::error!(directory = %self.directory.display(), failure = %failure, "audit log closed");
        AuditError::Closed(failure.to_string())
    }

    /// Begins a new segment. The committer syncs the full one first, and the directory, before anything in the new one
    /// counts as on disk.
    fn roll(&self, tail: &mut Tail) -> Result<(), AuditError> {
        let first = tail.sequence + 1;
        match (self.storage.open)(&segment::path_of(&self.directory, first)) {
            Ok(next) => {
                let full = std::mem::replace(&mut tail.segment, next);
                tail.full.push(full);
                (tail.segment_first, tail.segment_bytes) = (first, 0);
                Ok(())
            }
            Err(error) => {
                Err(self.fail(tail, &format!("a new segment could not be begun: {error}")))
            }
        }
    }
}

#[cfg(test)]
mod tests;
