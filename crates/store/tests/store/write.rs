//! What a write does, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use model::{Kind, Refusal, Revision, code};
use runtime::Clock;
use store::{Operation, Store, StoreError, WriteError};

use crate::fixture::{Fixture, names, put, user};

#[test]
fn the_snapshot_shows_a_write_before_the_writer_hears_of_it() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let mut watching = store.snapshots().subscribe();
    let committed = put(&store, user("ada@example.com")).unwrap();
    assert!(watching.has_changed().unwrap());
    let shown = Arc::clone(&watching.borrow_and_update());
    assert_eq!(**shown.users.get("ada@example.com").unwrap(), committed.value);
    assert_eq!((shown.revision, shown.committed_at), (committed.revision, committed.committed_at));
}

#[test]
fn the_store_fills_in_its_part_of_the_metadata_and_keeps_it() {
    let fixture = Fixture::new();
    let created = put(&fixture.store, user("ada@example.com")).unwrap().value;
    fixture.hand.advance(Duration::from_secs(5));
    let mut changed = created.clone();
    changed.spec.enabled = false;
    let changed = put(&fixture.store, changed).unwrap().value;
    assert_eq!(created.metadata.revision, Some(Revision(1)));
    assert_eq!(changed.metadata.revision, Some(Revision(2)));
    assert_eq!(changed.metadata.uid, created.metadata.uid);
    assert_eq!(changed.metadata.created_at, created.metadata.created_at);
    assert_eq!(
        changed.metadata.updated_at,
        created.metadata.updated_at.map(|at| at.plus(Duration::from_secs(5)))
    );
}

#[test]
fn a_write_based_on_an_old_revision_is_a_conflict_and_changes_nothing() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let first = put(&store, user("ada@example.com")).unwrap().value;
    let second = put(&store, first.clone()).unwrap().value;
    let refused = put(&store, first).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`User/ada@example.com` has changed since it was read: read at revision 1, now at 2"
    );
    assert_eq!(Refusal::from(refused).code, &code::CONFLICT);
    assert_eq!(**store.snapshots().load().users.get("ada@example.com").unwrap(), second);
}

#[test]
fn a_document_read_before_it_was_deleted_and_created_anew_is_a_conflict() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let mut first = put(&store, user("ada@example.com")).unwrap().value;
    let deleted = store.write_blocking(|tx| tx.delete(Kind::User, "ada@example.com"));
    assert_eq!(deleted.map_err(WriteError::into_inner).unwrap().revision, Revision(2));
    let refused = put(&store, first.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`User/ada@example.com` has changed since it was read: read at revision 1, gone now"
    );
    let anew = put(&store, user("ada@example.com")).unwrap().value;
    assert_ne!(anew.metadata.uid, first.metadata.uid);
    first.metadata.revision = anew.metadata.revision;
    assert_eq!(
        put(&store, first).unwrap_err().to_string(),
        "`User/ada@example.com` has changed since it was read: it was deleted and created anew"
    );
}

#[test]
fn a_new_document_gets_an_object_id_of_its_own_and_never_that_of_one_that_is_gone() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let mut gone = put(&store, user("ada@example.com")).unwrap().value;
    let deleted = store.write_blocking(|tx| tx.delete(Kind::User, "ada@example.com"));
    assert_eq!(deleted.map_err(WriteError::into_inner).unwrap().revision, Revision(2));
    gone.metadata.revision = None;
    assert_eq!(
        put(&store, gone).unwrap_err().to_string(),
        "`User/ada@example.com` has changed since it was read: it is gone"
    );
}

#[test]
fn a_refused_write_leaves_nothing_behind() {
    let fixture = Fixture::new();
    put(&fixture.store, user("ada@example.com")).unwrap();
    let refused = fixture.store.write_blocking(|tx| {
        tx.put(user("bob@example.com"))?;
        tx.delete(Kind::User, "ada@example.com")?;
        assert!(tx.state().users.get("bob@example.com").is_some());
        assert!(tx.snapshot().users.get("bob@example.com").is_none());
        Err::<(), Refusal>(Refusal::new(&code::FORBIDDEN, "no"))
    });
    assert!(matches!(refused, Err(WriteError::Refused(_))));
    assert_eq!(names(&fixture.store), ["ada@example.com"]);
    assert_eq!(fixture.store.snapshots().load().revision, Revision(1));
    let fixture = fixture.reopen(crate::fixture::at("2026-11-24T11:00:00Z"));
    assert_eq!(names(&fixture.store), ["ada@example.com"]);
}

