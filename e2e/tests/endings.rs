//! How access ends while a session is open: each cause cuts it, tells the client why, and is recorded.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::stack::federation::JOB;
use testkit::stack::{Credential, Facts, Person, Workload};
use testkit::wait;

use crate::support::{assert_says, events, newcomer, now, own, shared, text};

/// From the moment at which access ends to the client's error, on a busy machine. The demo and the benchmark hold the
/// tighter bound on a quiet one.
const CUT_WITHIN: Duration = Duration::from_secs(2);

/// `psql` with a running statement, so that it reads all the time.
pub(crate) struct Open {
    psql: Child,
}

impl Open {
    fn of(facts: &Facts, user: &str, token: &str) -> Self {
        let mut psql = facts.reach.client("psql", user, token);
        psql.args(["-X", "-c", "select pg_sleep(120)"]).stdin(Stdio::null());
        let psql = psql.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait::until(Duration::from_secs(20), "the session", || {
            let sessions = facts.admin.must(&["sessions", "--principal", user]).ok()?;
            sessions.contains("pg_sleep").then_some(())
        });
        Self { psql }
    }

    pub(crate) fn of_person(facts: &Facts, person: &Person) -> Self {
        Self::of(facts, &person.user, &person.token().unwrap())
    }

    fn of_workload(facts: &Facts, workload: &Workload) -> Self {
        let token = workload.token(Credential::Secret).unwrap();
        Self::of(facts, &workload.application, &token)
    }

    /// What the client was told, and when its reading returned.
    pub(crate) fn end(mut self) -> (String, Instant) {
        let mut said = String::new();
        let mut stderr = self.psql.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let at = now();
        self.psql.wait().unwrap();
        (said, at)
    }

    /// Fails unless the client is told this soon after `cause`.
    #[track_caller]
    fn assert_cut(self, cause: Instant, expected: &[&str]) {
        let (said, at) = self.end();
        assert_says(&said, expected);
        let late = at.saturating_duration_since(cause);
        assert!(late < CUT_WITHIN, "the cut took {late:?}");
    }

    fn still_open(&mut self) -> bool {
        self.psql.try_wait().unwrap().is_none()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.still_open() {
            self.psql.kill().unwrap();
            self.psql.wait().unwrap();
        }
    }
}

fn reader(facts: &Facts, duration: &str) -> (Person, String) {
    let person = newcomer(facts, &["orders-readers"]);
    let activation = facts.activate(&person, "orders-readers", duration).unwrap();
    (person, activation)
}

/// The recorded cut of this person's session.
fn cut_of(facts: &Facts, user: &str) -> Value {
    wait::until(Duration::from_secs(20), "the whole record of the cut", || {
        let cuts = events(facts, "sessionCut", user);
        cuts.last().filter(|cut| cut.pointer("/backendGoneAt").is_some()).cloned()
    })
}

#[test]
fn expiry_cuts_the_open_session_at_its_deadline_and_the_record_says_all() {
    let facts = shared();
    let (dev, activation) = reader(facts, "6s");
    let session = Open::of_person(facts, &dev);
    let (said, _) = session.end();
    assert_says(&said, &["FATAL:", "PC1204", "orders-readers", "HINT:"]);

    let cut = cut_of(facts, &dev.user);
    let instant = |pointer| text(&cut, pointer).parse::<model::Timestamp>().unwrap();
    let document = facts.admin.run(&["get", "activations", &activation, "-o", "json"]).unwrap();
    let document = document.json().unwrap();
    assert_eq!(text(&document, "/status/state"), "expired");
    assert_eq!(text(&cut, "/causeAt"), text(&document, "/status/activeUntil"));
    let cause = instant("/causeAt");
    assert!(instant("/lastForwardedAt") <= instant("/stoppedAt"));
    assert!(instant("/stoppedAt").since(cause) < CUT_WITHIN);
    assert!(instant("/clientClosedAt").since(cause) < CUT_WITHIN);
    assert!(instant("/backendGoneAt") >= cause);
}

#[test]
fn a_revocation_cuts_the_open_session_and_names_who_took_it_back() {
    let facts = shared();
    let (dev, activation) = reader(facts, "10m");
    let session = Open::of_person(facts, &dev);
    let cause = now();
    facts.approver.must(&["revoke", &activation, "--note", "enough"]).unwrap();
    session.assert_cut(cause, &["FATAL:", "PC1204", "orders-readers"]);

    let session = text(&cut_of(facts, &dev.user), "/session").to_owned();
    let why = facts.admin.must(&["why", &session]).unwrap();
    assert_says(&why, &["PC1204", "Cause at", "Client closed at"]);
}

