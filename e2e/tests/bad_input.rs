//! What does not keep to the rules: each gets a clear error or a quiet close, and costs the others nothing.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use e2e::jwt::Jwt;
use e2e::raw::{self, Client};
use testkit::stack::{Credential, Facts, Options, Person};
use testkit::wait;

use crate::support::{assert_says, events, newcomer, now, own, own_with, shared, text};

fn reader(facts: &Facts) -> Person {
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "10m").unwrap();
    person
}

/// Others go on as if nothing had been.
#[track_caller]
fn assert_serves(facts: &Facts) {
    let read = facts.api.psql("select count(*) from products").unwrap();
    assert_eq!(read.expect_success().unwrap(), "500");
}

#[test]
fn a_plain_text_client_is_told_to_encrypt() {
    let facts = shared();
    let mut psql = facts.reach.client("psql", "orders-api", "pct_x");
    psql.env("PGSSLMODE", "disable").args(["-X", "-c", "select 1"]);
    let said = testkit::program::run(&mut psql).unwrap().expect_failure(2).unwrap();
    assert_says(&said.stderr, &["FATAL:", "PC1002", "sslmode"]);
}

#[test]
fn a_client_that_trusts_another_authority_does_not_connect() {
    let facts = shared();
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("ca.pem");
    let pem = testkit::stack::certificate(&other.path().join("with-key.pem")).unwrap();
    std::fs::write(&file, pem).unwrap();
    let mut psql = facts.reach.client("psql", "orders-api", "pct_x");
    psql.env("PGSSLROOTCERT", file).args(["-X", "-c", "select 1"]);
    let said = testkit::program::run(&mut psql).unwrap().expect_failure(2).unwrap();
    assert_says(&said.stderr, &["certificate verify failed"]);
    assert_serves(facts);
}

#[test]
fn falsified_tokens_are_refused_and_recorded_under_the_name_that_was_claimed() {
    let facts = shared();
    let dev = reader(facts);
    let token = Jwt::read(&dev.token().unwrap()).unwrap();
    let changed = |name: &str, value: &str| {
        let mut token = token.clone();
        token.set_claim(name, value);
        token
    };
    let mut longer = token.clone();
    longer.set_claim("exp", 4_102_444_800_u64);
    let falsified = [
        ("none", token.unsigned().unwrap()),
        ("stranger", token.signed_by_stranger().unwrap()),
        ("longer life", longer.with_old_signature().unwrap()),
        (
            "another person",
            changed("oid", "00000000-0000-0000-0000-000000000001").with_old_signature().unwrap(),
        ),
        (
            "another tenant",
            changed("tid", "00000000-0000-0000-0000-000000000001").signed_by_stranger().unwrap(),
        ),
        (
            "another issuer",
            changed("iss", "https://evil.example/v2.0").signed_by_stranger().unwrap(),
        ),
    ];
    for (what, token) in falsified {
        let said = facts.reach.psql(&dev.user, &token, "select 1").unwrap();
        let said = said.expect_failure(2).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(said.stderr.contains("FATAL:") && said.stderr.contains("PC11"), "{what}: {said}");
    }
    for garbage in ["", "secret", "pct_AAAA", "a.b.c", &"x".repeat(60_000)] {
        let said = facts.reach.psql(&dev.user, garbage, "select 1").unwrap();
        assert_eq!(said.code, 2, "{said}");
    }
    let refused = events(facts, "sessionRefused", &dev.user);
    assert!(refused.iter().all(|event| event.pointer("/actor/id").is_none()), "{refused:?}");
    assert_serves(facts);
}

#[test]
fn a_token_for_the_control_plane_opens_no_database() {
    let facts = shared();
    let path = format!("/{}/oauth2/v2.0/token", facts.reach.tenant);
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", facts.api.client_id.as_str()),
        ("client_secret", facts.api.secret.as_str()),
        ("scope", "api://portcullis/.default"),
    ];
    let answer = e2e::https::post_form(&facts.reach, &path, &fields).unwrap();
    let token = answer.field("access_token").unwrap_or_else(|_| panic!("{answer:?}"));
    let said = facts.reach.psql("orders-api", &token, "select 1").unwrap();
    assert_says(&said.expect_failure(2).unwrap().stderr, &["PC1106"]);
}

