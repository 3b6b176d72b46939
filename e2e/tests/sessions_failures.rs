//! What went wrong in other systems, one test a failure, named after it (docs/security.md lists them). Those of a
//! hostile database server are in the gateway's own tests.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use e2e::raw::{self, Client};
use testkit::stack::{Credential, Facts, Person};
use testkit::{program, wait};

use crate::support::{assert_says, events, newcomer, now, own, shared, text};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

fn reader(facts: &Facts) -> Person {
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "10m").unwrap();
    person
}

fn token(facts: &Facts) -> String {
    facts.api.token(Credential::Secret).unwrap()
}

fn opened(facts: &Facts) -> Client {
    Client::open(&facts.reach, "orders-api", &token(facts)).unwrap()
}

/// The first column of the first row.
fn value(client: &mut Client, sql: &str) -> String {
    client.query(sql).unwrap();
    let row = client.read_until(b'D').unwrap();
    client.read_until(b'Z').unwrap();
    String::from_utf8_lossy(&row.body[6..]).into_owned()
}

/// What is answered to these bytes on a fresh connection.
fn answered(facts: &Facts, bytes: &[u8]) -> Vec<u8> {
    let mut stream = raw::connect(facts.reach.port).unwrap();
    stream.write_all(bytes).unwrap();
    raw::until_closed(&mut stream).unwrap()
}

#[test]
fn cve_2021_23214_bytes_behind_the_request_for_encryption_are_not_taken_for_encrypted() {
    let facts = shared();
    let smuggled = raw::startup(&[("user", "orders-api"), ("database", "orders")]);
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let said = answered(facts, &[&request[..], &smuggled].concat());
        assert_eq!(said[0], b'E', "{said:?}");
        assert_says(&String::from_utf8_lossy(&said), &["08P01", "PC1003"]);
    }
    // In the right order both are fine: no to GSSAPI, yes to TLS.
    let mut stream = raw::connect(facts.reach.port).unwrap();
    for (request, answer) in [(GSSENC_REQUEST, b'N'), (SSL_REQUEST, b'S')] {
        stream.write_all(&request).unwrap();
        let mut said = [0];
        std::io::Read::read_exact(&mut stream, &mut said).unwrap();
        assert_eq!(said[0], answer);
    }
}

#[test]
fn cve_2021_3935_encryption_asked_for_again_inside_encryption_is_refused() {
    let facts = shared();
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut client = Client::secured(&facts.reach).unwrap();
        client.write(&request).unwrap();
        assert_says(&client.until_closed().unwrap(), &["08P01"]);
    }
}

#[test]
fn cve_2024_27304_a_length_that_wraps_around_smuggles_no_second_message() {
    let facts = shared();
    let marker = format!("smuggled {}", std::process::id());
    for length in [0_u32, 3, 0x3fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let mut client = opened(facts);
        let inner = [b"Q", &30_u32.to_be_bytes()[..], marker.as_bytes(), b"\0"].concat();
        client.write(&[b"Q", &length.to_be_bytes()[..], &inner].concat()).unwrap();
        assert_says(&client.until_closed().unwrap(), &["08P01", "PC1401"]);
    }
    let statements = facts.audit(&["--type", "statement", "--text", &marker]).unwrap();
    assert!(statements.is_empty(), "{statements:?}");
}

