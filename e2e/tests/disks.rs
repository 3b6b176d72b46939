//! A disk that fails under the store and the audit log, at the first write or sync of a scripted day, at the second, and
//! so on: whatever was accepted is there after a restart, and nothing goes on as if it had been written.
//! `cargo xtask test --failing-disk` lets every single one fail; the usual run lets some.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use testkit::disk::{Came, FailingDisk, Fault};
use testkit::program;
use testkit::stack::{Credential, Facts, Person, Stack};

use crate::support::{newcomer, own};

/// Of the calls of each kind the usual run lets so many fail, spread over the day.
const SOME: u64 = 2;

const DAYS_OF_ONE: u32 = 50;

/// What was accepted on a day.
#[derive(Debug, Default)]
struct Accepted {
    statements: Vec<String>,
    groups: Vec<String>,
    active: Vec<String>,
    revoked: Vec<String>,
    cut: bool,
    /// What was not, and how it was said.
    refused: Vec<String>,
}

struct Day<'a> {
    facts: &'a Facts,
    person: &'a Person,
    /// Tokens got before the disk fails, so that what fails is what is asked for.
    tokens: [String; 2],
    name: String,
    accepted: Accepted,
}

impl Day<'_> {
    /// Login, statement, activation, login under it, cut, apply, revocation.
    fn live(mut self) -> Accepted {
        let [workload, person] = self.tokens.clone();
        self.statement("orders-api", &workload, 1);
        let activation = self.person.request("orders-readers", "10m");
        match activation.and_then(|id| self.facts.approver.must(&["approve", &id]).map(|_| id)) {
            Err(error) => self.accepted.refused.push(format!("{error:#}")),
            Ok(activation) => {
                self.accepted.active.push(activation.clone());
                let user = self.person.user.clone();
                self.statement(&user, &person, 2);
                self.cut();
                self.statement("orders-api", &workload, 3);
                self.group();
                let revoked = self.facts.approver.run(&["revoke", &activation]).unwrap();
                if revoked.ok() {
                    self.accepted.active.clear();
                    self.accepted.revoked.push(activation);
                } else {
                    self.accepted.refused.push(revoked.stderr);
                }
            }
        }
        self.group();
        self.statement("orders-api", &workload, 4);
        self.accepted
    }

    fn statement(&mut self, user: &str, token: &str, number: u32) {
        let sql = format!("select 'disk {}.{number}'", self.name);
        let said = self.facts.reach.psql(user, token, &sql).unwrap();
        if said.ok() {
            self.accepted.statements.push(sql);
        } else {
            self.accepted.refused.push(said.stderr);
        }
    }

    fn cut(&mut self) {
        let cut = ["cut", "--principal", "orders-api", "--because", "the scripted day"];
        self.accepted.cut = self.facts.admin.run(&cut).unwrap().ok();
    }

    fn group(&mut self) {
        let name = format!("{}-{}", self.name, self.accepted.groups.len());
        let document = format!(
            "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: {name} }}\nspec: {{}}\n"
        );
        let said = self.facts.apply(&document).unwrap();
        if said.ok() {
            self.accepted.groups.push(name);
        } else {
            self.accepted.refused.push(said.stderr);
        }
    }
}

struct Walk {
    stack: Stack,
    disk: FailingDisk,
    person: Person,
    /// Nobody may ask for access more than 60 times an hour.
    days_of_one: u32,
    _scratch: tempfile::TempDir,
}

impl Walk {
    fn begin() -> Self {
        let mut stack = own();
        let scratch = tempfile::tempdir().unwrap();
        let data = stack.facts.folder.join("data").canonicalize().unwrap();
        let disk = FailingDisk::create(&data, scratch.path()).unwrap();
        let person = newcomer(&stack.facts, &["orders-readers"]);
        stack.environment(disk.environment());
        stack.stop_server().unwrap();
        stack.start_server().unwrap();
        Self { stack, disk, person, days_of_one: 0, _scratch: scratch }
    }

