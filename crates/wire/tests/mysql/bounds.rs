//! What one session may make its tracker keep.

use wire::mysql::Capabilities;
use wire::mysql::limits::{PENDING_MAX, STATEMENTS_MAX, TRACKER_BYTES_MAX};
use wire::mysql::statement::LimitExceeded;

use crate::session::{Ended, OK, Session, answer, command, execute, long_data, prepare, query};

fn session() -> Session {
    Session::new(Capabilities::PROTOCOL_41)
}

fn prepared(number: usize) -> Vec<u8> {
    let number = u32::try_from(number).unwrap().to_le_bytes();
    answer(1, &[&[&[0], number.as_slice(), &[0; 7]].concat()])
}

#[test]
fn prepared_statements_have_a_limit_and_closing_gives_room() {
    let mut session = session();
    for number in 0..STATEMENTS_MAX {
        session.client(&[prepare("")]);
        session.try_server(&prepared(number)).unwrap();
    }
    let refused = session.try_client(&prepare(""));
    assert_eq!(refused, Err(Ended::Limit(LimitExceeded::Statements)));
    session.client(&[command(0x19, &[7, 0, 0, 0]), prepare("")]);
}

#[test]
fn texts_have_a_limit() {
    let mut session = session();
    let text = "x".repeat(60_000);
    let refused = (0..=TRACKER_BYTES_MAX / 60_000).find_map(|number| {
        if let Err(refused) = session.try_client(&prepare(&text)) {
            return Some(refused);
        }
        session.try_server(&prepared(number)).unwrap();
        None
    });
    assert_eq!(refused, Some(Ended::Limit(LimitExceeded::Bytes)));
}

#[test]
fn data_sent_ahead_have_a_limit_and_an_execute_gives_room() {
    let mut session = session();
    for number in 1..4 {
        session.prepared(number, "select ?", 255);
    }
    let data = vec![0; 60_000];
    let sent = |session: &mut Session, rounds: usize, executed: bool| {
        (0..rounds).find_map(|round| {
            let statement = u32::try_from(1 + round / 255).unwrap();
            let parameter = u16::try_from(round % 255).unwrap();
            let refused = session.try_client(&long_data(statement, parameter, &data)).err();
            if executed && parameter == 254 {
                session.client(&[execute(statement, b"")]);
            }
            refused
        })
    };
    let rounds = TRACKER_BYTES_MAX / 60_000 + 2;
    assert_eq!(sent(&mut session, rounds, true), None);
    let refused = sent(&mut session, rounds, false);
    assert_eq!(refused, Some(Ended::Limit(LimitExceeded::Bytes)));
}

#[test]
fn a_client_that_runs_ahead_is_held_back_and_one_that_does_not_heed_it_ends() {
    let mut session = session();
    while session.tracker.has_room() {
        session.client(&[query("")]);
        assert!(session.tracker.statements_run() < u64::try_from(PENDING_MAX).unwrap());
    }
    session.try_server(&answer(1, &[OK])).unwrap();
    assert!(session.tracker.has_room());
    let refused = (0..=PENDING_MAX).find_map(|_| session.try_client(&query("")).err());
    assert_eq!(refused, Some(Ended::Limit(LimitExceeded::Pending)));
}
