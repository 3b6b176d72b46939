//! What was appended and is in no segment yet: seen by every reader, lost by nothing but the host's power.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audit::read::Reader;
use audit::{AuditError, Log, Options, Records};
use keys::AuditKey;
use model::event::{Event, EventBody};
use proptest::prelude::*;
use runtime::Clock;
use serde_json::json;

use crate::fixture::{Fixture, GATEWAY, outcome, statement};

const FOLDER: &str = "AUDIT_LOG_UNDER_TEST";
/// The process that is killed does not run ahead further than this.
const AT_ONCE: u64 = 100;
/// Longer than any test: the committer writes nothing by itself.
const NEVER: Duration = Duration::from_hours(1);

fn staging(folder: &Path) -> PathBuf {
    folder.join("staging.bin")
}

/// A log of which nothing is written into segments before someone asks for it.
fn unhurried(folder: &Path, key: AuditKey) -> Log {
    let options = Options {
        directory: folder.to_owned(),
        gateway: GATEWAY.to_owned(),
        key,
        clock: Clock::system(),
        sync_interval: NEVER,
        checkpoint_sink: None,
        known: None,
    };
    Log::open(options).unwrap().0
}

/// The folder as it lies there now: what a process leaves that is killed.
fn as_killed(fixture: &Fixture) -> Fixture {
    let left = fixture.with_the_same_key();
    for entry in fs::read_dir(fixture.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, left.path().join(path.file_name().unwrap())).unwrap();
    }
    left
}

fn sequences(fixture: &Fixture) -> Vec<u64> {
    let events = Reader::open(fixture.path(), 1).unwrap();
    events.map(|event| event.unwrap().sequence).collect()
}

/// A fresh log with so many statements on disk and so many more that are only staged, as a kill leaves it.
fn staged(durable: u64, only_staged: u64) -> Fixture {
    let fixture = Fixture::new();
    let log = unhurried(fixture.path(), fixture.key());
    for number in 1..=durable {
        let receipt = log.append(&[statement(number)]).unwrap();
        if number == durable {
            log.durable_blocking(receipt).unwrap();
            fixture.wait_for_checkpoint(durable);
        }
    }
    for number in durable + 1..=durable + only_staged {
        log.append(&[statement(number)]).unwrap();
    }
    as_killed(&fixture)
}

