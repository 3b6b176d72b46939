//! The store and its one writer: a thread that owns the writing connection and takes one write after the other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Revision, Snapshot, Timestamp};
use runtime::Clock;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::database;
use crate::error::{StoreError, WriteError};
use crate::feed::Feed;
use crate::lock::Lock;
use crate::migrate;
use crate::record::Reader;
use crate::rows::{self, State};
use crate::snapshots::{Documents, Snapshots};
use crate::transaction::{Touched, Transaction};

/// Writes that may wait for their turn; whoever comes later waits for a place.
const WAITING_MAX: usize = 1024;

/// Revisions whose changes are kept for readers of the feed.
const CHANGES_KEPT: u64 = 10_000;

/// Commits between two checkpoints of the write-ahead log. SQLite's default is 1000 pages; a write of ours takes about 8.
const CHECKPOINT_EVERY: u32 = 128;

/// The passing of time is made durable at least so often, so that a clock set back during a restart gains no more.
const HIGH_WATER_INTERVAL: Duration = Duration::from_secs(10);

/// Portcullis' own state. Copies are handles to the same; when the last is dropped the files are closed.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    clock: Clock,
    snapshots: Snapshots,
    reader: Mutex<Reader>,
    signals: Signals,
    feed: Option<Feed>,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer tells everyone.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    /// The first failure of a commit. Once set, nothing is written any more.
    failed: Arc<OnceLock<String>>,
    high_water: Arc<AtomicI64>,
}

pub(crate) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// A write that is on disk and visible in the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the write returned.
    pub value: T,
    /// The store's revision after it; unchanged when there was nothing to write.
    pub revision: Revision,
    /// When it was on disk.
    pub committed_at: Timestamp,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the store, brings it to the present format and reads the directory. Only one process can.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let lock = Lock::take(path)?;
        let mut connection = database::open_writer(path)?;
        migrate::run(&mut connection, path)?;
        let snapshot = rows::snapshot(&connection)?;
        let state = rows::state(&connection)?;
        let now = clock.now();
        if now < state.high_water {
            tracing::warn!(%now, high_water = %state.high_water, "the clock is behind the store");
        }
        let snapshots = Snapshots::new(snapshot, now.max(state.high_water));
        let signals = Signals {
            failed: Arc::new(OnceLock::new()),
            high_water: Arc::new(AtomicI64::new(state.high_water.micros())),
        };
        let writer = Writer {
            connection,
            _lock: lock,
            clock: clock.clone(),
            snapshots: snapshots.clone(),
            signals: signals.clone(),
            commits: 0,
        };
        let reader = Mutex::new(Reader { connection: database::open_reader(path)?, now });
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let start = StoreError::file("start the writer of", path);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(start)?;
        let feed = Feed::start(path, clock.clone(), jobs.clone(), snapshots.clone())?;
        let inner = Inner {
            path: path.to_owned(),
            clock,
            snapshots,
            reader,
            signals,
            feed: Some(feed),
            jobs: Some(jobs),
            thread: Some(thread),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The greatest time that a store has ever seen, without opening it for writing: what its server's clock must not
    /// be before. `None` when there is no store yet.
    pub fn last_known_time(path: &Path) -> Result<Option<Timestamp>, StoreError> {
        match std::fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::file("read", path)(error)),
        }
        let connection = database::open_reader(path)?;
        if migrate::check(&connection, path)? == 0 {
            return Ok(None);
        }
        rows::state(&connection).map(|state| Some(state.high_water))
    }

    /// Reads what is committed without opening the store, also while a server has it open: for commands beside it.
    /// Records whose time was over when the store was last written are not seen.
    pub fn read_file<T>(
        path: &Path,
        read: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = database::open_reader(path)?;
        if migrate::check(&connection, path)? == 0 {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        let now = rows::state(&connection)?.high_water;
        read(&Reader { connection, now })
    }

    /// What SQLite finds wrong with a store's file, also while a server has it open: nothing when it is whole.
    pub fn damage(path: &Path) -> Result<Vec<String>, StoreError> {
        let connection = database::open_reader(path)?;
        migrate::check(&connection, path)?;
        database::damage(&connection)
    }

    /// Runs one write. Everything in it is committed together when it returns `Ok`, and nothing when it does not.
    /// Returns when the change is on disk and published. A caller that goes away does not undo its write.
    pub async fn write<T, E, F>(&self, write: F) -> Result<Committed<T>, WriteError<E>>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, answer) = job(write);
        self.jobs().send(job).await.map_err(|_| WriteError::Store(StoreError::Abandoned))?;
        answer.await.unwrap_or(Err(WriteError::Store(StoreError::Abandoned)))
    }

    /// The same for threads that run no async tasks.
    pub fn write_blocking<T, E, F>(&self, write: F) -> Result<Committed<T>, WriteError<E>>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, answer) = job(write);
        self.jobs().blocking_send(job).map_err(|_| WriteError::Store(StoreError::Abandoned))?;
        answer.blocking_recv().unwrap_or(Err(WriteError::Store(StoreError::Abandoned)))
    }

    /// Reads committed private state: a few microseconds from the page cache, never behind a writer.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut reader = self.inner.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.now = self.inner.clock.now().max(self.high_water());
        read(&reader)
    }

    /// The directory as decisions read it.
    pub fn snapshots(&self) -> Snapshots {
        self.inner.snapshots.clone()
    }

    /// The greatest time that was ever made durable here. No clock may be before it.
    pub fn high_water(&self) -> Timestamp {
        self.inner.signals.high_water()
    }

    /// Why the store no longer writes, if so.
    pub fn failed(&self) -> Option<&str> {
        self.inner.signals.failed()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    #[expect(clippy::expect_used, reason = "taken only by `Drop`, after the last use")]
    fn jobs(&self) -> &mpsc::Sender<Job> {
        self.inner.jobs.as_ref().expect("open until dropped")
    }
}

