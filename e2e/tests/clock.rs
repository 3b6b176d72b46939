//! The clock is moved, forward and back, also across a restart: never does access last longer for it.

use std::path::Path;
use std::time::Duration;

use testkit::stack::{Facts, Options, Person, Stack};
use testkit::wait;

use crate::support::{assert_says, newcomer, own_with};

const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// The server's wall clock as far from the true one as this says, such as `+2h` or `-30m`; its monotonic clock is true.
pub(crate) fn faked(offset: &str) -> Vec<(String, String)> {
    let library = LIBRARIES.iter().find(|path| Path::new(path).is_file());
    let library = library.unwrap_or_else(|| panic!("faketime is not installed"));
    [
        ("LD_PRELOAD", *library),
        ("FAKETIME", offset),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_RESET", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn reader(facts: &Facts, duration: &str) -> Person {
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", duration).unwrap();
    person.psql("select 1").unwrap().expect_success().unwrap();
    person
}

pub(crate) fn restart(stack: &mut Stack, offset: &str) {
    stack.stop_server().unwrap();
    stack.environment(&faked(offset));
    stack.start_server().unwrap();
}

/// The same person on a machine whose clock is off as the server's is: certificates have dates too.
pub(crate) fn with_clock(person: &Person, offset: &str) -> Person {
    let mut person = person.clone();
    person.reach.environment = faked(offset);
    person
}

fn state(admin: &Person) -> String {
    admin.must(&["get", "activations"]).unwrap()
}

/// Access ends with its deadline; that it has ended is written a moment later.
fn expired(admin: &Person) {
    wait::until(Duration::from_secs(15), "the activation's end, written", || {
        state(admin).contains("expired").then_some(())
    });
}

#[test]
fn an_activation_survives_a_restart_and_still_ends_at_its_deadline() {
    let mut stack = own_with(&Options::default());
    let dev = reader(&stack.facts, "12s");
    let token = dev.token().unwrap();
    stack.kill_server().unwrap();
    stack.start_server().unwrap();
    let facts = &stack.facts;
    facts.reach.psql(&dev.user, &token, "select 1").unwrap().expect_success().unwrap();
    let ended = wait::until(Duration::from_secs(30), "the deadline", || {
        let said = facts.reach.psql(&dev.user, &token, "select 1").unwrap();
        (!said.ok()).then_some(said)
    });
    // Under the second code when the deadline passed between the decision and the opening.
    let code = ["PC1203", "PC1204"].into_iter().find(|code| ended.stderr.contains(code));
    assert!(code.is_some(), "{ended}");
    expired(&facts.admin);
}

#[test]
fn a_clock_set_back_across_a_restart_does_not_extend_access() {
    let mut stack = own_with(&Options::default());
    let dev = reader(&stack.facts, "15s");
    let token = dev.token().unwrap();
    restart(&mut stack, "-1h");
    let facts = &stack.facts;
    wait::until(Duration::from_secs(40), "the deadline by true time", || {
        let said = facts.reach.psql(&dev.user, &token, "select 1").unwrap();
        (!said.ok()).then_some(())
    });
    expired(&facts.admin);
}

#[test]
fn a_deadline_that_passed_while_the_server_was_down_is_kept_at_its_start() {
    let mut stack = own_with(&Options::default());
    let dev = reader(&stack.facts, "5s");
    let token = dev.token().unwrap();
    stack.stop_server().unwrap();
    let sql = format!("select rolcanlogin from pg_roles where rolname = '{}'", dev.user);
    assert_eq!(stack.postgres.psql("postgres", &sql).unwrap(), "t");
    wait::pause(Duration::from_secs(5));

    stack.start_server().unwrap();
    let refused = stack.facts.reach.psql(&dev.user, &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["PC1203"]);
    wait::until(Duration::from_secs(15), "the withdrawn login", || {
        (stack.postgres.psql("postgres", &sql).unwrap() == "f").then_some(())
    });
}

#[test]
fn a_clock_set_forward_and_back_again_does_not_bring_ended_access_back() {
    let mut stack = own_with(&Options::default());
    let dev = reader(&stack.facts, "10m");
    let token = dev.token().unwrap();
    restart(&mut stack, "+20m");
    let late = with_clock(&stack.facts.admin, "+20m");
    wait::until(Duration::from_secs(15), "the end", || {
        state(&late).contains("expired").then_some(())
    });
    restart(&mut stack, "+0");
    for offset in ["+0", "+20m"] {
        let dev = with_clock(&dev, offset);
        let refused = dev.reach.psql(&dev.user, &token, "select 1").unwrap();
        assert_eq!(refused.code, 2, "{refused}");
    }
    let at_true_time = with_clock(&stack.facts.admin, "+0");
    let seen = at_true_time.run(&["get", "activations"]).unwrap();
    assert!(!seen.ok() || seen.stdout.contains("expired"), "{seen}");
}
