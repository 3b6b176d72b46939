//! Private records.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use store::{Reader, Record, Store, StoreError, WriteError};

use crate::fixture::{Fixture, at};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Record for Note {
    const COLLECTION: &'static str = "notes";
}

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

fn read(store: &Store, key: &str) -> Option<Note> {
    store.read(|reader| reader.record::<Note>(key)).unwrap()
}

fn keep(store: &Store, key: &'static str, seconds: Option<u64>) {
    let kept = store.write_blocking(move |tx| {
        let until = seconds.map(|seconds| tx.now().plus(Duration::from_secs(seconds)));
        tx.put_record(key, &note(key), until)
    });
    kept.map_err(WriteError::into_inner).unwrap();
}

#[test]
fn a_record_is_gone_when_its_time_is_over_even_before_it_is_purged() {
    let fixture = Fixture::new();
    keep(&fixture.store, "short", Some(60));
    keep(&fixture.store, "long", None);
    fixture.hand.advance(Duration::from_secs(59));
    assert_eq!(read(&fixture.store, "short"), Some(note("short")));
    fixture.hand.advance(Duration::from_secs(1));
    assert_eq!(read(&fixture.store, "short"), None);
    let all = fixture.store.read(Reader::records::<Note>).unwrap();
    assert_eq!(all, [("long".to_owned(), note("long"))]);
}

#[test]
fn the_next_write_purges_what_is_over() {
    let fixture = Fixture::new();
    keep(&fixture.store, "short", Some(60));
    fixture.hand.advance(Duration::from_mins(1));
    keep(&fixture.store, "long", None);
    let count: i64 = rusqlite::Connection::open(&fixture.path)
        .unwrap()
        .query_row("SELECT count(*) FROM record", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1);
}

#[test]
fn of_many_who_take_a_record_one_has_it() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    keep(&store, "once", None);
    let taken: usize = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| store.write_blocking(|tx| tx.take_record::<Note>("once"))))
            .collect();
        let taken = takers.into_iter().map(|taker| taker.join().unwrap());
        taken.filter(|taken| taken.as_ref().is_ok_and(|taken| taken.value.is_some())).count()
    });
    assert_eq!(taken, 1);
}

#[test]
fn a_record_that_cannot_be_read_says_where_and_the_rest_goes_on() {
    let fixture = Fixture::new();
    keep(&fixture.store, "odd", None);
    keep(&fixture.store, "good", None);
    crate::fixture::behind_its_back(
        &fixture.path,
        "UPDATE record SET value = '{}' WHERE key = 'odd'",
    );
    let refused = fixture.store.read(|reader| reader.record::<Note>("odd"));
    assert!(matches!(refused, Err(StoreError::Record { collection: "notes", .. })), "{refused:?}");
    assert_eq!(read(&fixture.store, "good"), Some(note("good")));
}

#[tokio::test]
async fn a_record_wakes_nobody_and_no_gateway_is_waited_for_because_of_it() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let snapshots = store.snapshots();
    let _slow = snapshots.register("gw-1");
    let mut watching = snapshots.subscribe();
    let kept = store.write(|tx| tx.put_record("key", &note("text"), None)).await;
    let revision = kept.map_err(WriteError::into_inner).unwrap().revision;
    assert!(!watching.has_changed().unwrap());
    assert_eq!(snapshots.load().revision, revision);
    assert_eq!(watching.borrow_and_update().revision, revision);
    assert_eq!(snapshots.acknowledged(revision, Duration::ZERO).await, Ok(()));
}

#[test]
fn records_take_a_revision_and_survive_reopening() {
    let fixture = Fixture::new();
    keep(&fixture.store, "kept", None);
    assert_eq!(fixture.store.snapshots().load().revision, model::Revision(1));
    let fixture = fixture.reopen(at("2026-11-24T12:00:00Z"));
    assert_eq!(read(&fixture.store, "kept"), Some(note("kept")));
    assert_eq!(fixture.store.snapshots().load().revision, model::Revision(1));
}
