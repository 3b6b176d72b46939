//! The auditor: finds what happened, proves that the record is whole, and sees each way of falsifying it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::damage::{self, Damage};
use testkit::program::{self, Said};
use testkit::stack::Facts;

use crate::support::{assert_says, events, newcomer, own, shared, text};

fn public_key(facts: &Facts) -> String {
    let checkpoint = facts.auditor.run(&["audit", "checkpoint"]).unwrap().json().unwrap();
    text(&checkpoint, "/publicKey").to_owned()
}

fn verify(facts: &Facts, log: &Path, key: &str, checkpoint: &Path) -> Said {
    let mut command = program::clean(&facts.reach.binary);
    command.args(["audit", "verify", "--public-key", key]);
    command.arg("--checkpoint").arg(checkpoint).arg("--directory").arg(log);
    program::run(&mut command).unwrap()
}

/// A copy of the log, and the checkpoint that was known when it was made.
fn copied(facts: &Facts, folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let checkpoint = folder.join("checkpoint.json");
    fs::copy(facts.folder.join("checkpoint.json"), &checkpoint).unwrap();
    let log = folder.join("log");
    damage::duplicate(&facts.audit_log(), &log).unwrap();
    (log, checkpoint)
}

#[test]
fn verify_proves_the_log_whole_and_names_the_place_of_each_damage() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    dev.psql("select 1").unwrap().expect_success().unwrap();
    events(facts, "sessionEnded", &dev.user);
    let folder = tempfile::tempdir().unwrap();
    let (log, checkpoint) = copied(facts, folder.path());
    let key = public_key(facts);

    let whole = verify(facts, &log, &key, &checkpoint);
    assert!(whole.ok(), "{whole}");
    for damage in Damage::ALL {
        let falsified = folder.path().join("falsified");
        damage.copy(&log, &falsified).unwrap();
        let said = verify(facts, &falsified, &key, &checkpoint);
        assert_eq!(said.code, 1, "{}: {said}", damage.name());
        let names_a_place = said.stderr.contains(".log")
            || said.stderr.contains("sequence")
            || said.stderr.contains("record")
            || said.stderr.contains("segment");
        assert!(names_a_place, "{}: {said}", damage.name());
        fs::remove_dir_all(&falsified).unwrap();
    }
}

#[test]
fn the_log_of_another_gateway_is_not_this_one() {
    let facts = shared();
    let stack = own();
    let folder = tempfile::tempdir().unwrap();
    let (_, checkpoint) = copied(facts, folder.path());
    let foreign = folder.path().join("foreign");
    damage::duplicate(&stack.facts.audit_log(), &foreign).unwrap();

    let said = verify(facts, &foreign, &public_key(facts), &checkpoint);
    assert_eq!(said.code, 1, "{said}");
}

#[test]
fn the_server_verifies_its_own_log_while_it_writes_it() {
    let facts = shared();
    let whole = facts.on_host(&["audit", "verify"]).unwrap();
    assert!(whole.ok(), "{whole}");
}

#[test]
fn search_finds_by_actor_type_session_and_text() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let marker = format!("select 'marker of {}'", dev.user);
    dev.psql(&marker).unwrap().expect_success().unwrap();

    let found = events(facts, "statement", &marker);
    assert_eq!(found.len(), 1);
    let session = text(&found[0], "/session");
    let of_session = facts.audit(&["--session", session]).unwrap();
    let types: Vec<&str> = of_session.iter().map(|event| text(event, "/type")).collect();
    assert!(types.contains(&"sessionOpened") && types.contains(&"statement"), "{types:?}");
    let of_actor = facts.audit(&["--actor", &dev.user]).unwrap();
    // By them, or about them: the approval is another's act.
    let named = of_actor.iter().filter(|event| event.pointer("/actor").is_some());
    let strangers: Vec<&Value> =
        named.clone().filter(|event| !event.to_string().contains(&dev.user)).collect();
    assert!(named.count() > 3 && strangers.is_empty(), "{strangers:?}");
    let sequences: Vec<u64> =
        of_actor.iter().filter_map(|event| event.get("sequence").and_then(Value::as_u64)).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
}

#[test]
fn reading_the_log_is_recorded_and_is_for_auditors_and_owners_only() {
    let facts = shared();
    let dev = newcomer(facts, &[]);
    let refused = dev.run(&["audit"]).unwrap().expect_failure(3).unwrap();
    assert_says(&refused.stderr, &["PC2002"]);
    facts.auditor.must(&["audit", "--text", "who reads this"]).unwrap();
    events(facts, "auditRead", "who reads this");
}

#[test]
fn the_auditor_reads_everything_and_changes_nothing() {
    let facts = shared();
    for kind in ["users", "groups", "activations", "databaseusers", "databaseservers"] {
        facts.auditor.must(&["get", kind]).unwrap();
    }
    for arguments in [
        &["delete", "group", "orders-admins"][..],
        &["user", "pass", "dev@example.com"],
        &["application", "secret", "add", "orders-api"],
        &["cut", "--server", "orders"],
    ] {
        let refused = facts.auditor.run(arguments).unwrap().expect_failure(3).unwrap();
        assert_says(&refused.stderr, &["PC2002"]);
    }
}

#[test]
fn no_secret_stands_in_the_log_or_in_the_servers_own_log() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let token = dev.token().unwrap();
    let handle = dev.must(&["token", "--handle"]).unwrap();
    dev.reach.psql(&dev.user, &token, "select 1").unwrap().expect_success().unwrap();
    dev.reach.psql(&dev.user, &handle, "select 1").unwrap().expect_success().unwrap();
    dev.reach.psql("someone", &handle, "select 1").unwrap().expect_failure(2).unwrap();
    let seed = fs::read_to_string(dev.totp_secret_file()).unwrap();

    let mut written = fs::read_to_string(facts.log()).unwrap();
    for segment in damage::segments(&facts.audit_log()).unwrap() {
        written.push_str(&fs::read_to_string(segment).unwrap());
    }
    let signature = token.rsplit('.').next().unwrap();
    // The first eight characters of a handle are its public id.
    let (_, sealed) = handle.split_at(8);
    for secret in [signature, sealed, seed.trim(), &facts.api.secret] {
        assert!(!written.contains(secret), "a secret was written down");
    }
}
