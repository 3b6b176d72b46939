//! What only a client that speaks the protocol by hand can see: nothing differs from the database itself.

use std::thread;
use std::time::Duration;

use e2e::raw::{self, Client, Message, Negotiation};
use serde_json::Value;
use testkit::postgres::Postgres;
use testkit::stack::{Credential, Facts, Person, Workload};
use testkit::wait;

use crate::support::{assert_says, events, newcomer, own, shared, text};

const MEGABYTE: usize = 1 << 20;

fn opened(facts: &Facts, parameters: &[(&str, &str)]) -> Client {
    start(facts, &facts.api, parameters)
}

fn start(facts: &Facts, workload: &Workload, parameters: &[(&str, &str)]) -> Client {
    let token = workload.token(Credential::Secret).unwrap();
    let own = [("user", workload.application.as_str()), ("database", "orders")];
    let parameters = [&own[..], parameters].concat();
    let mut client = Client::started(&facts.reach, &parameters).unwrap();
    admitted(&mut client, &token);
    client
}

fn admitted(client: &mut Client, token: &str) {
    client.read_until(b'R').unwrap();
    client.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
    client.read_until(b'Z').unwrap();
}

fn writer(facts: &Facts) -> (Person, Client) {
    let person = newcomer(facts, &["orders-writers"]);
    facts.activate(&person, "orders-writers", "10m").unwrap();
    let client = Client::open(&facts.reach, &person.user, &person.token().unwrap()).unwrap();
    (person, client)
}

