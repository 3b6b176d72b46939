//! What the tests stand on.

use std::path::{Path, PathBuf};

use model::kind::user::User;
use model::{ControlRole, Document, Timestamp};
use runtime::{Clock, ManualClock};
use store::{Committed, Store, StoreError, WriteError};

/// A store in a directory of its own.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) hand: ManualClock,
    pub(crate) path: PathBuf,
    pub(crate) directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let (clock, hand) = Clock::manual(at("2026-11-24T10:00:00Z"));
        let store = Store::open(&path, clock).unwrap();
        Self { store, hand, path, directory }
    }

    /// Closes the store and opens it with a clock that shows this.
    pub(crate) fn reopen(self, now: Timestamp) -> Self {
        let Self { store, path, directory, .. } = self;
        drop(store);
        let (clock, hand) = Clock::manual(now);
        let store = Store::open(&path, clock).unwrap();
        Self { store, hand, path, directory }
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn user(name: &str) -> Document<User> {
    let spec = User {
        display_name: name.to_owned(),
        enabled: true,
        control_role: ControlRole::User,
        manager: None,
    };
    Document::new(name, spec)
}

pub(crate) fn put(
    store: &Store,
    document: Document<User>,
) -> Result<Committed<Document<User>>, StoreError> {
    store.write_blocking(move |tx| tx.put(document)).map_err(WriteError::into_inner)
}

pub(crate) fn names(store: &Store) -> Vec<String> {
    store.snapshots().load().users.iter().map(|user| user.name().to_owned()).collect()
}

/// SQLite as an operator might open it, past our lock.
pub(crate) fn behind_its_back(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    connection.execute_batch(sql).unwrap();
}