    /// One day on which this call fails; what the disk saw of it.
    fn day(&mut self, fault: Fault, at: u64) -> Came {
        let facts = self.stack.facts.clone();
        self.days_of_one += 1;
        if self.days_of_one.is_multiple_of(DAYS_OF_ONE) {
            self.person = newcomer(&facts, &["orders-readers"]);
        }
        let tokens = [facts.api.token(Credential::Secret).unwrap(), self.person.token().unwrap()];
        let name = format!("{fault:?}-{at}").to_lowercase();
        let log_before = said(&facts).len();
        self.disk.arm(fault, at).unwrap();
        let (facts_of_day, person) = (&facts, &self.person);
        let day = Day {
            facts: facts_of_day,
            person,
            tokens,
            name: name.clone(),
            accepted: Accepted::default(),
        };
        let accepted = day.live();
        let came = self.disk.disarm().unwrap();
        self.stack.stop_server().unwrap();
        let said = said(&facts).split_off(log_before);
        let what = format!("{name}: {:?}, {accepted:?}\n{said}", came.failed);
        if came.failed.is_none() {
            assert_eq!(accepted.refused, [""; 0], "{what}");
            assert!(accepted.cut, "{what}");
        } else {
            assert!(said.contains("ERROR") || said.contains("WARN"), "nothing was said of {what}");
        }
        self.stack.start_server().unwrap_or_else(|error| panic!("{error:#}\n{what}"));
        assert_consistent(&self.stack, &accepted, &what);
        self.tidy_up();
        came
    }

    /// What was refused may hold all the same; the next day begins without it.
    fn tidy_up(&self) {
        let facts = &self.stack.facts;
        let all = facts.admin.run(&["get", "activations", "-o", "json"]).unwrap().json().unwrap();
        for one in all.as_array().unwrap() {
            let text = |pointer: &str| one.pointer(pointer).and_then(Value::as_str);
            let id = text("/metadata/name").unwrap();
            match text("/status/state").unwrap_or("requested") {
                "active" => drop(facts.approver.must(&["revoke", id]).unwrap()),
                "requested" => drop(facts.approver.must(&["deny", id]).unwrap()),
                _ => {}
            }
        }
    }
}

/// What the server printed.
fn said(facts: &Facts) -> String {
    fs::read_to_string(facts.log()).unwrap()
}

fn names(documents: &Value) -> BTreeSet<&str> {
    let documents = documents.as_array().unwrap().iter();
    documents.map(|one| one.pointer("/metadata/name").unwrap().as_str().unwrap()).collect()
}

/// What was accepted is there, in the store, in the log and in the database, and the log is whole.
fn assert_consistent(stack: &Stack, accepted: &Accepted, what: &str) {
    let facts = &stack.facts;
    let whole = facts.on_host(&["audit", "verify"]).unwrap();
    assert!(whole.ok(), "{whole}\n{what}");
    let groups = facts.admin.run(&["get", "groups", "-o", "json"]).unwrap().json().unwrap();
    let present = names(&groups);
    let lost: Vec<_> =
        accepted.groups.iter().filter(|name| !present.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "lost groups {lost:?}\n{what}");
    for (ids, state) in [(&accepted.active, "active"), (&accepted.revoked, "revoked")] {
        for id in ids {
            let document = facts.admin.run(&["get", "activations", id, "-o", "json"]).unwrap();
            let document = document.json().unwrap();
            // A write that was refused because its sync failed may hold all the same.
            let held = document["status"]["state"].as_str().unwrap();
            assert!(held == state || held == "revoked", "{id} is {held}, not {state}\n{what}");
        }
    }
    let log: String = testkit::damage::segments(&facts.audit_log())
        .unwrap()
        .iter()
        .map(|segment| fs::read_to_string(segment).unwrap())
        .collect();
    let lost: Vec<_> = accepted.statements.iter().filter(|sql| !log.contains(*sql)).collect();
    assert!(lost.is_empty(), "unrecorded {lost:?}\n{what}");
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn whichever_write_or_sync_fails_nothing_accepted_is_lost_and_a_restart_heals() {
    let every = program::setting("PORTCULLIS_FAILING_DISK");
    let wanted = |fault: &Fault| match every.as_deref() {
        None | Some("every") => true,
        Some(one) => format!("{fault:?}").eq_ignore_ascii_case(one),
    };
    let mut walk = Walk::begin();
    for fault in Fault::ALL.into_iter().filter(wanted) {
        // A day without a failure says how many calls there are.
        let calls = walk.day(fault, 0).calls;
        assert!(calls > 10, "{fault:?}: only {calls} calls in a day");
        let step = if every.is_some() { 1 } else { calls / SOME };
        let mut fired = 0;
        for at in (1..=calls).step_by(usize::try_from(step).unwrap()) {
            let came = walk.day(fault, at);
            println!("{fault:?} {at} of {calls}: {}", came.failed.as_deref().unwrap_or("none"));
            fired += u64::from(came.failed.is_some());
        }
        assert!(fired > 1, "{fault:?}: {fired} calls failed");
    }
}