#[test]
fn a_killed_process_loses_nothing_that_append_returned_for() {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        let key = AuditKey::from_pkcs8(&fs::read(folder.join("key")).unwrap()).unwrap();
        let log = unhurried(&folder.join("log"), key);
        for number in 1.. {
            let receipt = log.append(&[statement(number)]).unwrap();
            writeln!(std::io::stdout(), "\nappended {}", receipt.sequence).unwrap();
            if number % AT_ONCE == 0 {
                std::io::stdin().read_line(&mut String::new()).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::within(&folder.path().join("log"));
    fs::write(folder.path().join("key"), fixture.pkcs8()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["staging::a_killed_process_loses_nothing_that_append_returned_for", "--exact"])
        .args(["--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut go_on = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0_u64;
    for line in lines.map_while(Result::ok) {
        let Some(number) = line.strip_prefix("appended ") else { continue };
        last = number.parse().unwrap();
        if last == 4 * AT_ONCE + AT_ONCE / 2 {
            child.kill().unwrap();
        } else if last.is_multiple_of(AT_ONCE) && last <= 4 * AT_ONCE {
            writeln!(go_on).unwrap();
        }
    }
    child.wait().unwrap();
    assert!(last >= 4 * AT_ONCE + AT_ONCE / 2);
    assert_eq!(fs::metadata(fixture.segment()).unwrap().len(), 0);

    // Without any start: read as it was left.
    let read = sequences(&fixture);
    assert!(read.len() as u64 >= last, "{} of {last}", read.len());
    assert_eq!(read, (1..=read.len() as u64).collect::<Vec<_>>());

    let (log, opened) = fixture.open().unwrap();
    assert_eq!((opened.staged_records, opened.torn_bytes), (read.len() as u64, 0));
    drop(log);
    let verified = fixture.verify(None).unwrap();
    // Each statement got its outcome.
    assert_eq!((verified.records, verified.staged), (2 * read.len() as u64, 0));
}

#[test]
fn what_is_only_staged_is_read_and_verified_and_said_to_be_so() {
    let left = staged(3, 4);
    assert_eq!(left.lines().len(), 3);
    assert_eq!(sequences(&left), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(Reader::open(left.path(), 6).unwrap().count(), 2);
    let verified = left.verify(None).unwrap();
    assert_eq!((verified.records, verified.covered, verified.staged), (7, 3, 4));
    let mode = fs::metadata(staging(left.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let (_log, opened) = left.open().unwrap();
    assert_eq!((opened.staged_records, opened.unknown_outcomes), (4, 7));
    assert_eq!(left.lines().len(), 7);
}

#[test]
fn staged_lines_that_a_segment_holds_already_are_skipped() {
    let fixture = Fixture::new();
    let log = unhurried(fixture.path(), fixture.key());
    log.append(&[statement(1), statement(2)]).unwrap();
    let before = fs::read(staging(fixture.path())).unwrap();
    let receipt = log.append(&[statement(3)]).unwrap();
    log.durable_blocking(receipt).unwrap();
    fixture.wait_for_checkpoint(3);
    // Killed after the segment was written, before the space was marked free.
    let left = as_killed(&fixture);
    fs::write(staging(left.path()), before).unwrap();
    assert_eq!(sequences(&left), [1, 2, 3]);
    assert_eq!(left.verify(None).unwrap().staged, 0);
    assert_eq!(left.open().unwrap().1.staged_records, 0);
}

#[test]
fn a_former_rounds_lines_behind_the_new_ones_are_not_taken_for_records() {
    let fixture = Fixture::new();
    let log = unhurried(fixture.path(), fixture.key());
    let first: Vec<_> = (1..=20).map(statement).collect();
    let receipt = log.append(&first).unwrap();
    log.durable_blocking(receipt).unwrap();
    log.append(&[statement(21)]).unwrap();
    let bytes = fs::read(staging(fixture.path())).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\"sequence\":21") && text.contains("\"sequence\":20"), "not reused");
    fixture.wait_for_checkpoint(20);
    let left = as_killed(&fixture);
    assert_eq!(sequences(&left), (1..=21).collect::<Vec<_>>());
    assert_eq!(left.open().unwrap().1.staged_records, 1);
}

#[test]
fn a_torn_staged_line_ends_what_is_taken_over() {
    for torn in [1, 70, 300] {
        let left = staged(2, 3);
        let mut bytes = fs::read(staging(left.path())).unwrap();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
        bytes[end - torn..end].fill(0);
        fs::write(staging(left.path()), &bytes).unwrap();
        assert_eq!(sequences(&left), [1, 2, 3, 4], "{torn}");
        let (log, opened) = left.open().unwrap();
        assert_eq!((opened.staged_records, opened.torn_bytes), (2, 0), "{torn}");
        assert_eq!(log.append(&[outcome(1)]).unwrap().sequence, 9);
        drop(log);
        assert_eq!(left.verify(None).unwrap().records, 9);
    }
}

#[test]
fn the_staging_of_another_log_is_not_taken_over() {
    let (left, other) = (staged(2, 0), staged(2, 3));
    fs::copy(staging(other.path()), staging(left.path())).unwrap();
    assert_eq!(sequences(&left), [1, 2]);
    assert_eq!(left.open().unwrap().1.staged_records, 0);
}

#[test]
fn what_is_missing_in_the_segments_is_damage_even_if_it_is_staged() {
    let left = staged(3, 0);
    let all = left.lines();
    // As if the space had not been used again.
    let mut bytes = fs::read(staging(left.path())).unwrap();
    let begin = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[begin..begin + all.concat().len()].copy_from_slice(&all.concat());
    fs::write(staging(left.path()), bytes).unwrap();
    left.replace(&all[..2]);
    assert!(matches!(left.open(), Err(AuditError::Damaged(_))));
    assert_eq!(left.verify(None).unwrap_err().sequence, 3);
}

#[test]
fn a_batch_larger_than_the_staging_file_goes_to_the_segment_after_what_is_staged() {
    let fixture = Fixture::new();
    let log = unhurried(fixture.path(), fixture.key());
    log.append(&[statement(1)]).unwrap();
    let mut records = Records::default();
    records.push(&json!({ "text": "x".repeat(3 * 1024 * 1024) })).unwrap();
    records.push(&EventBody::Stopped).unwrap();
    let receipt = log.append_records(&records).unwrap();
    assert_eq!(receipt.sequence, 3);
    let lines = fixture.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(&lines[1][lines[1].len() - 4..], b"x\"}\n");
    log.append(&[statement(2)]).unwrap();
    assert_eq!(fixture.lines().len(), 3);
    drop(log);
    assert_eq!(fixture.verify(None).unwrap().covered, 4);
}

#[test]
fn a_full_staging_file_is_written_out_by_the_appender() {
    let fixture = Fixture::new();
    let log = unhurried(fixture.path(), fixture.key());
    let mut last = 0;
    for number in 1..=5_000 {
        last = log.append(&[statement(number)]).unwrap().sequence;
    }
    let in_segment = fixture.lines().len() as u64;
    assert!(in_segment > 1_000 && in_segment < last, "{in_segment}");
    assert_eq!(sequences(&fixture), (1..=last).collect::<Vec<_>>());
}

#[test]
fn a_reader_sees_each_record_once_while_the_space_is_used_again_and_again() {
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    let done = AtomicBool::new(false);
    let total = 20_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=total {
                let receipt = log.append(&[statement(number)]).unwrap();
                if number % 97 == 0 {
                    log.durable_blocking(receipt).unwrap();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut reader = Reader::open(fixture.path(), 1).unwrap();
        let mut seen = 0;
        loop {
            let last_look = done.load(Ordering::SeqCst);
            for event in reader.by_ref() {
                seen += 1;
                assert_eq!(event.unwrap().sequence, seen);
            }
            if last_look {
                break;
            }
        }
        assert_eq!(seen, total);
    });
}

#[test]
fn what_was_appended_before_a_look_is_seen_by_it() {
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    let mut reader = Reader::open(fixture.path(), 1).unwrap();
    for number in 1..=3_000 {
        let receipt = log.append(&[statement(number)]).unwrap();
        if number % 3 == 0 {
            log.durable_blocking(receipt).unwrap();
        }
        let event = reader.next().expect("the record that was just appended").unwrap();
        assert_eq!(event.sequence, receipt.sequence);
    }
}

#[test]
fn records_make_the_lines_that_events_make_and_their_memory_is_used_again() {
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    let bodies = [statement(1), outcome(1)];
    let mut records = Records::default();
    records.push(&EventBody::Stopped).unwrap();
    records.clear();
    assert!(records.is_empty());
    for body in &bodies {
        records.push(body).unwrap();
    }
    let receipt = log.append_records(&records).unwrap();
    let read: Vec<Event> = Reader::open(fixture.path(), 1).unwrap().map(Result::unwrap).collect();
    assert_eq!((receipt.sequence, receipt.time), (2, read[1].time));
    assert_eq!(read.into_iter().map(|event| event.body).collect::<Vec<EventBody>>(), bodies);
    for wrong in [json!({}), json!([]), json!("type"), json!(null)] {
        let refused = records.push(&wrong).unwrap_err();
        assert!(matches!(refused, AuditError::NotAnObject), "{wrong}: {refused}");
    }
    assert_eq!(records.len(), 2);
    assert_eq!(log.append_records(&records).unwrap().sequence, 4);
}

#[test]
fn a_disk_without_room_for_the_staging_file_refuses_the_open() {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        let fixture = Fixture::within(&folder);
        writeln!(std::io::stdout(), "\nsaid: {}", fixture.open().unwrap_err()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fallocate", "-e", "inject=fallocate:error=ENOSPC", "-o"])
        .arg(folder.path().join("trace"))
        .arg(std::env::current_exe().unwrap())
        .args(["staging::a_disk_without_room_for_the_staging_file_refuses_the_open", "--exact"])
        .args(["--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path().join("log"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let place = staging(&folder.path().join("log"));
    let wanted = format!("said: cannot reserve the space of `{}`: No space left", place.display());
    assert!(said.contains(&wanted), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The host lost power: the segment ends at its last sync, or somewhere behind it; of the staging file any pages
    /// reached the disk.
    #[test]
    fn whatever_a_loss_of_power_left_staged_all_that_was_synced_is_there(
        lost in 0_usize..600,
        garbage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 1_usize..5_000), 0..6),
    ) {
        let left = staged(3, 6);
        let mut bytes = fs::read(staging(left.path())).unwrap();
        for (at, with, length) in garbage {
            // Where the lines are.
            let at = at.index(6_000);
            bytes[at..at + length].fill(with);
        }
        fs::write(staging(left.path()), &bytes).unwrap();
        // A part of the fourth record was written into the segment, and not synced.
        let mut segment = left.lines();
        segment.push(vec![b'0'; lost]);
        left.replace(&segment);
        let (log, opened) = left.open().unwrap();
        prop_assert!(opened.staged_records <= 6);
        prop_assert_eq!(opened.torn_bytes, lost as u64);
        drop(log);
        let verified = left.verify(None).unwrap();
        prop_assert!(verified.records >= 3 + opened.staged_records);
    }
}
