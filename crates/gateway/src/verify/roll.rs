//! Which live session has decided on which revision, so that the gateway acknowledges a revision only after every
//! session has been told of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Revision, SessionId};
use store::{Acknowledger, Snapshots};
use tokio::sync::Notify;

/// All live sessions of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    state: Mutex<State>,
    /// One permit when nobody is behind any more.
    all_told: Notify,
}

/// Invariant: `behind` is the number of sessions whose revision is below `target`.
#[derive(Debug, Default)]
struct State {
    told: HashMap<SessionId, Revision>,
    target: Revision,
    behind: usize,
}

/// A session's place on the roll; it leaves however it ends.
#[derive(Debug)]
pub(crate) struct Entry {
    roll: Arc<Roll>,
    session: SessionId,
}

impl Roll {
    /// A session joins; it must decide on the newest snapshot *after* this, or it may have missed one.
    pub(crate) fn join(self: &Arc<Self>, session: SessionId) -> Entry {
        let mut state = self.lock();
        state.told.insert(session, Revision::default());
        if state.target > Revision::default() {
            state.behind += 1;
        }
        drop(state);
        Entry { roll: Arc::clone(self), session }
    }

    /// Returns when every session has decided on the revision or on a later one, or has ended.
    async fn told(&self, revision: Revision) {
        {
            let mut state = self.lock();
            state.target = revision;
            state.behind = state.told.values().filter(|told| **told < revision).count();
        }
        while self.lock().behind > 0 {
            self.all_told.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The session has decided on this revision.
    pub(crate) fn told(&self, revision: Revision) {
        let mut state = self.roll.lock();
        let former = state.told.insert(self.session, revision).unwrap_or_default();
        if former < state.target && state.target <= revision {
            self.catch_up(&mut state);
        }
    }

    fn catch_up(&self, state: &mut State) {
        state.behind = state.behind.saturating_sub(1);
        if state.behind == 0 {
            self.roll.all_told.notify_one();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.roll.lock();
        let former = state.told.remove(&self.session);
        if former.is_some_and(|former| former < state.target) {
            self.catch_up(&mut state);
        }
    }
}

/// Acknowledges every revision once all sessions act on it. Ends with the store.
pub(crate) async fn acknowledge(roll: Arc<Roll>, snapshots: Snapshots, acknowledger: Acknowledger) {
    let mut changes = snapshots.subscribe();
    loop {
        let revision = changes.borrow_and_update().revision;
        roll.told(revision).await;
        acknowledger.acknowledge(revision);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_told(roll: &Roll, revision: u64) -> bool {
        tokio::time::timeout(Duration::from_millis(20), roll.told(Revision(revision))).await.is_ok()
    }

    #[tokio::test]
    async fn a_revision_is_told_when_every_session_has_decided_on_it_or_ended() {
        let roll = Arc::new(Roll::default());
        assert!(is_told(&roll, 1).await);
        let (first, second) = (roll.join(SessionId::random()), roll.join(SessionId::random()));
        assert!(!is_told(&roll, 1).await);
        first.told(Revision(2));
        assert!(!is_told(&roll, 2).await);
        second.told(Revision(1));
        assert!(is_told(&roll, 1).await && !is_told(&roll, 2).await);
        drop(second);
        assert!(is_told(&roll, 2).await);
        let waiting = Arc::clone(&roll);
        let (told, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(5), waiting.told(Revision(9))),
            async { first.told(Revision(9)) }
        );
        assert!(told.is_ok());
    }
}
