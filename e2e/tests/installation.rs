//! The installation's own acts: adopting a database user, rotating keys, finding the way back in, being watched.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use e2e::raw::Client;
use serde_json::Value;
use testkit::program::{self, Said};
use testkit::stack::{ADMIN, API, Credential, Person, SERVER, Stack};
use testkit::wait;

use crate::support::{assert_says, newcomer, own, shared, text};

fn adopt(owner: &Person, user: &str, principal: &str) -> Said {
    let words = ["server", "adopt", SERVER, "--user", user, "--principal", principal];
    owner.run(&words).unwrap()
}

/// The pass in what a command printed for people.
fn pass(printed: &str) -> String {
    let line = printed.lines().map(str::trim).find(|line| line.len() == 29 && line.contains('-'));
    line.unwrap_or_else(|| panic!("no pass in {printed}")).to_owned()
}

#[test]
fn an_existing_database_user_is_managed_only_after_an_owner_adopted_it() {
    let stack = own();
    let facts = &stack.facts;
    let person = newcomer(facts, &["orders-readers"]);
    let user = person.user.as_str();
    stack.postgres.psql("orders", &format!("create role \"{user}\" login password 'old'")).unwrap();
    facts.activate(&person, "orders-readers", "10m").unwrap();
    let refused = person.psql("select 1").unwrap();
    assert_says(&refused.stderr, &["PC1304", "portcullis server adopt"]);

    let by_themselves = adopt(&person, user, user).expect_failure(3).unwrap();
    assert_says(&by_themselves.stderr, &["PC2002"]);
    let someone_elses = adopt(&facts.admin, "postgres", user).expect_failure(3).unwrap();
    assert_says(&someone_elses.stderr, &["PC1109"]);
    adopt(&facts.admin, user, user).expect_success().unwrap();
    let name = person.psql("select session_user").unwrap().expect_success().unwrap();
    assert_eq!(name, user);
    let password = format!("select rolpassword is null from pg_authid where rolname = '{user}'");
    assert_eq!(stack.postgres.psql("orders", &password).unwrap().trim(), "t");
    let recorded = facts.audit(&["--type", "write", "--text", "adoptDatabaseUser"]).unwrap();
    let outcomes: Vec<&Value> = recorded.iter().map(|event| &event["outcome"]).collect();
    assert_eq!(*outcomes.last().unwrap(), "succeeded", "{recorded:?}");
}

#[test]
fn a_database_user_with_attributes_is_never_adopted() {
    let stack = own();
    let person = newcomer(&stack.facts, &[]);
    let user = person.user.as_str();
    for attribute in ["superuser", "replication", "bypassrls", "createrole"] {
        let role = format!("drop role if exists \"{user}\"; create role \"{user}\" {attribute}");
        stack.postgres.psql("orders", &role).unwrap();
        let refused = adopt(&stack.facts.admin, user, user).expect_failure(3).unwrap();
        assert_says(&refused.stderr, &["PC1304", &attribute.to_uppercase()]);
    }
}

#[test]
fn the_first_words_of_the_next_start_say_what_was_done_while_nobody_recorded() {
    let mut stack = own();
    let running = stack.facts.on_host(&["recover-owner", ADMIN]).unwrap();
    assert_says(&running.expect_failure(1).unwrap().stderr, &["stop the server first"]);
    stack.stop_server().unwrap();
    stack.facts.on_host(&["master-key", "rotate"]).unwrap().expect_success().unwrap();
    let printed = stack.facts.on_host(&["recover-owner", ADMIN]).unwrap().expect_success().unwrap();
    stack.start_server().unwrap();

    // What was sealed under the former key opens under the new one.
    stack.facts.api.psql("select 1").unwrap().expect_success().unwrap();
    stack.facts.dev.sign_in().unwrap();
    let old_key = stack.facts.admin.sign_in().unwrap_err();
    assert_says(&format!("{old_key:#}"), &["PC2021"]);
    stack.facts.admin.enrol(&pass(&printed)).unwrap();
    stack.facts.admin.must(&["get", "users"]).unwrap();

    let events = stack.facts.audit(&[]).unwrap();
    let stopped = events.iter().position(|event| event["type"] == "stopped").unwrap();
    let next: Vec<&str> = events[stopped + 1..].iter().take(3).map(word).collect();
    assert_eq!(next, ["masterKeyRotated", "ownerRecovered", "started"]);
}

/// An event's action where it has one, else its type.
fn word(event: &Value) -> &str {
    event["action"].as_str().unwrap_or_else(|| text(event, "/type"))
}