#[test]
fn an_expired_token_opens_nothing_and_cuts_no_workload_that_is_in() {
    let options =
        Options { configuration: "token: { databaseTokenLifetime: 4s }", ..Options::default() };
    let stack = own_with(&options);
    let facts = &stack.facts;
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut open = Client::open(&facts.reach, "orders-api", &token).unwrap();
    let expired = wait::until(Duration::from_secs(15), "the token's end", || {
        let said = facts.reach.psql("orders-api", &token, "select 1").unwrap();
        (!said.ok()).then_some(said)
    });
    assert_says(&expired.stderr, &["FATAL:", "PC1104"]);
    open.query("select 1").unwrap();
    open.read_until(b'Z').unwrap();
}

#[test]
fn an_unknown_database_is_named() {
    let facts = shared();
    let mut psql =
        facts.reach.client("psql", "orders-api", &facts.api.token(Credential::Secret).unwrap());
    psql.env("PGDATABASE", "ordres").args(["-X", "-c", "select 1"]);
    let said = testkit::program::run(&mut psql).unwrap().expect_failure(2).unwrap();
    assert_says(&said.stderr, &["FATAL:", "ordres"]);
}

#[test]
fn garbage_before_tls_is_closed_quietly() {
    let facts = shared();
    let inputs: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x01",
        b"\xff\xff\xff\xff\0\0\0\0",
        b"\0\0\0\x04",
        b"\0\0\0\x08\x00\x03\x00\x00",
        b"\x80\0\0\0\0\x03\0\0",
        b"\x16\x03\x01\x00\x05hello",
    ];
    for input in inputs {
        let mut stream = raw::connect(facts.reach.port).unwrap();
        // It may close before it has read all.
        drop(stream.write_all(input));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let said = raw::until_closed(&mut stream).unwrap();
        assert!(said.len() < 1024, "{} bytes for {input:?}", said.len());
    }
    assert_serves(facts);
}

#[test]
fn bytes_behind_the_request_for_tls_are_not_taken_for_encrypted() {
    let facts = shared();
    let mut stream = raw::connect(facts.reach.port).unwrap();
    let smuggled = raw::startup(&[("user", "orders-api"), ("database", "orders")]);
    let request = [&[0, 0, 0, 8, 4, 210, 22, 47][..], &smuggled].concat();
    stream.write_all(&request).unwrap();
    let said = raw::until_closed(&mut stream).unwrap();
    assert!(said.first() != Some(&b'S'), "it began TLS after smuggled bytes");
}

#[test]
fn a_start_up_message_that_is_too_long_cut_short_or_nameless_ends_the_connection_only() {
    let facts = shared();
    let long = "x".repeat(20_000);
    let mut oversized =
        Client::started(&facts.reach, &[("user", "u"), ("options", &long)]).unwrap();
    // As PostgreSQL: whoever declares such a length may be speaking anything, so nothing is answered.
    assert_eq!(oversized.until_closed().unwrap(), "");

    let mut short = Client::secured(&facts.reach).unwrap();
    short.write(&raw::startup(&[("user", "orders-api")])[..12]).unwrap();
    short.tcp().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(short.until_closed().unwrap(), "");

    let mut nameless = Client::started(&facts.reach, &[("database", "orders")]).unwrap();
    assert_says(&nameless.until_closed().unwrap(), &["PC1403"]);

    let mut old = Client::secured(&facts.reach).unwrap();
    old.write(&[0, 0, 0, 9, 0, 2, 0, 0, 0]).unwrap();
    assert_says(&old.until_closed().unwrap(), &["0A000"]);
    assert_serves(facts);
}

#[test]
fn garbage_in_an_open_session_ends_that_session_only() {
    let facts = shared();
    let token = facts.api.token(Credential::Secret).unwrap();
    let inputs: [&[u8]; 4] =
        [b"\x00\x00\x00\x00\x00", b"Q\xff\xff\xff\xff", b"Q\0\0\0\x02", b"Q\0\0\0\x09abcde"];
    for input in inputs {
        let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
        client.write(input).unwrap();
        client.tcp().shutdown(std::net::Shutdown::Write).unwrap();
        let said = client.until_closed().unwrap();
        assert!(said.is_empty() || said.contains("08P01"), "{said}");
    }
    assert_serves(facts);
}

