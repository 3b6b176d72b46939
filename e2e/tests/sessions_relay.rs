//! What passes through an open session: everything that passes without a gateway, and all of it recorded.

use std::time::Duration;

use e2e::raw::{self, Client, Message};
use serde_json::Value;
use testkit::program;
use testkit::stack::{Credential, Facts, Person};
use testkit::wait;

use crate::support::{assert_says, events, newcomer, shared, text};

fn writer(facts: &Facts) -> Person {
    let person = newcomer(facts, &["orders-writers"]);
    facts.activate(&person, "orders-writers", "10m").unwrap();
    person
}

fn opened_as(facts: &Facts, person: &Person) -> Client {
    Client::open(&facts.reach, &person.user, &person.token().unwrap()).unwrap()
}

fn opened(facts: &Facts) -> Client {
    let token = facts.api.token(Credential::Secret).unwrap();
    Client::open(&facts.reach, "orders-api", &token).unwrap()
}

/// All messages up to the next ReadyForQuery.
fn answer(client: &mut Client) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let message = client.read().unwrap();
        let ready = message.tag == b'Z';
        messages.push(message);
        if ready {
            return messages;
        }
    }
}

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// The only column of the first row.
fn first_value(messages: &[Message]) -> String {
    let row = messages.iter().find(|message| message.tag == b'D').unwrap();
    String::from_utf8_lossy(&row.body[6..]).into_owned()
}

fn asked(client: &mut Client, sql: &str) -> Vec<Message> {
    client.query(sql).unwrap();
    answer(client)
}

fn bind(values: &[&[u8]]) -> Vec<u8> {
    let mut body = b"\0s\0\0\0".to_vec();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
    }
    body.extend([0, 0]);
    body
}

/// Statements of the session in which this text occurs, and their outcomes, in order.
fn recorded(facts: &Facts, needle: &str) -> Vec<(Value, Value)> {
    let statements = events(facts, "statement", needle);
    let session = text(&statements[0], "/session").to_owned();
    let outcomes = wait::until(Duration::from_secs(10), "every outcome", || {
        let outcomes = facts.audit(&["--type", "statementOutcome", "--session", &session]).unwrap();
        let has = |statement: &Value| outcomes.iter().any(|o| o["number"] == statement["number"]);
        statements.iter().all(has).then_some(outcomes)
    });
    let outcome = |statement: &Value| {
        outcomes.iter().find(|outcome| outcome["number"] == statement["number"]).unwrap().clone()
    };
    statements.iter().map(|statement| (statement.clone(), outcome(statement))).collect()
}

#[test]
fn copy_in_and_out_pass_and_are_recorded_with_their_rows() {
    let facts = shared();
    let person = writer(facts);
    let script = "create temp table copied (id int, name text);\n\
                  copy copied from stdin;\n1\tone\n2\ttwo\n3\tthree\n\\.\n\
                  copy copied to stdout;\n";
    let said = person.psql(script).unwrap().expect_success().unwrap();
    assert_says(&said, &["1\tone\n2\ttwo\n3\tthree"]);
    let session = text(&events(facts, "sessionOpened", &person.user)[0], "/session").to_owned();
    let outcomes = wait::until(Duration::from_secs(10), "three outcomes", || {
        let outcomes = facts.audit(&["--type", "statementOutcome", "--session", &session]).unwrap();
        (outcomes.len() == 3).then_some(outcomes)
    });
    let rows: Vec<_> = outcomes.iter().map(|outcome| outcome["rows"].as_u64().unwrap()).collect();
    assert_eq!(rows, [0, 3, 3]);
    assert_eq!(outcomes[1]["tags"][0], "COPY 3");
}

#[test]
fn a_copy_that_the_client_gives_up_ends_with_its_reason() {
    let facts = shared();
    let mut client = opened_as(facts, &writer(facts));
    asked(&mut client, "create temp table given_up (name text)");
    client.query("copy given_up from stdin").unwrap();
    client.read_until(b'G').unwrap();
    client.message(b'd', b"one\ntwo\n").unwrap();
    client.message(b'f', b"changed my mind\0").unwrap();
    let said = answer(&mut client);
    assert_eq!(tags(&said), "EZ");
    assert_says(&said[0].text(), &["57014", "changed my mind"]);
    assert_eq!(first_value(&asked(&mut client, "select count(*) from given_up")), "0");
}