#[test]
fn cve_2026_6664_lengths_inside_messages_that_make_no_sense_end_one_session_only() {
    let facts = shared();
    let mut other = opened(facts);
    let bodies: [(u8, &[u8]); 6] = [
        (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        (b'B', b"\0\0\0\0\xff\xff"),
        (b'B', b"\0\0\0\x01\0\x02\0\0"),
        (b'P', b"\0select 1\0\x7f\xff"),
        (b'Q', b"select 1"),
        (b'F', b"\0\0\x07\xea\0\0\0\x01\x80\0\0\0\0\0"),
    ];
    for (tag, body) in bodies {
        let mut client = opened(facts);
        client.message(tag, body).unwrap();
        assert_says(&client.until_closed().unwrap(), &["08P01"]);
    }
    assert_eq!(value(&mut other, "select 1"), "1");
}

#[test]
fn pggat_11_memory_is_not_taken_by_declared_length() {
    let facts = shared();
    // A gigabyte is declared by each of many, and a kilobyte sent.
    let mut greedy: Vec<_> = (0..20).map(|_| opened(facts)).collect();
    for client in &mut greedy {
        client.write(&[&b"Q\x3f\xff\xff\xfe"[..], &[b'x'; 1000]].concat()).unwrap();
    }
    let mut password =
        Client::started(&facts.reach, &[("user", "u"), ("database", "orders")]).unwrap();
    password.read_until(b'R').unwrap();
    password.write(b"p\x3f\xff\xff\xff").unwrap();
    assert_says(&password.until_closed().unwrap(), &["08P01"]);
    assert_eq!(value(&mut opened(facts), "select 1"), "1");
}

#[test]
fn cve_2025_12819_a_search_path_at_start_up_does_not_reach_our_own_sql() {
    let stack = own();
    let facts = &stack.facts;
    // Functions that would run instead of PostgreSQL's own, were they found first.
    stack
        .postgres
        .psql(
            "postgres",
            "create schema evil; grant usage on schema evil to public; \
        create function evil.quote_ident(text) returns text language sql as $$ select 1/0 $$;",
        )
        .unwrap();
    let person = reader(facts);
    let mut psql = facts.reach.client("psql", &person.user, &person.token().unwrap());
    psql.env("PGOPTIONS", "-c search_path=evil,pg_catalog").args([
        "-X",
        "-A",
        "-t",
        "-c",
        "show search_path",
    ]);
    let said = program::run(&mut psql).unwrap().expect_success().unwrap();
    assert_eq!(said, "evil,pg_catalog");
}

#[test]
fn cve_2015_6817_an_unknown_user_is_nobody_and_never_a_default_identity() {
    let facts = shared();
    let token = token(facts);
    for user in ["nobody", "postgres", "portcullis_provisioner", "ORDERS-API", "orders-api "] {
        let said = facts.reach.psql(user, &token, "select 1").unwrap().expect_failure(2).unwrap();
        assert_says(&said.stderr, &["FATAL:", "PC1109"]);
    }
}

#[test]
fn cve_2025_2291_access_that_has_ended_opens_nothing_however_good_the_token_still_is() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "4s").unwrap();
    let token = person.token().unwrap();
    facts.reach.psql(&person.user, &token, "select 1").unwrap().expect_success().unwrap();
    let refused = wait::until(Duration::from_secs(20), "the end of the membership", || {
        let said = facts.reach.psql(&person.user, &token, "select 1").unwrap();
        (!said.ok()).then_some(said)
    });
    assert_says(&refused.stderr, &["FATAL:", "PC12"]);
}

#[test]
fn cve_2024_1597_a_statement_reaches_the_server_as_it_is_and_all_of_it_is_recorded() {
    let facts = shared();
    let mut client = opened(facts);
    let marker = format!("as it is {}", std::process::id());
    // Comments, quotes, dollars, a negative number behind a minus, and a second statement behind all that.
    let sql = format!(
        "select 1 - -1 -- ' ; drop\n, $q$ '' ; $q$, E'\\'', U&'d\\0061t' /* /* ; */ ' */; select '{marker}'"
    );
    client.query(&sql).unwrap();
    let first = client.read_until(b'D').unwrap();
    assert_says(&first.text(), &["2", " '' ; ", "'", "dat"]);
    let second = client.read_until(b'D').unwrap();
    assert_says(&second.text(), &[&marker]);
    client.read_until(b'Z').unwrap();
    let recorded = events(facts, "statement", &marker).pop().unwrap();
    assert_eq!(text(&recorded, "/sql"), sql);
}

#[test]
fn cve_2025_46801_one_good_login_lets_no_other_password_in() {
    let facts = shared();
    let token = token(facts);
    facts.reach.psql("orders-api", &token, "select 1").unwrap().expect_success().unwrap();
    let mut flipped = token.clone().into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let shorter = token.get(..token.len() - 1).unwrap();
    for password in [flipped.as_str(), "", "orders-api", shorter] {
        let said = facts.reach.psql("orders-api", password, "select 1").unwrap();
        assert_eq!(said.code, 2, "{said}");
    }
}