#[test]
fn a_write_that_writes_nothing_takes_no_revision() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    put(&store, user("ada@example.com")).unwrap();
    let read = store.write_blocking(|tx| Ok::<_, StoreError>(tx.state().users.len())).unwrap();
    assert_eq!((read.value, read.revision), (1, Revision(1)));
}

#[test]
fn a_write_that_panics_is_rolled_back_and_the_store_goes_on() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let abandoned = store.write_blocking(|tx| {
        tx.put(user("ada@example.com"))?;
        assert_eq!(tx.touched().count(), 2, "a bug in a write");
        Ok::<_, StoreError>(())
    });
    assert!(matches!(abandoned, Err(WriteError::Store(StoreError::Abandoned))));
    put(&store, user("bob@example.com")).unwrap();
    assert_eq!(names(&store), ["bob@example.com"]);
}

#[test]
fn of_many_threads_that_change_one_document_each_sees_the_one_before_it() {
    const THREADS: u32 = 8;
    const EACH: u32 = 25;
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    put(&store, user("counter")).unwrap();
    let conflicts = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut counted = 0;
                while counted < EACH {
                    let read = store.snapshots().load().users.get("counter").cloned().unwrap();
                    let mut next = (*read).clone();
                    let count: u32 = next.spec.display_name.parse().unwrap_or(0);
                    next.spec.display_name = (count + 1).to_string();
                    match put(&store, next) {
                        Ok(_) => counted += 1,
                        Err(StoreError::Conflict { .. }) => {
                            conflicts.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    let shown = store.snapshots().load();
    let count = &shown.users.get("counter").unwrap().spec.display_name;
    assert_eq!(count, &(THREADS * EACH).to_string());
    assert_eq!(shown.revision, Revision(u64::from(THREADS * EACH) + 1));
}

#[test]
fn every_revision_names_what_it_touched() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    put(&store, user("ada@example.com")).unwrap();
    let both = store.write_blocking(|tx| {
        tx.put(user("bob@example.com"))?;
        tx.delete(Kind::User, "ada@example.com")
    });
    both.unwrap();
    let changes = store.read(|reader| reader.changes(Revision(0))).unwrap();
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.revision.0, change.name.as_str(), change.operation))
        .collect();
    assert_eq!(
        told,
        [
            (1, "ada@example.com", Operation::Put),
            (2, "ada@example.com", Operation::Delete),
            (2, "bob@example.com", Operation::Put),
        ]
    );
}

#[test]
fn two_servers_cannot_have_one_store() {
    let fixture = Fixture::new();
    let second = Store::open(&fixture.path, Clock::system());
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
    drop(fixture.store);
    Store::open(&fixture.path, Clock::system()).unwrap();
}

#[test]
fn nobody_else_on_the_host_can_read_the_store() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = Fixture::new();
    put(&fixture.store, user("ada@example.com")).unwrap();
    for entry in std::fs::read_dir(fixture.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[test]
fn a_file_of_another_program_or_of_a_later_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("foreign.db");
    crate::fixture::behind_its_back(&foreign, "CREATE TABLE photograph (id INTEGER)");
    let refused = Store::open(&foreign, Clock::system());
    assert!(matches!(refused, Err(StoreError::Foreign { .. })), "{refused:?}");

    let fixture = Fixture::new();
    drop(fixture.store);
    crate::fixture::behind_its_back(&fixture.path, "PRAGMA user_version = 9999");
    let refused = Store::open(&fixture.path, Clock::system());
    assert!(matches!(refused, Err(StoreError::Newer { found: 9999, .. })), "{refused:?}");
}
