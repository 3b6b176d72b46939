//! The published snapshot: readers never wait, and can tell how sure they may be of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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

/// Whether a snapshot shows other documents than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Documents {
    Changed,
    Same,
}

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Snapshot>,
    changes: watch::Sender<Arc<Snapshot>>,
    /// The last revision that touched a document: what gateways are asked to act on.
    documents_at: AtomicU64,
    verified_at: AtomicI64,
    acknowledgements: Acknowledgements,
}

impl Snapshots {
    pub(crate) fn new(first: Snapshot, verified_at: Timestamp) -> Self {
        let first = Arc::new(first);
        let shared = Shared {
            documents_at: AtomicU64::new(first.revision.0),
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

    /// Wakes at every snapshot from now on in which a document differs. Private records (a token issued, a code used)
    /// move the revision too, but wake nobody: no decision depends on them.
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

    /// Returns when every registered gateway acts on all documents up to the revision, or names those that do not after
    /// `within`.
    pub async fn acknowledged(
        &self,
        revision: Revision,
        within: Duration,
    ) -> Result<(), NotAcknowledged> {
        let documents_at = Revision(self.shared.documents_at.load(Ordering::Acquire));
        self.shared.acknowledgements.reached(revision.min(documents_at), within).await
    }

    pub(crate) fn publish(&self, snapshot: Snapshot, documents: Documents) {
        let snapshot = Arc::new(snapshot);
        self.shared.current.store(Arc::clone(&snapshot));
        let changed = documents == Documents::Changed;
        if changed {
            self.shared.documents_at.store(snapshot.revision.0, Ordering::Release);
        }
        self.shared.changes.send_if_modified(|current| {
            *current = snapshot;
            changed
        });
    }

    /// Invariant: never moves backwards.
    pub(crate) fn verified(&self, at: Timestamp) {
        self.shared.verified_at.fetch_max(at.micros(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use model::kind::group::Group;
    use model::kind::user::User;
    use model::{ControlRole, Document, Kind};
    use proptest::prelude::*;
    use runtime::Clock;

    use super::*;
    use crate::{Store, StoreError, WriteError, database, rows};

    /// One thing a write does.
    #[derive(Clone, Debug)]
    enum Act {
        PutUser(u8, bool),
        PutGroup(u8, String),
        Delete(Kind, u8),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0..6_u8, any::<bool>()).prop_map(|(name, enabled)| Act::PutUser(name, enabled)),
            (0..6_u8, ".{0,8}").prop_map(|(name, text)| Act::PutGroup(name, text)),
            (prop_oneof![Just(Kind::User), Just(Kind::Group)], 0..6_u8)
                .prop_map(|(kind, name)| Act::Delete(kind, name)),
        ]
    }

    fn perform(store: &Store, acts: Vec<Act>) -> Result<(), StoreError> {
        let written = store.write_blocking(move |tx| {
            for act in acts {
                match act {
                    Act::PutUser(name, enabled) => {
                        let control_role = ControlRole::User;
                        let display_name = "Somebody".to_owned();
                        let spec = User { display_name, enabled, control_role, manager: None };
                        tx.put(Document::new(name.to_string(), spec))?;
                    }
                    Act::PutGroup(name, text) => {
                        let spec = Group {
                            description: Some(text),
                            members: Vec::new(),
                            groups: Vec::new(),
                        };
                        tx.put(Document::new(name.to_string(), spec))?;
                    }
                    Act::Delete(kind, name) => {
                        tx.delete(kind, &name.to_string())?;
                    }
                }
            }
            Ok(())
        });
        written.map(|_| ()).map_err(WriteError::into_inner)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn the_snapshot_built_step_by_step_is_the_one_read_anew(
            writes in prop::collection::vec(prop::collection::vec(act(), 1..5), 1..12)
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store.db");
            let store = Store::open(&path, Clock::system()).unwrap();
            let aside = database::open_reader(&path).unwrap();
            let (mut revision, mut held) = (0, store.snapshots().load());
            for acts in writes {
                let before = (*held).clone();
                match perform(&store, acts) {
                    Ok(()) => revision += 1,
                    // Deleting what is not there refuses the whole write.
                    Err(StoreError::Missing { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
                prop_assert_eq!(&*held, &before, "a published snapshot has changed");
                held = store.snapshots().load();
                prop_assert_eq!(held.revision, Revision(revision));
                let anew = rows::snapshot(&aside).unwrap();
                let committed_at = held.committed_at;
                prop_assert_eq!(&*held, &Snapshot { committed_at, ..anew });
            }
        }
    }
}