fn until_ready(client: &mut Client) -> Vec<Message> {
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

fn asked(client: &mut Client, sql: &str) -> Vec<Message> {
    client.query(sql).unwrap();
    until_ready(client)
}

/// A statement of this text, and its outcomes once there are so many.
fn outcomes(facts: &Facts, needle: &str, count: usize) -> Vec<Value> {
    let statements = events(facts, "statement", needle);
    let session = text(&statements[0], "/session").to_owned();
    let numbers: Vec<_> = statements.iter().map(|statement| statement["number"].clone()).collect();
    wait::until(Duration::from_secs(10), "the outcomes", || {
        let all = facts.audit(&["--type", "statementOutcome", "--session", &session]).unwrap();
        let ours: Vec<_> =
            all.into_iter().filter(|outcome| numbers.contains(&outcome["number"])).collect();
        (ours.len() >= count).then_some(ours)
    })
}

#[test]
fn texts_in_other_encodings_are_readable_in_the_log_and_say_which() {
    let facts = shared();
    let cases: [(&str, &[u8], &str); 3] = [
        ("LATIN1", b"caf\xe9", "café"),
        ("SJIS", b"\x93\xfa\x96\x7b", "日本"),
        ("EUC_JP", b"\xc6\xfc\xcb\xdc", "日本"),
    ];
    for (encoding, bytes, readable) in cases {
        let mut client = opened(facts, &[("client_encoding", encoding)]);
        let marker = format!("{encoding} {}", std::process::id());
        let sql = [format!("select '{marker} ").as_bytes(), bytes, b"'\0"].concat();
        client.message(b'Q', &sql).unwrap();
        let row = until_ready(&mut client).swap_remove(1);
        assert!(row.body.ends_with(bytes), "the answer comes in the client's encoding: {row:?}");
        let statement = &events(facts, "statement", &marker)[0];
        assert_eq!(text(statement, "/sql"), format!("select '{marker} {readable}'"));
        assert_eq!(text(statement, "/encoding"), encoding);
        // Changed in mid-session.
        asked(&mut client, "set client_encoding to 'UTF8'");
        asked(&mut client, &format!("select '{marker} now ü'"));
        let statement = &events(facts, "statement", &format!("{marker} now ü"))[0];
        assert_eq!(statement["encoding"], Value::Null, "{statement}");
    }
}

#[test]
fn a_copy_that_fails_before_it_reads_shifts_no_outcome() {
    let facts = shared();
    let (_, mut client) = writer(facts);
    let marker = format!("copy that fails {}", std::process::id());
    asked(&mut client, "create temp table refusing (a int)");
    let function = "create function pg_temp.refuse() returns trigger language plpgsql as \
                    'begin raise exception ''no copy''; end'";
    asked(&mut client, function);
    let trigger = "create trigger refuse before insert on refusing \
                   for each statement execute function pg_temp.refuse()";
    let made = asked(&mut client, trigger);
    assert_eq!(tags(&made), "CZ", "{}", made[0].text());

    let copy = format!("copy refusing from stdin /* {marker} */");
    client.message(b'P', format!("\0{copy}\0\0\0").as_bytes()).unwrap();
    client.message(b'B', &[0; 8]).unwrap();
    client.message(b'E', &[0; 5]).unwrap();
    client.message(b'S', b"").unwrap();
    let begun = [client.read().unwrap(), client.read().unwrap(), client.read().unwrap()];
    assert_eq!(tags(&begun), "12G");
    for (tag, body) in [(b'd', &b"1\n"[..]), (b'c', b""), (b'S', b"")] {
        client.message(tag, body).unwrap();
    }
    client.query(&format!("select 1 where false /* {marker} */")).unwrap();
    client.query(&format!("select generate_series(1, 3) /* {marker} */")).unwrap();
    // Both Syncs are answered: the first was not read by COPY.
    let said: String = (0..4).map(|_| tags(&until_ready(&mut client))).collect();
    assert_eq!(said, "EZZTCZTDDDCZ");
    let outcomes = outcomes(facts, &marker, 3);
    assert_eq!(outcomes[0]["error"]["sqlstate"], "P0001");
    assert_eq!(
        (&outcomes[1]["tags"][0], &outcomes[2]["tags"][0]),
        (&Value::from("SELECT 0"), &Value::from("SELECT 3"))
    );
}

#[test]
fn a_portal_that_is_read_in_parts_keeps_its_rows_and_its_record() {
    let facts = shared();
    let mut client = opened(facts, &[]);
    let marker = format!("in parts {}", std::process::id());
    let sql = format!("select generate_series(1, 5) /* {marker} */");
    client.message(b'P', format!("\0{sql}\0\0\0").as_bytes()).unwrap();
    client.message(b'B', b"cursor\0\0\0\0\0\0\0\0").unwrap();
    for _ in 0..3 {
        client.message(b'E', b"cursor\0\0\0\0\x02").unwrap();
    }
    client.message(b'H', b"").unwrap();
    let said: Vec<_> = (0..10).map(|_| client.read().unwrap()).collect();
    assert_eq!(tags(&said), "12DDsDDsDC");
    client.message(b'S', b"").unwrap();
    assert_eq!(tags(&until_ready(&mut client)), "Z");
    let outcomes = outcomes(facts, &marker, 3);
    let seen: Vec<_> = outcomes.iter().map(|o| (o["rows"].clone(), o["note"].clone())).collect();
    let suspended = || (Value::from(2), Value::from("suspended"));
    assert_eq!(seen, [suspended(), suspended(), (Value::from(1), Value::Null)]);
}

#[test]
fn a_cursor_made_by_sql_is_read_as_without_a_gateway() {
    let facts = shared();
    let mut client = opened(facts, &[]);
    asked(&mut client, "begin");
    asked(&mut client, "declare c cursor for select generate_series(1, 3)");
    assert_eq!(tags(&asked(&mut client, "fetch 2 from c")), "TDDCZ");
    assert_eq!(tags(&asked(&mut client, "fetch all from c")), "TDCZ");
    assert_eq!(tags(&asked(&mut client, "commit")), "CZ");
}

#[test]
fn notices_and_changed_settings_arrive_where_the_server_sends_them() {
    let facts = shared();
    let mut client = opened(facts, &[]);
    let said = asked(&mut client, "do $$ begin raise notice 'one'; raise warning 'two'; end $$");
    assert_eq!(tags(&said), "NNCZ");
    let said = asked(&mut client, "set timezone to 'Asia/Tokyo'");
    assert_eq!(tags(&said), "CSZ");
    assert_says(&said[1].text(), &["TimeZone\nAsia/Tokyo"]);
    let said = asked(&mut client, "set application_name to 'renamed'; select 1");
    assert_eq!(tags(&said), "CTDCSZ");
}

#[test]
fn what_the_server_says_to_an_idle_session_arrives_and_ends_it() {
    let facts = shared();
    let mut client = opened(facts, &[]);
    let pid = asked(&mut client, "select pg_backend_pid()")[1].body[6..].to_vec();
    let pid = String::from_utf8(pid).unwrap();
    let postgres = Postgres::attach(&facts.postgres).unwrap();
    postgres.psql("postgres", &format!("select pg_terminate_backend({pid})")).unwrap();
    let said = client.until_closed().unwrap();
    assert_says(&said, &["FATAL", "57P01", "terminating connection due to administrator command"]);
}

#[test]
fn messages_of_hundreds_of_megabytes_pass_in_bounded_memory() {
    const VALUE_MEGABYTES: usize = 300;
    /// Buffers of both directions and of TLS; the allocator's slack in a debug build.
    const GROWTH_MEGABYTES_MAX: u64 = 24;

    let mut stack = own();
    let gateway = stack.server().identity().pid;
    let facts = &stack.facts;
    let mut client = opened(facts, &[]);
    asked(&mut client, "select 1");
    let before = memory(gateway);

    client.message(b'P', b"\0select length($1::bytea)\0\0\0").unwrap();
    let length = VALUE_MEGABYTES * MEGABYTE;
    let head = [b"\0\0\0\x01\0\x01\0\x01".as_slice(), &size(length), b""].concat();
    client.write(&[b"B", &size(4 + head.len() + length + 2)[..], &head].concat()).unwrap();
    let piece = vec![7; MEGABYTE];
    for _ in 0..VALUE_MEGABYTES {
        client.write(&piece).unwrap();
    }
    client.write(b"\0\0").unwrap();
    client.message(b'E', &[0; 5]).unwrap();
    client.message(b'S', b"").unwrap();
    let said = until_ready(&mut client);
    assert_eq!(tags(&said), "12DCZ", "{said:?}");
    assert!(said[2].body.ends_with(length.to_string().as_bytes()));

    client.query(&format!("select repeat('r', {length})")).unwrap();
    assert_eq!(client.skip().unwrap().0, b'T');
    assert_eq!(client.skip().unwrap(), (b'D', length + 6));
    assert_eq!(tags(&until_ready(&mut client)), "CZ");
    let after = memory(gateway);
    let grown = after.saturating_sub(before) / 1024;
    assert!(grown <= GROWTH_MEGABYTES_MAX, "{before} KiB became {after} KiB at their peak");
}

fn size(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

/// The greatest resident memory that the process ever had, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn tls_may_begin_at_once_and_then_must_name_the_protocol() {
    let facts = shared();
    let token = facts.api.token(Credential::Secret).unwrap();
    let protocol: &[&[u8]] = &[b"postgresql"];
    let start = raw::startup(&[("user", "orders-api"), ("database", "orders")]);
    for (protocols, how) in [
        (protocol, Negotiation::Direct),
        (protocol, Negotiation::Requested),
        (&[], Negotiation::Requested),
    ] {
        let mut client = Client::secured_with(&facts.reach, protocols, how).unwrap();
        client.write(&start).unwrap();
        admitted(&mut client, &token);
        assert_eq!(tags(&asked(&mut client, "select 1")), "TDCZ");
    }
    let other: &[&[u8]] = &[b"http/1.1"];
    for (protocols, how) in [
        (&[][..], Negotiation::Direct),
        (other, Negotiation::Direct),
        (other, Negotiation::Requested),
    ] {
        let mut client = Client::secured_with(&facts.reach, protocols, how).unwrap();
        // Refused in the handshake; without any ALPN by a close right behind it, without a word, as PostgreSQL does.
        let said = client.write(&start).and_then(|()| client.read());
        assert!(said.is_err(), "{protocols:?} {how:?}: {said:?}");
    }
}

#[test]
fn a_client_may_change_its_keys_whenever_it_likes() {
    let mut client = opened(shared(), &[]);
    let long = format!("select '{}'", "x".repeat(MEGABYTE / 2));
    for sql in ["select 1", long.as_str(), "select 2"] {
        client.refresh_keys().unwrap();
        client.query(sql).unwrap();
        client.refresh_keys().unwrap();
        assert_eq!(tags(&until_ready(&mut client)), "TDCZ");
    }
}

#[test]
fn a_person_is_told_five_minutes_before_access_ends() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "315s").unwrap();
    let mut client = Client::open(&facts.reach, &person.user, &person.token().unwrap()).unwrap();
    let said = client.read().unwrap();
    assert_eq!(said.tag, b'N', "{said:?}");
    assert_says(&said.text(), &["SNOTICE", "access ends at", "(5 min left)"]);
    assert_eq!(tags(&asked(&mut client, "select 1")), "TDCZ");
}