type Answer<T, E> = oneshot::Receiver<Result<Committed<T>, WriteError<E>>>;

fn job<T, E, F>(write: F) -> (Job, Answer<T, E>)
where
    F: FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move |writer: &mut Writer| {
        let result = writer.write(write);
        let _nobody_waits_any_more = reply.send(result);
    });
    (job, answer)
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.feed.take());
        drop(self.jobs.take());
        let Some(thread) = self.thread.take() else { return };
        // A write that held the last handle drops it on the writer's own thread, which then ends by itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Signals {
    pub(crate) fn high_water(&self) -> Timestamp {
        Timestamp::from_micros(self.high_water.load(Ordering::Acquire))
    }

    fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }
}

/// What the writer's thread owns. Fields drop in order: the lock outlives the connection.
pub(crate) struct Writer {
    connection: Connection,
    _lock: Lock,
    clock: Clock,
    snapshots: Snapshots,
    signals: Signals,
    commits: u32,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(job) = waiting.blocking_recv() {
            // A panic in a write ends that write: its transaction rolls back and its caller gets `Abandoned`.
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut self)));
            if ran.is_err() {
                tracing::error!("a write panicked and was rolled back");
            }
            self.checkpoint(Checkpoint::WhenDue);
        }
        self.keep_time(Duration::ZERO);
        self.checkpoint(Checkpoint::Closing);
    }

    fn write<T, E>(
        &mut self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, WriteError<E>> {
        self.usable().and_then(|()| self.catch_up()).map_err(WriteError::Store)?;
        let before = self.snapshots.load();
        let now = self.clock.now().max(self.signals.high_water());
        let sql = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::sqlite("write"))
            .map_err(WriteError::Store)?;
        let mut transaction = Transaction {
            sql,
            now,
            revision: Revision(before.revision.0 + 1),
            after: (*before).clone(),
            before,
            touched: Touched::default(),
        };
        let value = write(&mut transaction).map_err(WriteError::Refused)?;
        if transaction.is_empty() {
            let Snapshot { revision, committed_at, .. } = *transaction.before;
            return Ok(Committed { value, revision, committed_at });
        }
        let documents = transaction.touched.documents();
        let (after, committed) = finish(transaction, &self.clock).map_err(WriteError::Store)?;
        self.settled(committed).map_err(WriteError::Store)?;
        let (revision, committed_at) = (after.revision, self.clock.now().max(after.committed_at));
        self.signals.high_water.fetch_max(after.committed_at.micros(), Ordering::AcqRel);
        self.snapshots.publish(Snapshot { committed_at, ..after }, documents);
        self.snapshots.verified(committed_at);
        Ok(Committed { value, revision, committed_at })
    }

    fn usable(&self) -> Result<(), StoreError> {
        match self.signals.failed() {
            Some(cause) => Err(StoreError::Failed { cause: cause.to_owned() }),
            None => Ok(()),
        }
    }

    /// Reads the directory anew when the file is not where the snapshot says: someone else wrote, or a step was missed.
    pub(crate) fn catch_up(&mut self) -> Result<(), StoreError> {
        let stored = rows::state(&self.connection)?;
        let shown = self.snapshots.load().revision;
        if stored.revision == shown {
            return Ok(());
        }
        tracing::warn!(%shown, stored = %stored.revision, "revisions do not follow; reading all anew");
        self.snapshots.publish(rows::snapshot(&self.connection)?, Documents::Changed);
        self.signals.high_water.fetch_max(stored.high_water.micros(), Ordering::AcqRel);
        Ok(())
    }

    /// The feed's question: does the snapshot show everything that is committed, and would a revocation be taken?
    pub(crate) fn verify(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        self.catch_up()?;
        self.keep_time(HIGH_WATER_INTERVAL);
        self.usable()
    }

    /// Makes the passing of time durable when the last write is longer ago than `interval`.
    fn keep_time(&mut self, interval: Duration) {
        let now = self.clock.now();
        let due = now.since(self.signals.high_water()) > interval;
        if !due || self.signals.failed().is_some() {
            return;
        }
        let kept = rows::state(&self.connection)
            .map(|state| State { high_water: now.max(state.high_water), ..state })
            .and_then(|state| rows::set_state(&self.connection, state));
        match kept {
            Ok(()) => {
                self.commits += 1;
                self.signals.high_water.fetch_max(now.micros(), Ordering::AcqRel);
            }
            Err(StoreError::Sqlite { source, attempt: _ }) => {
                let _already_latched = self.settled(Err(source));
            }
            Err(error) => tracing::error!(%error, "the passing of time was not stored"),
        }
    }

    /// Judges a commit. A full disk refuses before anything is synced, and SQLite has rolled back: a later write may
    /// succeed. After any other failure nobody knows what reached the disk (a second fsync would say `ok` without
    /// having written what the first one lost), so the store stops.
    fn settled(&mut self, committed: rusqlite::Result<()>) -> Result<(), StoreError> {
        let Err(source) = committed else {
            self.commits += 1;
            return Ok(());
        };
        let full = source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        if !(full && self.connection.is_autocommit()) {
            tracing::error!(error = %source, "a commit failed; the store writes no more");
            let _first_cause_stays = self.signals.failed.set(source.to_string());
        }
        Err(StoreError::Sqlite { attempt: "commit to", source })
    }

    /// Moves the log into the database file. SQLite would do so by itself, but keep a failure to itself too.
    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        let (due, sql) = match checkpoint {
            Checkpoint::WhenDue => {
                (self.commits >= CHECKPOINT_EVERY, "PRAGMA wal_checkpoint(PASSIVE)")
            }
            Checkpoint::Closing => (true, "PRAGMA wal_checkpoint(TRUNCATE)"),
        };
        if !due || self.signals.failed().is_some() {
            return;
        }
        self.commits = 0;
        let done = self.connection.query_row(sql, [], |_| Ok(()));
        if let Err(error) = done {
            let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
            tracing::error!(%error, "the store's log could not be moved into its file");
            if !full {
                let _first_cause_stays = self.signals.failed.set(error.to_string());
            }
        }
    }
}

/// Writes what goes with every commit and commits. The outer error is certain to have been rolled back.
fn finish(
    transaction: Transaction<'_>,
    clock: &Clock,
) -> Result<(Snapshot, rusqlite::Result<()>), StoreError> {
    let Transaction { sql, now, revision, after, before: _, touched: _ } = transaction;
    let at = clock.now().max(now);
    rows::set_state(&sql, State { revision, committed_at: at, high_water: at })?;
    rows::purge(&sql, at, Revision(revision.0.saturating_sub(CHANGES_KEPT)))?;
    let committed = sql.commit();
    Ok((Snapshot { revision, committed_at: at, ..after }, committed))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checkpoint {
    WhenDue,
    Closing,
}