#[test]
fn a_pipeline_is_answered_in_order_and_each_execution_is_recorded_with_its_values() {
    let facts = shared();
    let mut client = opened(facts);
    let marker = format!("pipeline {}", std::process::id());
    let sql = format!("select $1::int + 1 /* {marker} */");
    let mut sent = message(b'P', &[b"s\0", sql.as_bytes(), b"\0\0\0"].concat());
    for number in 0..500 {
        sent.extend(message(b'B', &bind(&[number.to_string().as_bytes()])));
        sent.extend(message(b'E', b"\0\0\0\0\0"));
    }
    sent.extend(message(b'S', b""));
    client.write(&sent).unwrap();
    let said = answer(&mut client);
    assert_eq!(tags(&said), format!("1{}Z", "2DC".repeat(500)));
    let recorded = recorded(facts, &marker);
    assert_eq!(recorded.len(), 500);
    for (number, (statement, outcome)) in recorded.iter().enumerate() {
        assert_eq!(statement["parameters"][0]["text"], number.to_string(), "{statement}");
        assert_eq!((outcome["rows"].as_u64(), &outcome["error"]), (Some(1), &Value::Null));
    }
}

#[test]
fn an_error_in_a_pipeline_skips_to_its_sync_and_the_record_says_so() {
    let facts = shared();
    let mut client = opened(facts);
    let marker = format!("broken pipeline {}", std::process::id());
    let parse = |text: &str| message(b'P', &[b"s\0", text.as_bytes(), b"\0\0\0"].concat());
    let run = [message(b'B', &bind(&[])), message(b'E', b"\0\0\0\0\0")].concat();
    let sent = [
        parse(&format!("select 1 /* {marker} */")),
        run.clone(),
        message(b'C', b"Ss\0"),
        parse(&format!("select 1/0 /* {marker} */")),
        run.clone(),
        message(b'C', b"Ss\0"),
        parse(&format!("select 3 /* {marker} */")),
        run,
        message(b'S', b""),
    ];
    client.write(&sent.concat()).unwrap();
    let said = answer(&mut client);
    assert_eq!(tags(&said), "12DC31EZ");
    let recorded = recorded(facts, &marker);
    let outcomes: Vec<_> = recorded.iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes[0]["rows"], 1);
    assert_eq!(outcomes[1]["error"]["sqlstate"], "22012");
    assert_eq!(outcomes[2]["note"], "skipped");
}

#[test]
fn a_notification_arrives_while_the_session_is_idle() {
    let facts = shared();
    let (mut listener, mut sender) = (opened(facts), opened(facts));
    let channel = format!("channel_{}", std::process::id());
    asked(&mut listener, &format!("listen {channel}"));
    asked(&mut sender, &format!("notify {channel}, 'hello'"));
    let notification = listener.read().unwrap();
    assert_eq!(notification.tag, b'A');
    assert_says(&notification.text(), &[&channel, "hello"]);
}

