//! How sure decisions may be of the snapshot, and that time never goes back.

use std::time::Duration;

use model::Timestamp;
use runtime::Clock;
use store::Store;

use crate::fixture::{Fixture, at, behind_its_back, names, put, user};

const HOUR: Duration = Duration::from_hours(1);

/// Waits for something that the feed does each second.
fn within_seconds(what: &str, holds: impl Fn() -> bool) {
    let (clock, deadline) = (Clock::system(), Clock::system().now().plus(Duration::from_secs(10)));
    while !holds() {
        assert!(clock.now() < deadline, "{what} did not happen in time");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_store_that_can_be_read_keeps_the_snapshot_fresh() {
    let fixture = Fixture::new();
    let snapshots = fixture.store.snapshots();
    fixture.hand.advance(HOUR);
    let now = at("2026-11-24T11:00:00Z");
    within_seconds("verification", || snapshots.verified_at() == now);
}

#[test]
fn a_store_that_cannot_be_read_lets_the_snapshot_grow_old() {
    let fixture = Fixture::new();
    put(&fixture.store, user("ada@example.com")).unwrap();
    behind_its_back(&fixture.path, "ALTER TABLE state RENAME TO mislaid");
    let snapshots = fixture.store.snapshots();
    let before = snapshots.verified_at();
    fixture.hand.advance(HOUR);
    std::thread::park_timeout(Duration::from_millis(2500));
    assert_eq!(snapshots.verified_at(), before);
    assert_eq!(names(&fixture.store), ["ada@example.com"]);
    behind_its_back(&fixture.path, "ALTER TABLE mislaid RENAME TO state");
    within_seconds("recovery", || snapshots.verified_at() == at("2026-11-24T11:00:00Z"));
}

#[test]
fn a_gap_in_revisions_reads_the_directory_anew() {
    let fixture = Fixture::new();
    put(&fixture.store, user("ada@example.com")).unwrap();
    put(&fixture.store, user("bob@example.com")).unwrap();
    behind_its_back(
        &fixture.path,
        "BEGIN; DELETE FROM resource WHERE name = 'ada@example.com'; \
         UPDATE state SET revision = revision + 7; COMMIT;",
    );
    let mut watching = fixture.store.snapshots().subscribe();
    within_seconds("the rebuild", || names(&fixture.store) == ["bob@example.com"]);
    assert_eq!(watching.borrow_and_update().revision, model::Revision(9));
    assert_eq!(put(&fixture.store, user("eve@example.com")).unwrap().revision.0, 10);
}

#[test]
fn a_clock_set_back_during_a_restart_does_not_take_time_back() {
    let fixture = Fixture::new();
    fixture.hand.advance(HOUR);
    let committed = put(&fixture.store, user("ada@example.com")).unwrap();
    assert_eq!(committed.committed_at, at("2026-11-24T11:00:00Z"));
    let fixture = fixture.reopen(at("2026-11-24T03:00:00Z"));
    assert_eq!(fixture.store.high_water(), at("2026-11-24T11:00:00Z"));
    let later = put(&fixture.store, user("bob@example.com")).unwrap();
    assert_eq!(later.value.metadata.created_at, Some(at("2026-11-24T11:00:00Z")));
    drop(fixture.store);
    let known = Store::last_known_time(&fixture.path).unwrap();
    assert_eq!(known, Some(at("2026-11-24T11:00:00Z")));
}

#[test]
fn time_that_passes_without_a_write_is_remembered_too() {
    let fixture = Fixture::new();
    put(&fixture.store, user("ada@example.com")).unwrap();
    fixture.hand.advance(HOUR);
    let now = at("2026-11-24T11:00:00Z");
    within_seconds("the heartbeat", || fixture.store.high_water() == now);
    let on_disk: i64 = rusqlite::Connection::open(&fixture.path)
        .unwrap()
        .query_row("SELECT high_water FROM state", [], |row| row.get(0))
        .unwrap();
    assert_eq!(Timestamp::from_micros(on_disk), now);
    assert_eq!(fixture.store.snapshots().load().revision, model::Revision(1));
}

#[test]
fn where_there_is_no_store_no_time_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let known = Store::last_known_time(&directory.path().join("none.db")).unwrap();
    assert_eq!(known, None);
}
