//! Two who want the same at the same moment: exactly one gets it, the other is told why not.

use std::sync::Barrier;
use std::thread;

use testkit::program::Said;
use testkit::stack::Person;

use crate::support::{assert_says, newcomer, own, shared};

const ROUNDS: usize = 5;

/// Both at once.
fn both(first: impl FnOnce() -> Said + Send, second: impl FnOnce() -> Said + Send) -> [Said; 2] {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            barrier.wait();
            first()
        });
        let second = scope.spawn(|| {
            barrier.wait();
            second()
        });
        [first.join().unwrap(), second.join().unwrap()]
    })
}

/// Fails unless exactly one succeeded and the other was refused under this code.
#[track_caller]
fn assert_one_of(said: [Said; 2], code: &str) {
    let (won, lost): (Vec<Said>, Vec<Said>) = said.into_iter().partition(Said::ok);
    assert_eq!(won.len(), 1, "{won:?} {lost:?}");
    assert_eq!(lost[0].code, 3, "{}", lost[0]);
    assert_says(&lost[0].stderr, &[code]);
}

#[test]
fn of_two_approvers_one_decides() {
    let stack = own();
    let facts = &stack.facts;
    let second = facts.newcomer("second@example.com", &[]).unwrap();
    let seed = std::fs::read_to_string(facts.folder.join("seed/4-access.yaml")).unwrap();
    let rules =
        seed.replace("[approver@example.com]", "[approver@example.com, second@example.com]");
    let approver = "---\napiVersion: portcullis.dev/v1\nkind: User\nmetadata: { name: second@example.com }\n\
                    spec: { displayName: Second, controlRole: approver }\n";
    facts.apply(&format!("{rules}{approver}")).unwrap().expect_success().unwrap();
    for _ in 0..ROUNDS {
        let activation = facts.dev.request("orders-readers", "10m").unwrap();
        let said = both(
            || facts.approver.run(&["approve", &activation]).unwrap(),
            || second.run(&["deny", &activation]).unwrap(),
        );
        assert_one_of(said, "PC2016");
        let document = facts.admin.run(&["get", "activations", &activation, "-o", "json"]).unwrap();
        if document.stdout.contains("\"active\"") {
            facts.dev.must(&["deactivate", &activation]).unwrap();
        }
    }
}

#[test]
fn of_two_requests_for_one_group_one_is_taken() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    for _ in 0..ROUNDS {
        let said = both(|| request(&dev), || request(&dev));
        let taken = said.iter().find(|said| said.ok()).cloned().unwrap().json().unwrap();
        assert_one_of(said, "PC2013");
        let id = taken.pointer("/metadata/name").unwrap().as_str().unwrap();
        dev.must(&["cancel", id]).unwrap();
    }
}

fn request(dev: &Person) -> Said {
    dev.run(&["request", "orders-readers", "--because", "a race", "-o", "json"]).unwrap()
}

#[test]
fn an_approval_and_a_cancellation_do_not_both_succeed() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    for _ in 0..ROUNDS {
        let activation = dev.request("orders-readers", "10m").unwrap();
        let said = both(
            || facts.approver.run(&["approve", &activation]).unwrap(),
            || dev.run(&["cancel", &activation]).unwrap(),
        );
        let approved = said[0].ok();
        assert_one_of(said, "PC2016");
        if approved {
            dev.must(&["deactivate", &activation]).unwrap();
        }
    }
}
