//! What one session may make its tracker keep.

use wire::pg::limits::{PENDING_MAX, STATEMENTS_MAX, TAGS_MAX, TRACKER_BYTES_MAX};
use wire::pg::statement::LimitExceeded;

use crate::session::{
    Session, bind, close, complete, describe, done, error, execute, parse, query, ready, sync,
};

#[test]
fn prepared_statements_have_a_limit() {
    let mut session = Session::new();
    for number in 0..STATEMENTS_MAX {
        session.client(&[parse(&format!("s{number}"), ""), sync()]);
        session.server(&[done(b'1'), ready(b'I')]);
    }
    assert_eq!(session.try_client(&parse("more", "")), Err(LimitExceeded::Statements));
}

#[test]
fn texts_have_a_limit_and_closing_gives_room() {
    let mut session = Session::new();
    let text = "x".repeat(60_000);
    let fits = TRACKER_BYTES_MAX / 60_256;
    for number in 0..fits {
        session.client(&[parse(&format!("s{number}"), &text), sync()]);
        session.server(&[done(b'1'), ready(b'I')]);
    }
    session.client(&[close('S', "s0"), sync()]);
    session.server(&[done(b'3'), ready(b'I')]);
    session.client(&[parse("again", &text), sync()]);
    session.server(&[done(b'1'), ready(b'I')]);
    let more = session.try_client(&parse("more", &text));
    assert_eq!(more, Err(LimitExceeded::Bytes));
}

#[test]
fn a_client_that_runs_ahead_is_held_back_while_answers_are_owed() {
    let mut session = Session::new();
    while session.tracker.has_room() {
        session.client(&[execute(""), sync()]);
        assert!(session.tracker.statements() < u64::try_from(PENDING_MAX).unwrap());
    }
    let answers = [error("34000"), ready(b'I')].concat();
    while !session.tracker.has_room() {
        session.server(std::slice::from_ref(&answers));
    }
}

#[test]
fn a_client_that_sends_neither_sync_nor_flush_is_held_back_too() {
    // The server's own buffer overflows every 8 KiB, so answers come without being asked for.
    let mut session = Session::new();
    session.client(&[parse("s", "insert")]);
    while session.tracker.has_room() {
        session.client(&[bind("", "s"), execute("")]);
    }
    session.server(&[done(b'1'), done(b'2'), complete("INSERT 0 1")]);
    assert!(session.tracker.has_room());
    // One that does not heed it ends.
    let refused = (0..=PENDING_MAX).find_map(|_| session.try_client(&describe('P', "")).err());
    assert_eq!(refused, Some(LimitExceeded::Pending));
}

#[test]
fn a_few_large_messages_without_flush_are_read_on() {
    // Nothing is on its way that would make room: it ends at the hard limit, and never waits for ever.
    let mut session = Session::new();
    let large = parse("", &"x".repeat(60_000));
    let refused = (0..=TRACKER_BYTES_MAX / 60_000).find_map(|_| {
        assert!(session.tracker.has_room());
        session.try_client(&large).err()
    });
    assert_eq!(refused, Some(LimitExceeded::Bytes));
    let mut session = Session::new();
    while session.tracker.has_room() {
        session.client(&[large.clone(), sync()]);
    }
    session.server(&[[done(b'1'), ready(b'I')].concat().repeat(TRACKER_BYTES_MAX / 120_000)]);
    assert!(session.tracker.has_room());
}

#[test]
fn tags_of_one_query_have_a_limit_and_rows_do_not() {
    let mut session = Session::new();
    session.client(&[query("many")]);
    let tags: Vec<_> = (0..TAGS_MAX + 5).map(|_| complete("INSERT 0 1")).collect();
    let outcomes = session.server(&[tags.concat(), ready(b'I')]);
    assert_eq!(outcomes[0].tags.len(), TAGS_MAX);
    assert_eq!(outcomes[0].rows, u64::try_from(TAGS_MAX).unwrap() + 5);
}