#[test]
fn ghsa_78rf_vg74_7cr8_a_slow_client_does_not_hold_the_accept_loop() {
    let facts = shared();
    let mut slow: Vec<_> = (0..50).map(|_| raw::connect(facts.reach.port).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(&SSL_REQUEST[..3]).unwrap();
    }
    let started = now();
    assert_eq!(value(&mut opened(facts), "select 1"), "1");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn teleport_6_2_22_a_session_cannot_become_another_user() {
    let facts = shared();
    let mut client = opened(facts);
    for sql in [
        "set session authorization postgres",
        "set role postgres",
        "set role portcullis_provisioner",
    ] {
        client.query(sql).unwrap();
        assert_says(&client.read_until(b'Z').unwrap_err().to_string(), &["ERROR"]);
        client.read_until(b'Z').unwrap();
        assert_eq!(
            value(&mut client, "select session_user || ' ' || current_user"),
            "orders-api orders-api"
        );
    }
}

#[test]
fn cve_2024_10978_each_session_has_a_backend_of_its_own() {
    let facts = shared();
    let (mut first, mut second) = (opened(facts), opened(facts));
    let backend = "select pg_backend_pid()";
    assert_ne!(value(&mut first, backend), value(&mut second, backend));
    value(&mut first, "select set_config('search_path', 'elsewhere', false)");
    assert_ne!(value(&mut second, "show search_path"), "elsewhere");
    let before = value(&mut first, backend);
    drop(first);
    // A later session of the same principal does not get the backend of an earlier one.
    assert_ne!(value(&mut opened(facts), backend), before);
}

#[test]
fn teleport_17_7_23_a_server_document_cannot_point_at_instance_metadata() {
    let facts = shared();
    let seed = std::fs::read_to_string(facts.folder.join("seed/2-server.yaml")).unwrap();
    let pointed: Vec<&str> = seed
        .lines()
        .map(|line| {
            let host = line.trim_start().starts_with("host:");
            if host { "  host: 169.254.169.254" } else { line }
        })
        .collect();
    let refused = facts.apply(&pointed.join("\n")).unwrap();
    assert!(!refused.ok());
    // A name that resolves to it is stopped where the gateway dials, which its own tests show.
    assert_says(&refused.stderr, &["PC2004", "169.254.169.254"]);
}

#[test]
fn teleport_8_3_14_texts_of_strangers_are_bounded_everywhere() {
    let facts = shared();
    let name = "n".repeat(9_000);
    let said =
        facts.reach.psql(&name, &token(facts), "select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&said.stderr, &["PC1109"]);
    // Before TLS a name is heard too.
    let mut plain = raw::connect(facts.reach.port).unwrap();
    plain.write_all(&raw::startup(&[("user", &name), ("database", "orders")])).unwrap();
    raw::until_closed(&mut plain).unwrap();
    let kept = "n".repeat(256);
    let refused = wait::until(Duration::from_secs(10), "both refusals", || {
        let refused = facts.audit(&["--type", "sessionRefused", "--text", &kept]).unwrap();
        (refused.len() == 2).then_some(refused)
    });
    for refused in &refused {
        assert_eq!(text(refused, "/actor/name"), kept);
        assert!(text(refused, "/message").len() < 200, "{refused}");
    }
    let database = Client::started(&facts.reach, &[("user", "u"), ("database", &name)]);
    assert_says(&database.unwrap().until_closed().unwrap(), &["3D000", "PC1202"]);
    let token = token(facts);
    let mut client = Client::started(
        &facts.reach,
        &[("user", "orders-api"), ("database", "orders"), ("application_name", &name)],
    )
    .unwrap();
    client.read_until(b'R').unwrap();
    client.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
    client.read_until(b'Z').unwrap();
    let opened = events(facts, "sessionOpened", &kept);
    assert_eq!(text(&opened[0], "/applicationName"), kept);
    let log = std::fs::read_to_string(facts.log()).unwrap();
    assert!(log.contains(&kept) && !log.contains(&format!("{kept}n")));
}

#[test]
fn cve_2015_3152_a_server_that_offers_no_tls_gets_no_credential() {
    let stack = own();
    let facts = &stack.facts;
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    stack.postgres.crash().unwrap();
    let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, stack.postgres.port())).unwrap();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let mut request = [0; 8];
        std::io::Read::read_exact(&mut stream, &mut request).unwrap();
        stream.write_all(b"N").unwrap();
        let mut rest = Vec::new();
        drop(std::io::Read::read_to_end(&mut stream, &mut rest));
        (request, rest)
    });
    let said = facts.api.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&said.stderr, &["FATAL:", "PC13"]);
    assert_eq!(heard.join().unwrap(), (SSL_REQUEST, Vec::new()));
}

#[test]
fn teleport_6047_and_20557_a_session_that_ends_always_says_why() {
    let facts = shared();
    let person = reader(facts);
    let mut client = Client::open(&facts.reach, &person.user, &person.token().unwrap()).unwrap();
    facts
        .admin
        .must(&["cut", "--principal", &person.user, "--because", "a reason in words"])
        .unwrap();
    assert_says(&client.until_closed().unwrap(), &["57P01", "PC1501", "a reason in words"]);
    let ended = events(facts, "sessionEnded", &person.user).pop().unwrap();
    assert_eq!((text(&ended, "/reason"), text(&ended, "/code")), ("cut", "PC1501"));
}

#[test]
fn a_password_that_postgresql_would_not_read_either_is_refused_unread() {
    let facts = shared();
    let mut client =
        Client::started(&facts.reach, &[("user", "u"), ("database", "orders")]).unwrap();
    client.read_until(b'R').unwrap();
    client.message(b'p', &vec![b'x'; 70_000]).unwrap();
    assert_says(&client.until_closed().unwrap(), &["08P01"]);
    // What it would read may be a token of 60,000 bytes, padded here to be a wrong one.
    let long = format!("{}.{}.{}", "a".repeat(20_000), "b".repeat(20_000), "c".repeat(20_000));
    let mut client =
        Client::started(&facts.reach, &[("user", "u"), ("database", "orders")]).unwrap();
    client.read_until(b'R').unwrap();
    client.message(b'p', &[long.as_bytes(), b"\0"].concat()).unwrap();
    assert_says(&client.until_closed().unwrap(), &["28P01", "PC110"]);
}
