//! Appending: sequence numbers and times given here, a batch copied into the staging file at once, durability shared by
//! all who wait.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use model::event::EventBody;
use runtime::Clock;
use tokio::sync::watch;

use crate::chain::Hash;
use crate::line::{self, Stamp};
use crate::records::Records;
use crate::staging::{self, Staging};
use crate::writer::Writer;
use crate::{AuditError, Checkpoint, Options, commit};

/// The audit log of one gateway. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    _commits: Arc<commit::Committer>,
}

/// Proof that records are in the log's files.
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
    /// Taken before the tail, by whoever takes both.
    pub(crate) writer: Mutex<Writer>,
    pub(crate) tail: Mutex<Tail>,
    /// Wakes the committer.
    pub(crate) work: Condvar,
    /// Wakes threads that wait for a sync.
    pub(crate) synced: Condvar,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) failed: watch::Sender<Option<String>>,
    pub(crate) latest: Mutex<Option<Checkpoint>>,
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
    time: Timestamp,
    stamp: Stamp,
    staging: Staging,
    /// How soon the committer must sync.
    pub(crate) demand: Demand,
    /// The committer has nothing to do and wants to hear of the next record.
    pub(crate) idle: bool,
    /// Why the log is closed; never taken back.
    pub(crate) failure: Option<Arc<str>>,
    buffer: Vec<u8>,
}

impl Tail {
    /// Goes on after the record of which this is number, hash and time.
    pub(crate) fn after(
        (sequence, head): staging::Position,
        time: Timestamp,
        staging: Staging,
    ) -> Self {
        Self {
            sequence,
            head,
            time,
            stamp: Stamp::default(),
            staging,
            demand: Demand::Interval,
            idle: false,
            failure: None,
            buffer: Vec::new(),
        }
    }

    fn open(&self) -> Result<(), AuditError> {
        match &self.failure {
            Some(failure) => Err(AuditError::Closed(failure.to_string())),
            None => Ok(()),
        }
    }

    /// Makes lines of the records; they must be put where they outlive the process before the lock is given back.
    fn encode(&mut self, records: &Records, now: Timestamp) -> Receipt {
        self.time = now.max(self.time);
        let stamp = self.stamp.text(self.time);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        for body in records.iter() {
            self.sequence += 1;
            self.head = line::encode(&mut self.buffer, &self.head, (self.sequence, stamp), body);
        }
        Receipt { sequence: self.sequence, time: self.time }
    }
}

const RECHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A batch larger than this gives its buffer back.
const BUFFER_BYTES_KEPT: usize = 256 * 1024;

/// So much that was staged while a segment was written is written at once, without giving the tail back: then all of
/// the space is free again.
const REST_BYTES_MAX: usize = 64 * 1024;

impl Log {
    pub(crate) fn new(
        options: Options,
        tail: Tail,
        writer: Writer,
        latest: Option<Checkpoint>,
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
            writer: Mutex::new(writer),
            work: Condvar::new(),
            synced: Condvar::new(),
            progress: watch::Sender::new(Progress { durable, failed: None }),
            failed: watch::Sender::new(None),
            latest: Mutex::new(latest),
        });
        let settings = commit::Settings { key, sync_interval, sink: checkpoint_sink };
        let committer = commit::Committer::start(Arc::clone(&shared), settings)?;
        Ok(Self { shared, _commits: Arc::new(committer) })
    }

    /// Appends a batch. When it returns, the records are in the log's files: losing this process loses none of them. It
    /// never waits for the disk.
    pub fn append(&self, bodies: &[EventBody]) -> Result<Receipt, AuditError> {
        let mut records = Records::default();
        bodies.iter().try_for_each(|body| records.push(body))?;
        self.append_records(&records)
    }

    /// The same for records that were written down one by one.
    pub fn append_records(&self, records: &Records) -> Result<Receipt, AuditError> {
        self.shared.append(records)
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

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tail> {
        // A panic while the lock was held leaves the tail as the last finished append left it.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic while segments were written leaves them behind what is staged.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, records: &Records) -> Result<Receipt, AuditError> {
        let bytes_max = records.bytes() + records.len() * line::BYTES_BESIDES_BODY_MAX;
        let now = self.clock.now();
        if bytes_max > staging::BYTES_AT_ONCE_MAX {
            return self.append_to_segment(records, now);
        }
        loop {
            let mut guard = self.lock();
            let tail = &mut *guard;
            tail.open()?;
            if tail.staging.has_room_for(bytes_max) {
                let receipt = tail.encode(records, now);
                tail.staging.put(&tail.buffer);
                let wake = std::mem::take(&mut tail.idle);
                drop(guard);
                if wake {
                    self.work.notify_one();
                }
                return Ok(receipt);
            }
            drop(guard);
            self.write_staged()?;
        }
    }

    /// What is too large for the staging file goes after what is in it.
    fn append_to_segment(&self, records: &Records, now: Timestamp) -> Result<Receipt, AuditError> {
        let mut writer = self.writer();
        let mut guard = self.lock();
        let tail = &mut *guard;
        tail.open()?;
        self.write_rest(&mut writer, tail)?;
        let receipt = tail.encode(records, now);
        if let Err(error) = writer.write(&tail.buffer, (tail.sequence, tail.head)) {
            return Err(self.unwritten(tail, &error));
        }
        if std::mem::take(&mut tail.idle) {
            self.work.notify_one();
        }
        Ok(receipt)
    }

    /// Writes what is staged into the segment. Appending goes on meanwhile.
    pub(crate) fn write_staged(&self) -> Result<(), AuditError> {
        let mut writer = self.writer();
        let mut taken = std::mem::take(&mut writer.taken);
        let tail = self.lock();
        tail.open()?;
        taken.clear();
        taken.extend_from_slice(tail.staging.unwritten());
        let last = (tail.sequence, tail.head);
        drop(tail);
        let written = writer.write(&taken, last);
        let mut tail = self.lock();
        if let Err(error) = written {
            return Err(self.unwritten(&mut tail, &error));
        }
        tail.staging.wrote(taken.len());
        writer.taken = taken;
        if tail.staging.unwritten().len() > REST_BYTES_MAX {
            return Ok(());
        }
        self.write_rest(&mut writer, &mut tail)
    }

    /// Writes all that is staged, while nothing is appended.
    fn write_rest(&self, writer: &mut Writer, tail: &mut Tail) -> Result<(), AuditError> {
        let rest = tail.staging.unwritten();
        let bytes = rest.len();
        if let Err(error) = writer.write(rest, (tail.sequence, tail.head)) {
            return Err(self.unwritten(tail, &error));
        }
        tail.staging.wrote(bytes);
        Ok(())
    }

    fn unwritten(&self, tail: &mut Tail, error: &io::Error) -> AuditError {
        self.fail(tail, &format!("a record could not be written: {error}"))
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
}

#[cfg(test)]
mod tests;
