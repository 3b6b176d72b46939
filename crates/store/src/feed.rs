//! Knows how fresh the snapshot is. Each second it reads from the file itself which revision is committed; as long as
//! that can be read and is the one shown, decisions may rest on the snapshot. When it cannot, `verified_at` stands
//! still and the gateway's bounds on staleness take over.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use runtime::Clock;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::snapshots::Snapshots;
use crate::writer::{Job, Writer};
use crate::{StoreError, database, rows};

/// How often the file is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread that asks. Ends when dropped.
pub(crate) struct Feed {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    pub(crate) fn start(
        path: &Path,
        clock: Clock,
        jobs: mpsc::Sender<Job>,
        snapshots: Snapshots,
    ) -> Result<Self, StoreError> {
        let asking = Asking { connection: database::open_reader(path)?, clock, jobs, snapshots };
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-feed".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    if let Err(error) = asking.ask() {
                        tracing::warn!(%error, "the snapshot cannot be verified");
                    }
                }
            })
            .map_err(StoreError::file("start the feed of", path))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's feed panicked");
        }
    }
}

struct Asking {
    connection: Connection,
    clock: Clock,
    jobs: mpsc::Sender<Job>,
    snapshots: Snapshots,
}

impl Asking {
    fn ask(&self) -> Result<(), StoreError> {
        let asked_at = self.clock.now();
        rows::state(&self.connection)?;
        // The writer answers between two writes, so a commit that is about to be published is not taken for a gap.
        let (reply, answer) = oneshot::channel();
        let verify: Job = Box::new(move |writer: &mut Writer| {
            let _feed_has_ended = reply.send(writer.verify());
        });
        self.jobs.blocking_send(verify).map_err(|_| StoreError::Abandoned)?;
        answer.blocking_recv().unwrap_or(Err(StoreError::Abandoned))?;
        self.snapshots.verified(asked_at);
        Ok(())
    }
}