fn enroll(stack: &Stack) {
    let mut command = stack.facts.admin.portcullis(&["server", "enroll", SERVER, "--apply"]);
    command.arg("--data-directory").arg(stack.postgres.data_directory());
    command.arg("--socket-directory").arg(stack.postgres.socket_directory());
    command.args(["--os-user", stack.postgres.os_user(), "--superuser", "postgres"]);
    program::run(&mut command).unwrap().expect_success().unwrap();
}

#[test]
fn a_servers_authority_is_rotated_in_two_steps_and_no_login_fails_between_them() {
    let stack = own();
    let login = || stack.facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let rotate = || {
        let words = ["authority", "rotate", "--server", SERVER, "-o", "json"];
        stack.facts.admin.run(&words).unwrap().json().unwrap()
    };
    let published = rotate();
    assert_eq!(published["phase"], "published");
    assert_eq!(text(&published, "/pem").matches("BEGIN CERTIFICATE").count(), 2);
    login();
    enroll(&stack);
    login();
    let took_over = rotate();
    assert_eq!(took_over["phase"], "tookOver");
    login();
    enroll(&stack);
    login();
    let trusted =
        std::fs::read_to_string(stack.postgres.data_directory().join("portcullis-client-ca.pem"))
            .unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 1);
    assert_eq!(trusted.trim(), text(&took_over, "/pem").trim());
}

#[test]
fn a_session_can_be_asked_about_by_whose_it_was_and_by_auditors_only() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    let refused = person.psql("select 1").unwrap();
    let session = refused.stderr.split_whitespace().skip_while(|word| *word != "session").nth(1);
    let session = session.unwrap();
    for (someone, code) in [(&person, 0), (&facts.auditor, 0), (&facts.dev, 1)] {
        let said = someone.run(&["why", session]).unwrap();
        assert_eq!(said.code, code, "{}: {said}", someone.user);
        if code == 0 {
            assert_says(&said.stdout, &["session refused", "PC1203", &person.user]);
        }
    }
}

fn curl(stack: &Stack, path: &str) -> Said {
    let mut command: Command = program::clean("curl");
    let reach = &stack.facts.reach;
    command.args(["--silent", "--show-error", "--max-time", "10", "--cacert"]).arg(&reach.ca);
    program::run(command.arg(format!("{}{path}", reach.url))).unwrap()
}

#[test]
fn monitoring_sees_health_readiness_and_figures() {
    let stack = own();
    assert_eq!(curl(&stack, "/healthz").expect_success().unwrap(), "ok");
    let ready = curl(&stack, "/readyz").json().unwrap();
    assert_eq!(ready, serde_json::json!({ "ready": true, "reasons": [] }));
    stack.facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let figures = wait::until(Duration::from_secs(10), "the session among the figures", || {
        let figures = curl(&stack, "/metrics").expect_success().unwrap();
        figures.contains("portcullis_sessions_ended_total{reason=\"client\"} 1").then_some(figures)
    });
    assert_says(&figures, &["portcullis_statements_total 1", "# EOF"]);
}

#[test]
fn the_figures_of_a_session_grow_while_it_lives() {
    let stack = own();
    let facts = &stack.facts;
    let figures = || curl(&stack, "/metrics").expect_success().unwrap();
    let bytes = |direction: &str| -> u64 {
        let name = format!("portcullis_session_bytes_total{{direction=\"{direction}\"}} ");
        let figures = figures();
        figures.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut client = Client::open(&facts.reach, API, &token).unwrap();
    let before = (bytes("in"), bytes("out"));
    let sql = "select 'a query of its length'";
    client.message(b'Q', format!("{sql}\0").as_bytes()).unwrap();
    client.read_until(b'Z').unwrap();
    assert_says(&figures(), &["portcullis_statements_total 1\n", "portcullis_sessions_open 1\n"]);
    // Tag, length and the closing zero.
    assert_eq!(bytes("in") - before.0, u64::try_from(sql.len() + 6).unwrap());
    assert!(bytes("out") > before.1);
}

/// CVE-2026-7776 (handshakes that never end) and GHSA-78rf-vg74-7cr8 (a slow client holds the accept loop), on our own
/// HTTPS server.
#[test]
fn cve_2026_7776_handshakes_that_never_end_keep_nobody_out() {
    let stack = own();
    let port = stack.facts.reach.url.rsplit(':').next().unwrap().parse().unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut silent: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(curl(&stack, "/healthz").expect_success().unwrap(), "ok");
    stack.facts.dev.must(&["get", "users"]).unwrap();
    // Each is closed by the server, without a byte.
    let first = silent.first_mut().unwrap();
    first.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn plain_http_on_the_origins_port_gets_no_answer_in_the_clear() {
    let facts = shared();
    let port: u16 = facts.reach.url.rsplit(':').next().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = Vec::new();
    // A reset counts as no answer too.
    drop(stream.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
