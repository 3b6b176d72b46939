//! After a crash, and after a stop in order.

use std::io::Write;

use audit::Checkpoint;
use audit::read::Reader;
use model::SessionId;
use model::event::{EventBody, StatementOutcome};
use uuid::Uuid;

use crate::fixture::{Fixture, ended, opened, outcome, session, statement};

#[test]
fn statements_without_an_outcome_get_one_after_a_crash() {
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    log.append(&[statement(1), outcome(1), statement(2), statement(3)]).unwrap();
    drop(log);
    let (log, opened) = fixture.open().unwrap();
    assert_eq!(opened.unknown_outcomes, 2);
    let unknown: Vec<(u64, Option<String>)> = Reader::open(fixture.path(), 5)
        .unwrap()
        .filter_map(|event| match event.unwrap().body {
            EventBody::StatementOutcome(outcome) => {
                let StatementOutcome { session: of, number, note, .. } = *outcome;
                assert_eq!(of, session());
                Some((number, note))
            }
            _ => None,
        })
        .collect();
    let note = Some("unknown (gateway stopped)".to_owned());
    assert_eq!(unknown, [(2, note.clone()), (3, note)]);
    drop(log);
    assert_eq!(fixture.open().unwrap().1.unknown_outcomes, 0);
}

#[test]
fn sessions_that_were_open_are_ended_after_a_crash() {
    let (first, second) = (SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    log.append(&[
        opened(first),
        opened(second),
        statement(1),
        outcome(1),
        statement(2),
        ended(second),
    ])
    .unwrap();
    drop(log);
    drop(fixture.open().unwrap());
    let events = Reader::open(fixture.path(), 7).unwrap().map(|event| event.unwrap().body);
    let [EventBody::StatementOutcome(unknown), EventBody::SessionEnded(left)] =
        <[EventBody; 2]>::try_from(events.collect::<Vec<_>>()).unwrap()
    else {
        panic!("not an outcome and an end");
    };
    assert_eq!((unknown.session, unknown.number), (first, 2));
    assert_eq!((left.session, left.actor.name.as_str()), (first, "ada@example.com"));
    assert_eq!((left.reason.as_str(), left.statements), ("gatewayStopped", 2));
    // Once is enough.
    drop(fixture.open().unwrap());
    assert_eq!(fixture.lines().len(), 8);
}

#[test]
fn a_torn_last_write_is_removed_and_recorded() {
    let fixture = Fixture::with(3);
    let mut file = std::fs::OpenOptions::new().append(true).open(fixture.segment()).unwrap();
    file.write_all(b"0123456789abcdef torn").unwrap();
    let (log, opened) = fixture.open().unwrap();
    assert_eq!(opened.torn_bytes, 21);
    drop(log);
    assert!(fixture.verify(None).is_ok());
    let last = Reader::open(fixture.path(), 1).unwrap().last().unwrap().unwrap();
    assert!(
        matches!(last.body, EventBody::Installation { action, .. } if action == "tornWriteRemoved")
    );
}

#[test]
fn a_checkpoint_that_was_cut_short_spoils_none_that_follow() {
    let fixture = Fixture::with(3);
    let history = fixture.path().join("checkpoints.log");
    let whole = std::fs::read(&history).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&history).unwrap();
    file.write_all(&whole[..whole.len() / 2]).unwrap();
    let (log, _) = fixture.open().unwrap();
    log.append(&[statement(4)]).unwrap();
    drop(log);
    let verified = fixture.verify(None).unwrap();
    assert_eq!(verified.covered, verified.records);
    assert!(std::fs::read(&history).unwrap().starts_with(&whole));
}

#[test]
fn a_log_that_lost_records_which_a_checkpoint_covers_is_not_opened() {
    let fixture = Fixture::with(3);
    fixture.replace(&fixture.lines()[..2]);
    let refused = fixture.open().unwrap_err().to_string();
    assert!(
        refused.contains("record 3: the last checkpoint covers record 3, the log ends at 2"),
        "{refused}"
    );
}

/// As the gateway keeps it in its store: the folder's own checkpoints are gone with the rest.
#[test]
fn a_log_that_does_not_reach_the_checkpoint_kept_outside_is_not_opened() {
    let fixture = Fixture::with(3);
    let known = fixture.latest_checkpoint();
    let forget = || {
        for name in ["checkpoint", "checkpoints.log"] {
            std::fs::remove_file(fixture.path().join(name)).unwrap();
        }
    };
    let refused = || fixture.open_knowing(Some(known.clone())).unwrap_err().to_string();

    fixture.replace(&fixture.lines()[..2]);
    forget();
    let cut = refused();
    assert!(
        cut.contains("record 3: the last checkpoint covers record 3, the log ends at 2"),
        "{cut}"
    );

    std::fs::remove_file(fixture.segment()).unwrap();
    let wiped = refused();
    let place = fixture.segment().display().to_string();
    assert!(wiped.contains(&place) && wiped.contains("the log ends at 0"), "{wiped}");
    assert!(!fixture.segment().try_exists().unwrap());
}

#[test]
fn a_checkpoint_kept_outside_is_this_logs_own_and_may_be_older() {
    let fixture = Fixture::with(3);
    let known = fixture.latest_checkpoint();
    drop(fixture.open_knowing(Some(known.clone())).unwrap());
    drop(fixture.open_knowing(Some(known.clone())).unwrap());
    let other = Checkpoint { gateway: "gateway-2".to_owned(), ..known.clone() };
    let refused = fixture.open_knowing(Some(other)).unwrap_err().to_string();
    assert!(refused.contains("is of gateway `gateway-2`"), "{refused}");
    let forged = Checkpoint { sequence: 1, ..known };
    let refused = fixture.open_knowing(Some(forged)).unwrap_err().to_string();
    assert!(refused.contains("was not signed with this log's key"), "{refused}");
}

#[test]
fn an_altered_log_is_not_opened() {
    let fixture = Fixture::with(3);
    let mut lines = fixture.lines();
    lines[1][120] ^= 1;
    fixture.replace(&lines);
    let refused = fixture.open().unwrap_err().to_string();
    assert!(
        refused.ends_with(":2: record 2: its hash does not follow from the record before"),
        "{refused}"
    );
}

#[test]
fn sequence_numbers_go_on_after_a_restart() {
    let fixture = Fixture::with(3);
    let (log, opened) = fixture.open().unwrap();
    assert_eq!(opened.unknown_outcomes, 3);
    assert_eq!(log.append(&[statement(9)]).unwrap().sequence, 7);
    drop(log);
    assert_eq!(fixture.verify(None).unwrap().records, 7);
}