#[test]
fn cancel_requests_while_a_session_is_cut_disturb_neither() {
    let facts = shared();
    let person = newcomer(facts, &["orders-writers"]);
    let activation = facts.activate(&person, "orders-writers", "10m").unwrap();
    let parameters = [("user", person.user.as_str()), ("database", "orders")];
    let mut client = Client::started(&facts.reach, &parameters).unwrap();
    client.read_until(b'R').unwrap();
    let token = person.token().unwrap();
    client.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
    let key = client.read_until(b'K').unwrap().body;
    client.read_until(b'Z').unwrap();
    // Each cancels one statement; the next begins at once.
    let statement = "select pg_sleep(60)\0".as_bytes();
    for _ in 0..20 {
        client.message(b'Q', statement).unwrap();
    }
    let request = [&16_u32.to_be_bytes()[..], &[4, 210, 22, 46], &key].concat();
    let cancelling = thread::spawn({
        let port = facts.reach.port;
        move || {
            for _ in 0..10 {
                let mut stream = raw::connect(port).unwrap();
                std::io::Write::write_all(&mut stream, &request).unwrap();
                assert_eq!(raw::until_closed(&mut stream).unwrap(), b"");
            }
        }
    });
    facts.approver.must(&["revoke", &activation]).unwrap();
    let said = client.until_closed().unwrap();
    assert_says(&said, &["FATAL", "57P01", "PC"]);
    cancelling.join().unwrap();
    let cut = &events(facts, "sessionCut", &person.user)[0];
    assert_eq!(text(cut, "/actor/name"), person.user);
    assert_eq!(tags(&asked(&mut opened(facts, &[]), "select 1")), "TDCZ");
}
