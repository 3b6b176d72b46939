//! No write without its record: the record is on disk first, and where it cannot be, nothing is written.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use model::code::AUDIT_FAILED;
use model::event::{EventBody, Outcome};
use model::{Kind, Revision};
use runtime::Clock;
use serde_json::json;
use store::Store;

use crate::fixture::{OWNER, Plane, START, at, document, refused};

const FOLDER: &str = "CONTROL_UNDER_TEST";

/// This executable again, as a process whose system calls are watched: it writes twenty groups and says what was taken.
fn child(runner: &[&str], traced: &Path, folder: &Path, test: &str) -> Command {
    let executable = std::env::current_exe().unwrap();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-y", "-e", "trace=write,fsync,fdatasync"])
        .args(runner)
        .args([OsString::from("-o"), traced.into(), executable.into()])
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdin(Stdio::null());
    command
}

async fn wrote_as_child() -> bool {
    use std::io::Write as _;

    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return false };
    let plane = Plane::within(&folder);
    plane.control.init(crate::fixture::first()).await.unwrap();
    for number in 0..20 {
        let said = match plane.put(document("Group", &format!("g{number}"), json!({}))).await {
            Ok(_) => format!("\ntaken g{number}\n"),
            Err(refusal) => format!("\nrefused {}\n", refusal.code.id),
        };
        std::io::stdout().write_all(said.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }
    true
}

#[tokio::test]
async fn the_record_is_on_disk_before_the_store_commits_and_both_before_anyone_hears_of_it() {
    if wrote_as_child().await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let traced = folder.path().join("trace");
    let test = "recorded::the_record_is_on_disk_before_the_store_commits_and_both_before_anyone_hears_of_it";
    let output = child(&[], &traced, folder.path(), test).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let trace = std::fs::read_to_string(&traced).unwrap();
    let (mut order, mut taken) = (String::new(), 0);
    for line in trace.lines() {
        let sync = line.contains(" fsync(") || line.contains(" fdatasync(");
        if sync && line.contains("/audit/0") && !order.ends_with('a') {
            order.push('a');
        } else if sync && line.contains("store.db-wal>") {
            order.push('s');
        } else if line.contains(" write(1<") && line.contains("taken g") {
            // Since the last answer: a sync of the audit log, after it one of the store.
            let store = order.rfind('s').unwrap_or(0);
            let audit = order.find('a').unwrap_or(usize::MAX);
            assert!(audit < store, "{order:?} before {line}");
            order.clear();
            taken += 1;
        }
    }
    assert_eq!(taken, 20);
}

#[tokio::test]
async fn where_the_record_cannot_be_written_nothing_is() {
    if wrote_as_child().await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let traced = folder.path().join("trace");
    let log = folder.path().join("audit").join("00000000000000000001.log");
    let test = "recorded::where_the_record_cannot_be_written_nothing_is";
    let runner = ["-e", "inject=write:error=ENOSPC:when=8+", "-P", log.to_str().unwrap()];
    let output = child(&runner, &traced, folder.path(), test).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let taken: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("taken ")).collect();
    let refused: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("refused ")).collect();
    assert!(!taken.is_empty() && !refused.is_empty(), "{said}");
    assert_eq!(taken.len() + refused.len(), 20, "{said}");
    assert!(refused.iter().all(|code| *code == AUDIT_FAILED.id), "{said}");
    let store = Store::open(&folder.path().join("store.db"), Clock::system()).unwrap();
    let state = store.snapshots().load();
    let mut groups: Vec<&str> = state.groups.iter().map(|group| group.name()).collect();
    groups.sort_by_key(|name| name.trim_start_matches('g').parse::<u32>().unwrap());
    assert_eq!(groups, taken);
}

#[tokio::test]
async fn a_write_that_the_store_does_not_take_is_taken_back_in_the_record() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let before = plane.events().len();
    // Another process holds the file: the write cannot even begin, so only the refusal is recorded.
    let other = rusqlite::Connection::open(plane.directory.join("store.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let delete = plane.control.delete(&owner, Kind::Group, "orders-readers").await;
    assert_eq!(refused(delete), &model::code::STORE_UNAVAILABLE);
    other.execute_batch("ROLLBACK").unwrap();
    let events = plane.events_after(before);
    let [EventBody::Write(write)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(write.revision, None);
    assert!(matches!(&write.outcome, Outcome::Refused { code, .. } if code == "PC2019"));
}

#[tokio::test]
async fn what_was_recorded_and_never_committed_is_taken_back_at_the_next_start_once() {
    let plane = Plane::new().await;
    let id = plane.request("ticket 7").await.unwrap();
    let next = Revision(plane.control.snapshots().load().revision.0 + 1);
    // As the process leaves it that dies between the two syncs.
    let mut events = plane.events();
    let EventBody::ActivationChanged(mut changed) = events.pop().unwrap() else { panic!() };
    changed.step = "approve".to_owned();
    changed.revision = Some(next);
    let written = plane.control.delete(&plane.caller(OWNER), Kind::Group, "orders-readers").await;
    assert!(written.is_err());
    let EventBody::Write(mut write) = plane.events().pop().unwrap() else { panic!() };
    (write.revision, write.outcome) = (Some(next), Outcome::Succeeded);
    let claimed = [EventBody::ActivationChanged(changed), EventBody::Write(write)];
    plane.log.append(&claimed).unwrap();

    let plane = plane.restart(at("2026-11-24T10:05:00Z"));
    let before = plane.events().len();
    plane.control.announce().await.unwrap();
    let told: Vec<(String, Outcome)> = plane
        .events_after(before)
        .into_iter()
        .map(|event| match event {
            EventBody::Write(write) => (write.subject, write.outcome),
            EventBody::ActivationChanged(changed) => {
                (changed.activation.to_string(), changed.outcome)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let refused = || Outcome::Refused {
        code: "PC2019".to_owned(),
        message: "the process ended before this was committed; it was not made".to_owned(),
    };
    let mut expected =
        vec![(id.to_string(), refused()), ("Group/orders-readers".to_owned(), refused())];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told, expected);
    plane.control.announce().await.unwrap();
    let plane = plane.restart(at("2026-11-24T10:06:00Z"));
    plane.control.announce().await.unwrap();
    assert_eq!(plane.events().len(), before + 2);
}

#[tokio::test]
async fn long_values_are_recorded_by_their_size() {
    let plane = Plane::new().await;
    let members: Vec<String> = (0..200).map(|n| format!("person-{n:03}@example.com")).collect();
    for member in &members {
        plane.put(document("User", member, json!({ "displayName": "P" }))).await.unwrap();
    }
    let before = plane.events().len();
    plane.put(document("Group", "many", json!({ "members": members }))).await.unwrap();
    let events = plane.events_after(before);
    let [EventBody::Write(write)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(write.changes["/spec/members"].to, Some(json!("(5001 bytes)")));
}

#[tokio::test]
async fn a_late_gateway_is_named_and_the_write_stands() {
    let plane = Plane::new().await;
    let _slow = plane.control.snapshots().register("gw-1");
    let owner = plane.caller(OWNER);
    let clock = Clock::system();
    let started = clock.now();
    let done = plane.control.delete(&owner, Kind::Eligibility, "dev-reads").await.unwrap();
    let waited = clock.now().since(started);
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(10), "{waited:?}");
    let lag = format!("revision {} is not yet seen by gw-1", done.revision);
    assert_eq!(done.lag, Some(lag));
    assert!(plane.control.snapshots().load().eligibilities.is_empty());
    assert_eq!(plane.control.store().high_water(), at(START));
}