#[test]
fn a_client_that_says_nothing_costs_nothing_and_is_closed() {
    let options = Options {
        limits: "startupTimeout: 2s, unauthenticatedPerSourceMax: 50",
        ..Options::default()
    };
    let stack = own_with(&options);
    let facts = &stack.facts;
    let mut silent: Vec<_> = (0..40).map(|_| raw::connect(facts.reach.port).unwrap()).collect();
    assert_serves(facts);
    let started = now();
    for stream in &mut silent {
        raw::until_closed(stream).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn too_many_strangers_from_one_address_are_turned_away_with_the_reason() {
    let options = Options { limits: "unauthenticatedPerSourceMax: 5", ..Options::default() };
    let stack = own_with(&options);
    let facts = &stack.facts;
    let silent: Vec<_> = (0..5).map(|_| raw::connect(facts.reach.port).unwrap()).collect();
    wait::pause(Duration::from_millis(300));
    let said = facts.reach.psql("orders-api", "pct_x", "select 1").unwrap();
    assert_eq!(said.code, 2, "{said}");
    assert_says(&said.stderr, &["FATAL", "PC1004", "without a credential"]);
    drop(silent);
    wait::until(Duration::from_secs(10), "room for others", || {
        facts.api.psql("select 1").unwrap().ok().then_some(())
    });
}

#[test]
fn a_database_that_refuses_vanishes_or_is_an_impostor_is_said_so() {
    let stack = own();
    let facts = &stack.facts;
    let dev = reader(facts);
    dev.psql("select 1").unwrap().expect_success().unwrap();
    let token = dev.token().unwrap();

    let mut open = Client::open(&facts.reach, &dev.user, &token).unwrap();
    stack.postgres.crash().unwrap();
    let said = open.until_closed().unwrap();
    assert!(said.contains("57P0") || said.contains("PC1306"), "{said}");
    let refused = facts.reach.psql(&dev.user, &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["FATAL:", "PC1301"]);

    let impostor = TcpListener::bind((Ipv4Addr::LOCALHOST, stack.postgres.port())).unwrap();
    std::thread::spawn(move || {
        // Says yes to TLS and then talks nonsense, until the test ends.
        for stream in impostor.incoming().take(3) {
            let Ok(mut stream) = stream else { return };
            drop(stream.write_all(b"Snonsense, and not the beginning of a handshake"));
        }
    });
    let refused = facts.reach.psql(&dev.user, &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["FATAL:", "PC13"]);
    let recorded = events(facts, "sessionRefused", &dev.user);
    let code = text(recorded.last().unwrap(), "/code");
    assert!(code.starts_with("PC13"), "{code}");
}

#[test]
fn a_database_with_another_certificate_is_not_trusted() {
    let stack = own();
    let facts = &stack.facts;
    let dev = reader(facts);
    dev.psql("select 1").unwrap().expect_success().unwrap();

    let data = stack.postgres.data_directory();
    let other = testkit::postgres::Postgres::start().unwrap();
    for file in ["server.crt", "server.key"] {
        let bytes = std::fs::read(other.data_directory().join(file)).unwrap();
        std::fs::write(data.join(file), bytes).unwrap();
    }
    stack.postgres.reload().unwrap();
    let refused = wait::until(Duration::from_secs(10), "the other certificate", || {
        let said = dev.psql("select 1").unwrap();
        (!said.ok()).then_some(said)
    });
    assert_says(&refused.stderr, &["FATAL:", "PC1302"]);
}

#[test]
fn a_full_disk_ends_access_and_names_the_audit_log() {
    let Some(wrapper) = small_disk() else { return };
    let stack = own_with(&Options { wrapper, ..Options::default() });
    let facts = &stack.facts;
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    let padding = "x".repeat(60_000);
    let end = wait::until(Duration::from_mins(1), "the end of the disk", || {
        client.query(&format!("select 1 /* {padding} */")).ok()?;
        client.read_until(b'Z').err()
    });
    assert_says(&format!("{end:#}"), &["PC1504"]);
    let refused = facts.reach.psql("orders-api", &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["PC1504"]);
    let no_token = facts.api.token(Credential::Secret).unwrap_err();
    assert_says(&format!("{no_token:#}"), &["temporarily unavailable"]);
}

/// The audit log on a file system of its own with room for little, where this machine lets us make one.
fn small_disk() -> Option<Vec<String>> {
    // What `init` has recorded moves along.
    let script = "mkdir small && mount -t tmpfs -o size=3m none small && \
                  cp -a data/audit/. small/ && mount --bind small data/audit && exec \"$@\"";
    let probe = "mount -t tmpfs none /mnt";
    let unshare = ["--mount", "--map-root-user"];
    let mut command = std::process::Command::new("unshare");
    let possible = command.args(unshare).args(["sh", "-c", probe]).output().ok()?.status.success();
    let words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "--"];
    possible.then(|| words.map(str::to_owned).to_vec())
}
