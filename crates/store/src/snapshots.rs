//! The published snapshot: readers never wait, and can tell how sure they may be of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::{Revision, Snapshot, Timestamp};
use tokio::sync::watch;

use crate::acknowledge::{Acknowledgements, Acknowledger, NotAcknowledged};

/// The newest snapshot and how fresh it is known to be. Copies are handles to the same.
#[derive(Clone, Debug)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Snapshot>,
    changes: watch::Sender<Arc<Snapshot>>,
    verified_at: AtomicI64,
    acknowledgements: Acknowledgements,
}

impl Snapshots {
    pub(crate) fn new(first: Snapshot, verified_at: Timestamp) -> Self {
        let first = Arc::new(first);
        let shared = Shared {
            current: ArcSwap::new(Arc::clone(&first)),
            changes: watch::Sender::new(first),
            verified_at: AtomicI64::new(verified_at.micros()),
            acknowledgements: Acknowledgements::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The newest snapshot. Never waits.
    pub fn load(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    /// Wakes at every snapshot published from now on.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.changes.subscribe()
    }

    /// The last instant at which the snapshot was known to show everything that is committed. Its age is the staleness
    /// of every decision made from it.
    pub fn verified_at(&self) -> Timestamp {
        Timestamp::from_micros(self.shared.verified_at.load(Ordering::Acquire))
    }

    /// A gateway joins those that `acknowledged` waits for.
    pub fn register(&self, gateway: &str) -> Acknowledger {
        self.shared.acknowledgements.register(gateway, self.load().revision)
    }

    /// Returns when every registered gateway acts on the revision, or names those that do not after `within`.
    pub async fn acknowledged(
        &self,
        revision: Revision,
        within: Duration,
    ) -> Result<(), NotAcknowledged> {
        self.shared.acknowledgements.reached(revision, within).await
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        self.shared.current.store(Arc::clone(&snapshot));
        self.shared.changes.send_replace(snapshot);
    }

    /// Invariant: never moves backwards.
    pub(crate) fn verified(&self, at: Timestamp) {
        self.shared.verified_at.fetch_max(at.micros(), Ordering::AcqRel);
    }
}
