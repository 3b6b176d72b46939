//! `portcullis proxy` for PostgreSQL: tools, applications and pools that know no tokens.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use e2e::sidecar::Sidecar;
use serde_json::{Value, json};
use testkit::process::Identity;
use testkit::stack::{Credential, Facts, Options, Person};
use testkit::{program, wait};

use crate::support::{assert_says, newcomer, own, own_with, shared};
use crate::token_service::{CLIENTS, python};

const USAGE: i32 = 2;
const NOT_SIGNED_IN: i32 = 4;

/// A sidecar with the workload's identity.
fn of_workload(facts: &Facts) -> Sidecar {
    let command = facts.api.portcullis(Credential::Certificate, &["proxy", "orders"]).unwrap();
    Sidecar::start(command).unwrap()
}

/// On a developer's machine.
fn of_person(person: &Person) -> Sidecar {
    Sidecar::start(person.portcullis(&["proxy", "orders", "--drain", "30s"])).unwrap()
}

/// A session that stays open: what is written to it is run line by line.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn open(proxy: &Sidecar) -> Self {
        let mut command = proxy.client("psql").unwrap();
        command.args(["-X", "-A", "-t"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut session = Self { child, input, output: BufReader::new(output) };
        assert_eq!(session.ask("select 'open'"), "open");
        session
    }

    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql};").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(self) -> program::Said {
        let Self { child, input, output } = self;
        drop((input, output));
        let ended = child.wait_with_output().unwrap();
        program::Said {
            command: "psql".to_owned(),
            code: ended.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }
}

#[test]
fn an_application_that_knows_no_tokens_works_with_any_user_and_password() {
    let proxy = of_workload(shared());
    let sql = "select session_user || ' in ' || current_database()";
    for mode in ["disable", "prefer", "allow"] {
        let mut command = proxy.client("psql").unwrap();
        command.args(["-X", "-A", "-t", "-c", sql]).env("PGSSLMODE", mode);
        let said = program::run(&mut command).unwrap().expect_success().unwrap();
        // The database is the server's own: the application named none, and its user is not ours.
        assert_eq!(said, "orders-api in orders", "sslmode={mode}");
    }
    let mut command = proxy.client("psql").unwrap();
    command.args(["-X", "-c", "select 1"]).env("PGDATABASE", "nowhere");
    let refused = program::run(&mut command).unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["FATAL:  PC1202"]);
}

/// What a driver of `no_tokens.py` saw through the proxy.
pub(crate) fn without_tokens(proxy: &Sidecar, driver: &str) -> Value {
    let mut command = program::clean(python());
    command.arg(format!("{CLIENTS}/no_tokens.py")).args([driver, proxy.port().unwrap()]);
    program::run(&mut command).unwrap().json().unwrap()
}

#[test]
fn a_driver_that_is_not_libpq_connects_with_what_stands_in_its_settings() {
    let proxy = of_workload(shared());
    let seen = without_tokens(&proxy, "pg8000");
    assert_eq!(seen, json!({ "users": vec![json!(["orders-api", 42]); 5], "error": "42703" }));
}

#[test]
fn a_pool_of_connections_works_in_every_way_of_asking() {
    let proxy = of_workload(shared());
    let script = tempfile::NamedTempFile::new().unwrap();
    let text =
        "\\set id random(1, 25000)\nselect count(*) from order_lines where order_id = :id;\n";
    std::fs::write(script.path(), text).unwrap();
    for protocol in ["simple", "extended", "prepared"] {
        let mut pgbench = proxy.client("pgbench").unwrap();
        pgbench.args(["-n", "-M", protocol, "-c", "8", "-C", "-t", "5", "-f"]);
        let said = program::run(pgbench.arg(script.path())).unwrap().expect_success().unwrap();
        assert_says(&said, &["40/40", "number of failed transactions: 0 (0.000%)"]);
    }
}

