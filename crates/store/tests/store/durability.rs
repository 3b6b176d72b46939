//! Nothing acknowledged is ever lost: by `kill -9`, by losing power at any acknowledgement, by a failing disk.

use std::io::{BufRead, BufReader};
use std::path::Path;

use model::Revision;
use runtime::Clock;
use store::Store;

use crate::child;
use crate::fixture::names;
use crate::trace::{self, Trace};

/// The last revision that these lines acknowledge.
fn last_acknowledged(lines: impl Iterator<Item = String>) -> Option<Revision> {
    lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).last().map(Revision)
}

fn everything_up_to(revision: Revision, store: &Path) {
    let store = Store::open(store, Clock::system()).unwrap();
    let names = names(&store);
    assert!(store.snapshots().load().revision >= revision);
    for number in 1..=revision.0 {
        let name = format!("user-{number}");
        assert!(names.contains(&name), "{name} was acknowledged and is lost");
    }
}

#[test]
fn a_process_that_is_killed_has_lost_nothing_that_it_acknowledged() {
    if child::is_child() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    let test = "durability::a_process_that_is_killed_has_lost_nothing_that_it_acknowledged";
    for round in 0..12 {
        let mut child = child::command(&[], test, &store, u64::MAX / 2).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // Killed after some acknowledgements, at no particular point of the next write.
        let enough = 3 + round * 5;
        let mut seen: Vec<String> = Vec::new();
        while seen.iter().filter(|line| line.starts_with("acknowledged ")).count() < enough {
            seen.push(said.next().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        seen.extend(said);
        everything_up_to(last_acknowledged(seen.into_iter()).unwrap(), &store);
    }
}

#[test]
fn power_lost_at_any_acknowledgement_loses_nothing_because_a_sync_stands_before_it() {
    if child::is_child() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    let file = directory.path().join("trace");
    let test = "durability::power_lost_at_any_acknowledgement_loses_nothing_because_a_sync_stands_before_it";
    // More than one checkpoint, so that the log starts over in between.
    let output = child::command(&trace::recording(&file), test, &store, 300).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let mut trace = Trace::read(&file, &store);
    let mut acknowledgements = 0;
    let mut syncs_before = 0;
    while let Some(line) = trace.next_line_said() {
        let Some(revision) = last_acknowledged(std::iter::once(line)) else { continue };
        acknowledgements += 1;
        assert!(trace.unsynced_log_bytes() == 0, "revision {revision} is not on disk yet");
        assert!(trace.syncs() > syncs_before, "no sync stands before revision {revision}");
        syncs_before = trace.syncs();
        // What the disk holds if power is lost now and everything that was not synced is gone.
        if acknowledgements % 15 == 0 {
            let image = directory.path().join(format!("image-{revision}"));
            everything_up_to(revision, &trace.power_loss(&image));
        }
    }
    assert_eq!(acknowledgements, 300);
}

#[test]
fn a_failed_sync_is_never_tried_again_as_a_success() {
    if child::is_child() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    let test = "durability::a_failed_sync_is_never_tried_again_as_a_success";
    let file = directory.path().join("trace");
    // Only one sync fails; a second try would "succeed".
    let runner = trace::failing(&file, &store, "fsync,fdatasync:error=EIO:when=40");
    let output = child::command(&runner, test, &store, 60).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("acknowledged ") || line.starts_with("refused "))
        .collect();
    let first = lines.iter().position(|line| line.starts_with("refused ")).unwrap();
    assert!(first > 5, "{said}");
    assert!(lines[first].starts_with("refused cannot commit to the store"), "{}", lines[first]);
    for line in &lines[first + 1..] {
        assert!(line.starts_with("refused the store stopped writing after a failure"), "{line}");
    }
    assert_eq!(lines.len(), 60);
    let acknowledged = lines[..first].iter().map(|line| (*line).to_owned());
    everything_up_to(last_acknowledged(acknowledged).unwrap(), &store);
}

#[test]
fn a_full_disk_refuses_and_the_store_goes_on_when_there_is_room_again() {
    if child::is_child() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    let test = "durability::a_full_disk_refuses_and_the_store_goes_on_when_there_is_room_again";
    let file = directory.path().join("trace");
    let runner = trace::failing(&file, &store, "pwrite64:error=ENOSPC:when=100..120");
    let output = child::command(&runner, test, &store, 60).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let refused = said.lines().filter(|line| line.starts_with("refused ")).count();
    assert!(refused > 0 && said.contains("database or disk is full"), "{said}");
    let last = said.lines().rfind(|line| line.starts_with("acknowledged ")).unwrap();
    let last_refusal = said.lines().position(|line| line.starts_with("refused ")).unwrap();
    let last_acknowledged = said.lines().position(|line| line == last).unwrap();
    assert!(last_acknowledged > last_refusal, "{said}");
    let store = Store::open(&store, Clock::system()).unwrap();
    let acknowledged: Vec<u64> =
        said.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).collect();
    assert_eq!(store.snapshots().load().revision.0, u64::try_from(acknowledged.len()).unwrap());
    assert_eq!(names(&store).len(), acknowledged.len());
}