#[test]
fn a_disabled_person_is_cut_and_cannot_come_back() {
    let facts = shared();
    let (dev, _) = reader(facts, "10m");
    let token = dev.token().unwrap();
    let session = Open::of(facts, &dev.user, &token);
    let cause = now();
    let user = &dev.user;
    facts.apply(&format!(
        "apiVersion: portcullis.dev/v1\nkind: User\nmetadata: {{ name: {user} }}\nspec: {{ displayName: {user}, enabled: false }}\n"
    )).unwrap().expect_success().unwrap();
    session.assert_cut(cause, &["FATAL:", "PC1111"]);
    let again = facts.reach.psql(user, &token, "select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&again.stderr, &["PC1111"]);
}

#[test]
fn a_revoked_token_cuts_the_sessions_that_it_opened() {
    let facts = shared();
    let (dev, _) = reader(facts, "10m");
    let session = Open::of_person(facts, &dev);
    let cause = now();
    facts.admin.must(&["user", "revoke-tokens", &dev.user, "--because", "lost laptop"]).unwrap();
    session.assert_cut(cause, &["FATAL:", "PC1108"]);
}

#[test]
fn an_administrators_cut_says_by_whom_and_why_and_the_person_may_come_back() {
    let facts = shared();
    let (dev, _) = reader(facts, "10m");
    let session = Open::of_person(facts, &dev);
    let cause = now();
    facts.admin.must(&["cut", "--principal", &dev.user, "--because", "maintenance"]).unwrap();
    session.assert_cut(cause, &["FATAL:", "PC1501", "maintenance"]);
    dev.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn one_persons_end_does_not_touch_anothers_session() {
    let facts = shared();
    let (dev, activation) = reader(facts, "10m");
    let (other, _) = reader(facts, "10m");
    let cut = Open::of_person(facts, &dev);
    let mut stays = Open::of_person(facts, &other);
    let cause = now();
    facts.approver.must(&["revoke", &activation]).unwrap();
    cut.assert_cut(cause, &["PC1204"]);
    wait::pause(Duration::from_millis(500));
    assert!(stays.still_open());
}

#[test]
fn losing_one_of_several_roles_cuts_and_what_remains_opens_again() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers", "orders-writers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let writer = facts.activate(&dev, "orders-writers", "10m").unwrap();
    let session = Open::of_person(facts, &dev);
    let cause = now();
    facts.approver.must(&["revoke", &writer]).unwrap();
    session.assert_cut(cause, &["FATAL:", "PC1208"]);
    dev.psql("select count(*) from orders").unwrap().expect_success().unwrap();
    let write = dev.psql("update orders set status = 'new' where id = 3").unwrap();
    assert_says(&write.stderr, &["permission denied for table orders"]);
}

#[test]
fn the_database_user_cannot_log_in_around_the_gateway_once_access_has_ended() {
    let stack = own();
    let facts = &stack.facts;
    let (dev, activation) = reader(facts, "10m");
    dev.psql("select 1").unwrap().expect_success().unwrap();
    // As if somebody had opened the server to everyone on its host.
    let hba = stack.postgres.data_directory().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local orders all trust\n{rules}")).unwrap();
    stack.postgres.reload().unwrap();
    let around = || stack.postgres.psql_as(&dev.user, "orders", "select session_user");
    wait::until(Duration::from_secs(10), "the open door", || around().ok());

    facts.approver.must(&["revoke", &activation]).unwrap();
    // A login that is under way meanwhile may pass the one check and fail the next.
    wait::until(Duration::from_secs(10), "the closed login", || {
        around().err().filter(|error| format!("{error:#}").contains("is not permitted to log in"))
    });
}

#[test]
fn a_deleted_assignment_cuts_the_workload() {
    let stack = own();
    let facts = &stack.facts;
    let api = Open::of_workload(facts, &facts.api);
    let cause = now();
    facts.admin.must(&["delete", "roleassignment", "orders-api-reads"]).unwrap();
    api.assert_cut(cause, &["FATAL:", "PC1204"]);
    let refused = facts.api.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["PC1203"]);
}

#[test]
fn a_deleted_firewall_rule_cuts_and_keeps_out() {
    let stack = own();
    let facts = &stack.facts;
    let (dev, _) = reader(facts, "10m");
    facts.apply(&document(facts, "enabled")).unwrap().expect_success().unwrap();
    let rule = "apiVersion: portcullis.dev/v1\nkind: FirewallRule\nmetadata: { name: here }\n\
                spec: { server: orders, startIpAddress: 127.0.0.1, endIpAddress: 127.0.0.1 }\n";
    facts.apply(rule).unwrap().expect_success().unwrap();
    let session = Open::of_person(facts, &dev);
    let cause = now();
    facts.admin.must(&["delete", "firewallrule", "here"]).unwrap();
    session.assert_cut(cause, &["FATAL:", "PC1506"]);
    let refused = dev.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["PC1001"]);
}

/// The stack's server with another `publicNetworkAccess`.
fn document(facts: &Facts, access: &str) -> String {
    let seed = facts.folder.join("seed/2-server.yaml");
    let text = std::fs::read_to_string(seed).unwrap();
    text.replace("publicNetworkAccess: disabled", &format!("publicNetworkAccess: {access}"))
}

#[test]
fn a_managed_identity_that_is_disabled_loses_its_sessions_and_gets_no_others() {
    let stack = own();
    let facts = &stack.facts;
    let token = facts.federation.database_token(&facts.reach).unwrap();
    let session = Open::of(facts, JOB, &token);
    let seed = std::fs::read_to_string(facts.folder.join("seed/7-federation.yaml")).unwrap();
    let disabled =
        seed.replace("displayName: Orders job", "displayName: Orders job\n  enabled: false");
    let cause = now();
    facts.apply(&disabled).unwrap().expect_success().unwrap();
    session.assert_cut(cause, &["FATAL:", "PC1111", "`orders-job` is disabled"]);
    let refused = facts.reach.psql(JOB, &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["PC1111"]);
    let refused = facts.federation.database_token(&facts.reach).unwrap_err();
    assert_says(&format!("{refused:#}"), &["AADSTS7000112"]);
}