#[test]
fn megabytes_pass_whole_in_both_directions() {
    let proxy = of_workload(shared());
    let length = 5_000_000;
    let sql = format!(
        "select length(repeat('x', {length}));\nselect repeat('y', {length});\nselect length('{}');\n",
        "z".repeat(length)
    );
    let said = proxy.psql(&sql).unwrap().expect_success().unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[1].len(), lines[2]), ("5000000", length, "5000000"));
}

#[test]
fn ctrl_c_cancels_the_statement() {
    let proxy = of_workload(shared());
    let mut command = proxy.client("psql").unwrap();
    command.args(["-X", "-A", "-t", "-c", "select pg_sleep(300)"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let running = "select count(*) from pg_stat_activity where usename = 'orders-api' and query like '%pg_sleep(300)%' and wait_event = 'PgSleep'";
    wait::until(Duration::from_secs(20), "the statement", || {
        (proxy.psql(running).unwrap().stdout.trim() == "1").then_some(())
    });
    assert!(Identity::of(child.id()).unwrap().interrupt());
    let ended = child.wait_with_output().unwrap();
    assert_says(
        &String::from_utf8_lossy(&ended.stderr),
        &["canceling statement due to user request"],
    );
}

#[test]
fn a_pool_that_reconnects_after_its_first_token_has_expired_gets_in() {
    let configuration = "token: { databaseTokenLifetime: 4s }";
    let stack = own_with(&Options { configuration, ..Options::default() });
    let proxy = of_workload(&stack.facts);
    let mut first = Session::open(&proxy);
    // Every token of before is dead by then: one lives for four seconds and is renewed after three.
    wait::until(Duration::from_secs(40), "three renewals", || {
        (proxy.renewals() >= 3).then_some(())
    });
    // The session does not depend on the token that it began with, and new ones have another.
    assert_eq!(first.ask("select 'still here'"), "still here");
    for _ in 0..5 {
        proxy.psql("select 1").unwrap().expect_success().unwrap();
    }
    assert_eq!(first.end().code, 0);
}

#[test]
fn a_token_that_was_revoked_is_replaced_without_a_restart() {
    let stack = own();
    let facts = &stack.facts;
    let proxy = of_workload(facts);
    proxy.psql("select 1").unwrap().expect_success().unwrap();
    let revoke = ["application", "revoke-tokens", "orders-api", "--because", "seen in a log"];
    facts.admin.must(&revoke).unwrap();
    wait::until(Duration::from_secs(30), "a new token", || {
        proxy.psql("select 1").unwrap().ok().then_some(())
    });
    assert!(proxy.renewals() >= 1, "{}", proxy.said());
}

#[test]
fn after_the_gateway_was_away_connections_work_again_and_a_short_absence_is_only_waited_for() {
    let mut stack = own();
    let proxy = of_workload(&stack.facts);
    proxy.psql("select 1").unwrap().expect_success().unwrap();
    stack.stop_server().unwrap();
    let mut command = proxy.client("psql").unwrap();
    command.args(["-X", "-A", "-t", "-c", "select 'waited'"]);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stack.start_server().unwrap();
    let ended = waiting.wait_with_output().unwrap();
    let (said, error) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(said.trim(), "waited", "{error}");
    proxy.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn while_no_token_can_be_had_a_client_is_told_why_within_seconds_and_open_sessions_go_on() {
    let configuration = "token: { databaseTokenLifetime: 4s }";
    let stack = own_with(&Options { configuration, ..Options::default() });
    let facts = &stack.facts;
    let mut command = facts.api.portcullis(Credential::Secret, &["proxy", "orders"]).unwrap();
    let ca = facts.folder.join("ca-of-the-sidecar.pem");
    std::fs::copy(&facts.reach.ca, &ca).unwrap();
    let proxy = Sidecar::start({
        command.env("PORTCULLIS_CA", &ca);
        command
    })
    .unwrap();
    let mut session = Session::open(&proxy);
    // The sidecar can no longer tell the token service from a stranger.
    std::fs::remove_file(&ca).unwrap();
    wait::until(Duration::from_secs(30), "a token that could not be had", || {
        proxy.said().contains("no token could be fetched").then_some(())
    });
    let refused = wait::until(Duration::from_secs(30), "a refusal", || {
        let said = proxy.psql("select 1").unwrap();
        said.stderr.contains("no token could be had").then_some(said)
    });
    assert_says(&refused.stderr, &["FATAL:  portcullis proxy: no token could be had", "ca-of-the"]);
    assert_eq!(session.ask("select 'goes on'"), "goes on");
    // By itself, once what was wrong is right again.
    std::fs::copy(&facts.reach.ca, &ca).unwrap();
    wait::until(Duration::from_mins(1), "a token", || {
        proxy.psql("select 1").unwrap().ok().then_some(())
    });
    assert_eq!(session.end().code, 0);
}

#[test]
fn a_session_that_is_cut_hears_why() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    let activation = facts.activate(&person, "orders-readers", "10m").unwrap();
    let proxy = of_person(&person);
    let session = Session::open(&proxy);
    facts.approver.must(&["revoke", &activation, "--note", "the incident is over"]).unwrap();
    let mut session = session;
    // psql hears of it when it asks next.
    assert_eq!(session.ask("select 'unheard'"), "");
    assert_says(&session.end().stderr, &["PC1204"]);
    let refused = proxy.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["PC1203", "portcullis request orders-readers"]);
}

#[test]
fn asked_to_stop_it_takes_no_new_connections_and_lets_open_ones_finish() {
    let facts = shared();
    let mut proxy = of_workload(facts);
    let mut session = Session::open(&proxy);
    assert!(proxy.identity().terminate());
    wait::until(Duration::from_secs(10), "a closed port", || {
        TcpStream::connect(&proxy.address).is_err().then_some(())
    });
    assert_eq!(session.ask("select 'to the end'"), "to the end");
    assert_eq!(session.end().code, 0);
    assert_eq!(proxy.ended(Duration::from_secs(10)).unwrap(), 0);
}

#[test]
fn who_does_not_end_in_time_is_ended() {
    let facts = shared();
    let arguments = ["proxy", "orders", "--drain", "1s"];
    let command = facts.api.portcullis(Credential::Certificate, &arguments).unwrap();
    let mut proxy = Sidecar::start(command).unwrap();
    let session = Session::open(&proxy);
    assert!(proxy.identity().terminate());
    assert_eq!(proxy.ended(Duration::from_secs(20)).unwrap(), 0);
    drop(session.end());
}

#[test]
fn a_unix_socket_is_for_its_owner_and_goes_with_the_proxy() {
    let facts = shared();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join(".s.PGSQL.5432");
    let command = facts.api.portcullis(Credential::Certificate, &["proxy", "orders"]).unwrap();
    let listen = format!("unix:{}", socket.display());
    let mut proxy = Sidecar::start_at(command, &listen).unwrap();
    let mut command = program::clean("psql");
    command.args(["-X", "-A", "-t", "-h"]).arg(folder.path()).args(["-U", "me", "-c"]);
    let said = program::run(command.arg("select session_user")).unwrap();
    assert_eq!(said.expect_success().unwrap(), "orders-api");
    assert!(proxy.identity().terminate());
    assert_eq!(proxy.ended(Duration::from_secs(10)).unwrap(), 0);
    assert!(!socket.try_exists().unwrap());
}

#[test]
fn where_others_could_connect_it_does_not_listen_and_nobody_signed_in_is_said_at_once() {
    let facts = shared();
    for listen in ["0.0.0.0:5432", "10.1.2.3:5432", "[::]:5432"] {
        let refused = facts.admin.run(&["proxy", "orders", "--listen", listen]).unwrap();
        assert_says(&refused.expect_failure(USAGE).unwrap().stderr, &["acts as you"]);
    }
    let person = newcomer(facts, &["orders-readers"]);
    person.must(&["logout"]).unwrap();
    let said = person.run(&["proxy", "orders", "--listen", "127.0.0.1:0"]).unwrap();
    assert_says(&said.expect_failure(NOT_SIGNED_IN).unwrap().stderr, &["portcullis login"]);
}
