//! `kill -9` of the gateway and of the database under load, round after round: nothing that was acknowledged is lost,
//! and nothing of what was going on is left behind. `cargo xtask test --kill-loop ROUNDS` makes many of them.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use e2e::raw::Client;
use serde_json::Value;
use testkit::stack::{Credential, Facts, Person, Stack};
use testkit::{program, wait};

use crate::support::{newcomer, own};

const ROUNDS_DEFAULT: u64 = 6;
const CLIENTS: u64 = 3;
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
/// The whole log is verified so often besides at each start.
const VERIFIED_EVERY: u64 = 20;

/// Nobody may ask for access more than 60 times an hour.
const ROUNDS_OF_ONE: u64 = 50;

/// What a round kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Gateway,
    Database,
    Both,
}

/// What came back before the end.
#[derive(Debug, Default)]
struct Acknowledged {
    groups: Mutex<BTreeSet<String>>,
    statements: Mutex<BTreeSet<String>>,
}

/// The audit log, read on from where the last round stopped.
#[derive(Default)]
struct Records {
    segment: Option<PathBuf>,
    offset: u64,
    open: BTreeSet<String>,
    without_outcome: BTreeSet<(String, u64)>,
    statements: BTreeSet<String>,
}

impl Records {
    fn read_on(&mut self, facts: &Facts) {
        for segment in testkit::damage::segments(&facts.audit_log()).unwrap() {
            if self.segment.as_ref().is_some_and(|last| segment < *last) {
                continue;
            }
            if self.segment.as_ref() != Some(&segment) {
                (self.segment, self.offset) = (Some(segment.clone()), 0);
            }
            let mut file = std::fs::File::open(&segment).unwrap();
            file.seek(SeekFrom::Start(self.offset)).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            self.offset += whole as u64;
            text.get(..whole).unwrap_or_default().lines().for_each(|line| self.take(line));
        }
    }

    fn take(&mut self, line: &str) {
        let (_, json) = line.split_once(' ').unwrap();
        let event: Value = serde_json::from_str(json).unwrap();
        let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let statement = || (field("session"), event["number"].as_u64().unwrap_or_default());
        match event["type"].as_str().unwrap() {
            "sessionOpened" => drop(self.open.insert(field("session"))),
            "sessionEnded" => drop(self.open.remove(&field("session"))),
            "statement" => {
                self.without_outcome.insert(statement());
                self.statements.insert(field("sql"));
            }
            "statementOutcome" => drop(self.without_outcome.remove(&statement())),
            _ => {}
        }
    }
}

struct Round {
    number: u64,
    stop: AtomicBool,
    count: AtomicU64,
    acknowledged: Acknowledged,
}

impl Round {
    fn of(number: u64) -> Self {
        Self {
            number,
            stop: AtomicBool::new(false),
            count: AtomicU64::new(0),
            acknowledged: Acknowledged::default(),
        }
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The server paces it: as many statements as a round can still look through.
    fn run_statements(&self, facts: &Facts, token: &str) {
        while !self.over() {
            let Ok(mut client) = Client::open(&facts.reach, "orders-api", token) else { continue };
            while !self.over() {
                let count = self.count.fetch_add(1, Ordering::Relaxed);
                let sql = format!("select 'kill {}.{count}', pg_sleep(0.004)", self.number);
                if client.query(&sql).and_then(|()| client.read_until(b'Z')).is_err() {
                    break;
                }
                self.acknowledged.statements.lock().unwrap().insert(sql);
            }
        }
    }

    fn write_groups(&self, facts: &Facts) {
        for count in 0.. {
            if self.over() {
                return;
            }
            let name = format!("k{}-{count}", self.number);
            let document = format!(
                "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: {name} }}\nspec: {{}}\n"
            );
            if facts.apply(&document).unwrap().ok() {
                self.acknowledged.groups.lock().unwrap().insert(name);
            }
        }
    }

    /// The kill falls into the middle of all this, at another moment each time.
    fn under_load(&self, stack: &mut Stack, victim: Victim, ending: &(Person, String)) {
        let facts = stack.facts.clone();
        let token = facts.api.token(Credential::Secret).unwrap();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| self.run_statements(&facts, &token));
            }
            scope.spawn(|| self.write_groups(&facts));
            wait::until(SETTLED_WITHIN, "statements", || {
                (self.count.load(Ordering::Relaxed) > 2 * CLIENTS).then_some(())
            });
            let revocation = scope.spawn(|| facts.approver.run(&["revoke", &ending.1]).unwrap());
            wait::pause(Duration::from_millis(37 * (self.number % 11)));
            if victim != Victim::Database {
                stack.kill_server().unwrap();
            }
            if victim != Victim::Gateway {
                stack.postgres.kill().unwrap();
            }
            drop(revocation.join().unwrap());
            if victim == Victim::Database {
                stack.postgres.restart().unwrap();
            }
            self.stop.store(true, Ordering::Relaxed);
        });
        if victim == Victim::Both {
            stack.postgres.restart().unwrap();
        }
        if victim != Victim::Database {
            stack.start_server().unwrap();
        }
    }

    /// Groups and statements that were acknowledged are there; no session and no statement is left without its end.
    fn assert_nothing_lost(&self, stack: &Stack, records: &mut Records) {
        let facts = &stack.facts;
        let present = facts.admin.run(&["get", "groups", "-o", "json"]).unwrap().json().unwrap();
        let present: BTreeSet<&str> = present
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group.pointer("/metadata/name").unwrap().as_str().unwrap())
            .collect();
        let groups = self.acknowledged.groups.lock().unwrap();
        let lost: Vec<_> = groups.iter().filter(|name| !present.contains(name.as_str())).collect();
        assert!(lost.is_empty(), "round {}: lost groups {lost:?}", self.number);

        let unfinished = wait::try_until(SETTLED_WITHIN, || {
            records.read_on(facts);
            (records.open.is_empty() && records.without_outcome.is_empty()).then_some(())
        });
        assert!(
            unfinished.is_some(),
            "round {}: open {:?}, without outcome {:?}",
            self.number,
            records.open,
            records.without_outcome
        );
        let executed = std::fs::read_to_string(stack.postgres.log()).unwrap();
        let marker = format!("select 'kill {}.", self.number);
        let executed = executed.lines().filter_map(|line| line.split_once("statement: "));
        let executed = executed.map(|(_, sql)| sql).filter(|sql| sql.starts_with(&marker));
        let answered = self.acknowledged.statements.lock().unwrap();
        let lost: Vec<_> = executed
            .chain(answered.iter().map(String::as_str))
            .filter(|sql| !records.statements.contains(*sql))
            .collect();
        assert!(lost.is_empty(), "round {}: unrecorded {lost:?}", self.number);
        assert!(
            answered.len() > 3,
            "round {}: {} statements came through",
            self.number,
            answered.len()
        );
        records.statements.clear();
    }
}

