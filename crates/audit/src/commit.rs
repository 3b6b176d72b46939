//! The committer: one thread that writes what was staged into the segments and syncs it, at most `sync_interval` later and
//! at once when someone waits, and signs a checkpoint after each sync.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use keys::AuditKey;
use model::Timestamp;

use crate::checkpoint::Position;
use crate::log::{Demand, Shared, Tail};
use crate::media::Media;
use crate::open::CheckpointSink;
use crate::writer::Writer;
use crate::{AuditError, Checkpoint, segment};

/// The latest checkpoint is overwritten in place; history and sink get one at most so often.
const HISTORY_INTERVAL: Duration = Duration::from_secs(1);

/// No checkpoint is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The latest checkpoint is padded to one disk sector, so that overwriting it cannot tear it.
const CHECKPOINT_BYTES: usize = 512;

pub(crate) struct Settings {
    pub(crate) key: AuditKey,
    pub(crate) sync_interval: Duration,
    pub(crate) sink: Option<CheckpointSink>,
}

/// Owns the thread; stops and joins it when dropped, after a last sync.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Committer")
    }
}

struct Work {
    shared: Arc<Shared>,
    settings: Settings,
    latest: File,
    history: File,
    recorded_at: Timestamp,
    unrecorded: Option<Checkpoint>,
}

impl Committer {
    pub(crate) fn start(shared: Arc<Shared>, settings: Settings) -> Result<Self, AuditError> {
        let open = |name: &str, append: bool| {
            let path = shared.directory.join(name);
            let mut options = OpenOptions::new();
            options.create(true).mode(0o600);
            let options = if append {
                options.append(true).read(true)
            } else {
                options.write(true).truncate(false)
            };
            options.open(&path).map_err(AuditError::file("open", path))
        };
        let history = open("checkpoints.log", true)?;
        cut_torn_line(&history)
            .map_err(AuditError::file("repair", shared.directory.join("checkpoints.log")))?;
        let work = Work {
            latest: open("checkpoint", false)?,
            history,
            shared: Arc::clone(&shared),
            settings,
            recorded_at: Timestamp::EPOCH,
            unrecorded: None,
        };
        let thread = std::thread::Builder::new()
            .name("audit-commit".to_owned())
            .spawn(move || work.run())
            .map_err(AuditError::file("start the committer of", shared.directory.clone()))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.lock().demand = Demand::Close;
        self.shared.work.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log's committer panicked");
        }
    }
}

impl Work {
    fn run(mut self) {
        while self.next() == Next::Commit {
            if self.shared.write_staged().is_err() {
                // It has closed the log.
                return;
            }
            let pending = Pending::of(&mut self.shared.writer());
            if let Err(error) = self.commit(&pending) {
                let mut tail = self.shared.lock();
                // The error is kept in the log's state, where every append and every waiter meets it.
                let _closed = self.shared.fail(&mut tail, &error.to_string());
                return;
            }
        }
        if let Err(error) = self.record_history() {
            tracing::error!(%error, "the last checkpoint could not be kept");
        }
    }

    /// Waits until there is something to sync: at once when someone waits, else after the interval.
    fn next(&mut self) -> Next {
        let shared = Arc::clone(&self.shared);
        let mut tail = shared.lock();
        loop {
            let pending = tail.sequence > shared.progress.borrow().durable;
            if tail.failure.is_some() || (tail.demand == Demand::Close && !pending) {
                return Next::Stop;
            }
            if pending {
                let interval = self.settings.sync_interval;
                tail = wait(&shared, tail, interval, |tail| tail.demand == Demand::Interval);
                break;
            }
            tail.idle = true;
            tail = wait(&shared, tail, HISTORY_INTERVAL, |tail| {
                tail.idle && tail.demand != Demand::Close
            });
            if tail.idle && self.unrecorded.is_some() {
                drop(tail);
                if let Err(error) = self.record_history() {
                    tracing::error!(%error, "a checkpoint could not be kept");
                }
                tail = shared.lock();
            }
        }
        if tail.demand == Demand::Now {
            tail.demand = Demand::Interval;
        }
        Next::Commit
    }

    fn commit(&mut self, pending: &Pending) -> io::Result<()> {
        pending.sync(&self.shared.directory).map_err(|error| {
            io::Error::new(error.kind(), format!("records could not be synced: {error}"))
        })?;
        let position = &pending.position;
        self.shared.progress.send_modify(|progress| progress.durable = position.sequence);
        self.shared.synced.notify_all();
        let now = self.shared.clock.now();
        let checkpoint = Checkpoint::sign(&self.settings.key, &self.shared.gateway, position, now);
        self.write_latest(&checkpoint)?;
        *self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(checkpoint.clone());
        self.unrecorded = Some(checkpoint);
        if now.since(self.recorded_at) >= HISTORY_INTERVAL {
            self.record_history()?;
            self.recorded_at = now;
        }
        Ok(())
    }

    fn write_latest(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(checkpoint).map_err(io::Error::other)?;
        bytes.resize(bytes.len().max(CHECKPOINT_BYTES - 1), b' ');
        bytes.push(b'\n');
        self.latest.write_all_at(&bytes, 0)?;
        self.latest.set_len(bytes.len() as u64)
    }

    fn record_history(&mut self) -> io::Result<()> {
        let Some(checkpoint) = self.unrecorded.take() else { return Ok(()) };
        let mut line = serde_json::to_vec(&checkpoint).map_err(io::Error::other)?;
        line.push(b'\n');
        self.history.append(&line)?;
        if let Some(sink) = &self.settings.sink {
            sink(&checkpoint);
        }
        Ok(())
    }
}

/// A line that was cut short when the disk or the process failed was never a checkpoint; what is appended behind it would
/// not be one either.
fn cut_torn_line(history: &File) -> io::Result<()> {
    let length = history.metadata()?.len();
    let looked_at = length.min(LINE_BYTES_MAX);
    let mut end = vec![0; usize::try_from(looked_at).map_err(io::Error::other)?];
    history.read_exact_at(&mut end, length - looked_at)?;
    let torn = end.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
    if torn == 0 { Ok(()) } else { history.set_len(length - torn) }
}

/// Waits for the time given, or less when there is no reason to wait any longer.
fn wait<'a>(
    shared: &'a Shared,
    tail: MutexGuard<'a, Tail>,
    time: Duration,
    still: impl Fn(&Tail) -> bool,
) -> MutexGuard<'a, Tail> {
    let waited =
        shared.work.wait_timeout_while(tail, time, |tail| tail.failure.is_none() && still(tail));
    waited.unwrap_or_else(PoisonError::into_inner).0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Commit,
    Stop,
}

/// What is in the segments and not known to be on disk.
struct Pending {
    position: Position,
    full: Vec<Arc<dyn Media>>,
    current: Arc<dyn Media>,
}

impl Pending {
    fn of(writer: &mut Writer) -> Self {
        let end = writer.end;
        Self {
            position: Position {
                sequence: end.sequence,
                segment: end.segment_first,
                head: end.head,
            },
            full: std::mem::take(&mut writer.full),
            current: Arc::clone(&writer.current),
        }
    }

    fn sync(&self, directory: &Path) -> io::Result<()> {
        for full in &self.full {
            full.sync()?;
        }
        self.current.sync()?;
        if self.full.is_empty() { Ok(()) } else { segment::sync_directory(directory) }
    }
}