#[test]
fn a_cancel_request_stops_its_own_sessions_statement_with_and_without_tls() {
    let facts = shared();
    for secured in [false, true] {
        let token = facts.api.token(Credential::Secret).unwrap();
        let (mut client, pid, key) = open_with_key(facts, &token);
        client.query("select pg_sleep(60)").unwrap();
        wait::pause(Duration::from_millis(200));
        cancel(facts, pid, &[9, 9, 9, 9], secured);
        wait::pause(Duration::from_millis(300));
        let started = crate::support::now();
        cancel(facts, pid, &key, secured);
        let said = answer(&mut client);
        assert!(said.iter().any(|message| message.text().contains("57014")), "{said:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let backend = first_value(&asked(&mut client, "select pg_backend_pid()"));
        assert_eq!(backend, pid.to_string(), "the client must see the backend's own process id");
    }
}

/// A session with its cancel key.
fn open_with_key(facts: &Facts, token: &str) -> (Client, u32, Vec<u8>) {
    let parameters = [("user", "orders-api"), ("database", "orders")];
    let mut client = Client::started(&facts.reach, &parameters).unwrap();
    client.read_until(b'R').unwrap();
    client.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
    let key = client.read_until(b'K').unwrap();
    client.read_until(b'Z').unwrap();
    let pid = u32::from_be_bytes(key.body[..4].try_into().unwrap());
    (client, pid, key.body[4..].to_vec())
}

/// Returns when the gateway has closed the connection, as libpq waits for it.
fn cancel(facts: &Facts, pid: u32, key: &[u8], secured: bool) {
    let length = u32::try_from(12 + key.len()).unwrap();
    let request = [&length.to_be_bytes()[..], &[4, 210, 22, 46], &pid.to_be_bytes(), key].concat();
    if secured {
        let mut client = Client::secured(&facts.reach).unwrap();
        client.write(&request).unwrap();
        assert_eq!(client.until_closed().unwrap(), "");
    } else {
        let mut stream = raw::connect(facts.reach.port).unwrap();
        std::io::Write::write_all(&mut stream, &request).unwrap();
        assert_eq!(raw::until_closed(&mut stream).unwrap(), b"");
    }
}

#[test]
fn values_and_results_of_many_megabytes_pass_whole() {
    let facts = shared();
    let mut client = opened(facts);
    let marker = format!("large {}", std::process::id());
    let value = vec![b'v'; 20_000_000];
    let sql = format!("select length($1::text) /* {marker} */");
    client.message(b'P', &[b"s\0", sql.as_bytes(), b"\0\0\0"].concat()).unwrap();
    client.message(b'B', &bind(&[&value])).unwrap();
    client.write(&[message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()).unwrap();
    let said = answer(&mut client);
    assert_eq!(first_value(&said), "20000000");
    let (statement, _) = &recorded(facts, &marker)[0];
    let truncated = &statement["parameters"][0]["truncated"];
    assert_eq!(truncated["bytes"], 20_000_000);
    assert_eq!(text(truncated, "/sha256").len(), 64);

    let mut psql =
        facts.reach.client("psql", "orders-api", &facts.api.token(Credential::Secret).unwrap());
    psql.args(["-X", "-A", "-t", "-c", "select repeat('r', 30000000)"]);
    let said = program::run(&mut psql).unwrap().expect_success().unwrap();
    assert_eq!((said.len(), said.trim_matches('r')), (30_000_000, ""));
}

#[test]
fn a_statement_of_many_megabytes_is_run_and_recorded_by_its_beginning_and_digest() {
    let facts = shared();
    let mut client = opened(facts);
    let marker = format!("long {}", std::process::id());
    let sql = format!("select /* {marker} */ length('{}')", "x".repeat(5_000_000));
    assert_eq!(first_value(&asked(&mut client, &sql)), "5000000");
    let (statement, outcome) = &recorded(facts, &marker)[0];
    assert_eq!(statement["sqlBytes"], sql.len());
    assert_eq!(text(statement, "/sqlSha256").len(), 64);
    assert_eq!(text(statement, "/sql").len(), 64 * 1024);
    assert_eq!(outcome["rows"], 1);
}

#[test]
fn a_function_call_passes_and_is_recorded_by_its_oid() {
    let facts = shared();
    let mut client = opened(facts);
    // pg_backend_pid(): no arguments, result as text.
    client.message(b'F', &[0, 0, 0x07, 0xea, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(tags(&answer(&mut client)), "VZ");
    let recorded = recorded(facts, "calls function 2026");
    assert_eq!(recorded[0].0["protocol"], "function");
}

#[test]
fn people_are_told_what_they_hold_and_workloads_are_not_disturbed() {
    let facts = shared();
    let person = writer(facts);
    let said = person.psql("select 1").unwrap();
    assert_says(&said.stderr, &["NOTICE:", "Portcullis: access to orders.writer", "until"]);
    let said = facts.api.psql("select 1").unwrap();
    assert_eq!(said.stderr, "");
}

#[test]
fn settings_at_start_up_pass_and_those_that_would_hide_or_become_someone_do_not() {
    let facts = shared();
    let token = facts.api.token(Credential::Secret).unwrap();
    let with = |options: &str, sql: &str| {
        let mut psql = facts.reach.client("psql", "orders-api", &token);
        psql.env("PGOPTIONS", options)
            .env("PGAPPNAME", "story")
            .args(["-X", "-A", "-t", "-c", sql]);
        program::run(&mut psql).unwrap()
    };
    let shown = "select current_setting('search_path'), current_setting('application_name')";
    let said = with("-c search_path=pg_catalog --statement-timeout=1234", shown);
    assert_eq!(said.expect_success().unwrap(), "pg_catalog|story");
    for denied in [
        "-c role=postgres",
        "-c session_authorization=postgres",
        "-c log_statement=none",
        "-c session_preload_libraries=x",
    ] {
        let said = with(denied, "select 1").expect_failure(2).unwrap();
        assert_says(&said.stderr, &["FATAL:", "PC1209"]);
    }
    let mut replication = Client::started(
        &facts.reach,
        &[("user", "orders-api"), ("database", "orders"), ("replication", "database")],
    )
    .unwrap();
    replication.read_until(b'R').unwrap();
    replication.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
    assert_says(&replication.until_closed().unwrap(), &["42501", "PC1205"]);
}

#[test]
fn a_newer_protocol_and_unknown_extensions_are_negotiated_away() {
    let facts = shared();
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut client = Client::secured(&facts.reach).unwrap();
    let mut start =
        raw::startup(&[("user", "orders-api"), ("database", "orders"), ("_pq_.greased", "1")]);
    start[6..8].copy_from_slice(&3999_u16.to_be_bytes());
    client.write(&start).unwrap();
    let negotiated = client.read().unwrap();
    assert_eq!(negotiated.tag, b'v');
    assert_eq!(negotiated.body, [&[0, 3, 0, 0, 0, 0, 0, 1][..], b"_pq_.greased\0"].concat());
    client.read_until(b'R').unwrap();
    client.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
    client.read_until(b'Z').unwrap();
    assert_eq!(first_value(&asked(&mut client, "select 1")), "1");
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}