/// A membership that is in use, and about to end.
fn begun(facts: &Facts, person: &Person) -> (Person, String) {
    let activation = facts.activate(person, "orders-readers", "30m").unwrap();
    wait::until(SETTLED_WITHIN, "their session", || {
        person.psql("select 1").unwrap().ok().then_some(())
    });
    (person.clone(), activation)
}

/// Revoked, by the killed command or by this one; then nothing of it is left inside the database.
fn assert_no_membership_left(stack: &Stack, (person, activation): &(Person, String)) {
    let facts = &stack.facts;
    let state = || {
        let document = facts.admin.run(&["get", "activations", activation, "-o", "json"]);
        document.unwrap().json().unwrap()["status"]["state"].as_str().unwrap().to_owned()
    };
    if state() != "revoked" {
        facts.approver.must(&["revoke", activation]).unwrap();
    }
    assert_eq!(state(), "revoked");
    let sql = format!(
        "select count(m.roleid), bool_or(u.rolcanlogin) from pg_roles u \
         left join pg_auth_members m on m.member = u.oid where u.rolname = '{}'",
        person.user
    );
    let mut last = String::new();
    let gone = wait::try_until(SETTLED_WITHIN, || {
        last = stack.postgres.psql("postgres", &sql).ok()?;
        (last == "0|f").then_some(())
    });
    assert!(gone.is_some(), "{} is still {last}", person.user);
}

fn rounds() -> u64 {
    let given = program::setting("PORTCULLIS_KILL_ROUNDS");
    given.map_or(ROUNDS_DEFAULT, |rounds| rounds.parse().unwrap())
}

#[test]
fn kill_minus_nine_loses_nothing_that_was_acknowledged_and_leaves_nothing_behind() {
    let mut stack = own();
    stack.postgres.psql("postgres", "alter system set log_statement = 'all'").unwrap();
    stack.postgres.reload().unwrap();
    let mut records = Records::default();
    let rounds = rounds();
    let mut person = newcomer(&stack.facts, &["orders-readers"]);
    for number in 0..rounds {
        if (number + 1) % ROUNDS_OF_ONE == 0 {
            person = newcomer(&stack.facts, &["orders-readers"]);
        }
        let victim = match number % 3 {
            0 => Victim::Gateway,
            1 => Victim::Database,
            _ => Victim::Both,
        };
        let ending = begun(&stack.facts, &person);
        let round = Round::of(number);
        round.under_load(&mut stack, victim, &ending);
        round.assert_nothing_lost(&stack, &mut records);
        assert_no_membership_left(&stack, &ending);
        if (number + 1) % VERIFIED_EVERY == 0 || number + 1 == rounds {
            let whole = stack.facts.on_host(&["audit", "verify"]).unwrap();
            assert!(whole.ok(), "round {number}: {whole}");
            println!("{} rounds of kill -9, nothing lost", number + 1);
        }
        // What was looked through is not looked through again.
        std::fs::File::create(stack.postgres.log()).unwrap();
    }
}
