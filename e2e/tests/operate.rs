//! What whoever is on call works with: figures, health, cutting, a stop, a start.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use e2e::https;
use e2e::raw::Client;
use serde_json::Value;
use testkit::stack::{Credential, Facts, Options, SERVER};
use testkit::wait;

use crate::sessions_cut::bound_sessions;
use crate::support::{assert_says, events, newcomer, own, own_with, shared, text};

#[test]
fn every_figure_that_is_exported_is_documented_and_the_other_way_round() {
    let facts = shared();
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let exported = https::get(&facts.reach, "/metrics", None).unwrap().body;
    let exported: BTreeSet<String> = exported
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| format!("{name}{}", if kind == "counter" { "_total" } else { "" }))
        .collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(exported, documented);
    assert!(exported.len() > 20, "{exported:?}");
}

/// A login that has been asked for its password and has not given it yet.
fn under_way(facts: &Facts, user: &str) -> Client {
    let reach = &facts.reach;
    Client::started(reach, &[("user", user), ("database", &reach.database)]).unwrap()
}

#[test]
fn a_cut_reaches_logins_that_are_under_way_and_whoever_comes_later_may_come_in() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let token = dev.token().unwrap();
    // Its database user is made by then: what is measured is the login, not the making.
    dev.psql("select 1").unwrap().expect_success().unwrap();
    let login = under_way(facts, &dev.user);
    let cut = ["cut", "--principal", &dev.user, "--because", "a stolen laptop"];
    assert_says(&facts.admin.must(&cut).unwrap(), &["no live session matches"]);
    let refused = format!("{:#}", login.log_in(&token).unwrap_err());
    assert_says(&refused, &["57P01", "PC1501", "a stolen laptop"]);
    dev.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn while_it_drains_it_is_unready_refuses_logins_with_57p03_and_tells_idle_sessions_first() {
    let mut stack = own_with(&Options { limits: "drain: 60s", ..Options::default() });
    let facts = stack.facts.clone();
    let token = facts.api.token(Credential::Secret).unwrap();
    let open = || Client::open(&facts.reach, "orders-api", &token).unwrap();
    let (mut idle, mut busy) = (open(), open());
    busy.query("begin").unwrap();
    busy.read_until(b'Z').unwrap();
    assert_eq!(https::get(&facts.reach, "/readyz", None).unwrap().status, 200);
    let login = under_way(&facts, "orders-api");

    assert!(stack.server().identity().interrupt());
    assert_says(&idle.until_closed().unwrap(), &["57P01", "PC1502"]);
    let ready = https::get(&facts.reach, "/readyz", None).unwrap();
    assert_eq!(ready.status, 503);
    assert_says(&ready.body, &["the process is stopping"]);
    assert_eq!(https::get(&facts.reach, "/healthz", None).unwrap().status, 200);
    assert_says(&facts.admin.must(&["sessions"]).unwrap(), &["orders-api", "idleInTransaction"]);
    let refused = facts.reach.psql("orders-api", &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["PC1510"]);
    let caught = match login.log_in(&token) {
        Ok(mut opened) => opened.until_closed().unwrap(),
        Err(refused) => format!("{refused:#}"),
    };
    assert_says(&caught, &["57P0"]);
    // The transaction comes to its end, and then the session does, long before the time is over.
    busy.query("commit").unwrap();
    assert_says(&busy.until_closed().unwrap(), &["COMMIT", "57P01", "PC1502"]);
    wait::until(Duration::from_secs(20), "the end of the process", || stack.server().ended());
    stack.start_server().unwrap();
    let words = facts.audit(&["--type", "stopped", "--type", "started"]).unwrap();
    let words: Vec<&str> = words.iter().map(|event| text(event, "/type")).collect();
    assert_eq!(words, ["started", "stopped", "started"]);
    facts.on_host(&["audit", "verify"]).unwrap().expect_success().unwrap();
}

#[test]
fn an_idle_bound_says_when_a_transaction_was_left_open() {
    let stack = own();
    bound_sessions(&stack.facts, "idleMax: 2s");
    let token = stack.facts.api.token(Credential::Secret).unwrap();
    let mut client = Client::open(&stack.facts.reach, "orders-api", &token).unwrap();
    client.query("begin").unwrap();
    client.read_until(b'Z').unwrap();
    assert_says(&client.until_closed().unwrap(), &["25P03", "PC1509"]);
}

#[test]
fn a_stolen_signing_key_is_replaced_at_once_and_with_it_every_token_handle_and_session() {
    let stack = own();
    let facts = &stack.facts;
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let (token, handle) = (dev.token().unwrap(), dev.must(&["token", "--handle"]).unwrap());
    let open = |secret: &str| Client::open(&facts.reach, &dev.user, secret).unwrap();
    let (mut by_token, mut by_handle) = (open(&token), open(&handle));
    dev.run(&["signing-key", "rotate", "--at-once"]).unwrap().expect_failure(3).unwrap();
    facts.admin.must(&["signing-key", "rotate"]).unwrap();
    dev.psql("select 1").unwrap().expect_success().unwrap();

    let said = facts.admin.must(&["signing-key", "rotate", "--at-once"]).unwrap();
    assert_says(&said, &["every token, handle and session of before has ended"]);
    for session in [&mut by_token, &mut by_handle] {
        assert_says(&session.until_closed().unwrap(), &["PC1108"]);
    }
    let refused = |secret: &str| {
        let said = facts.reach.psql(&dev.user, secret, "select 1").unwrap();
        said.expect_failure(2).unwrap().stderr
    };
    assert_says(&refused(&token), &["PC1103"]);
    assert_says(&refused(&handle), &["PC1108"]);
    // Workloads go on by themselves, people sign in again.
    wait::until(Duration::from_secs(20), "a token of the new key", || {
        facts.api.psql("select 1").unwrap().ok().then_some(())
    });
    facts.admin.run(&["get", "groups"]).unwrap().expect_failure(4).unwrap();
    for person in [&facts.admin, &dev] {
        person.sign_in().unwrap();
    }
    facts.admin.must(&["get", "groups"]).unwrap();
    dev.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn a_recovered_owners_former_tokens_are_dead() {
    let mut stack = own();
    let facts = stack.facts.clone();
    let bearer = facts.admin.must(&["token"]).unwrap();
    let asked = |facts: &Facts| facts.reach.psql(&facts.admin.user, &bearer, "select 1").unwrap();
    // It counts: what is missing is a membership.
    assert_says(&asked(&facts).stderr, &["PC1203"]);
    stack.stop_server().unwrap();
    facts.on_host(&["recover-owner", &facts.admin.user]).unwrap().expect_success().unwrap();
    stack.start_server().unwrap();
    assert_says(&asked(&facts).stderr, &["PC1108"]);
    facts.admin.run(&["get", "users"]).unwrap().expect_failure(4).unwrap();
}

#[test]
fn a_log_that_is_lost_for_good_is_begun_anew_and_its_first_words_say_so() {
    let mut stack = own();
    let facts = stack.facts.clone();
    let begin = || facts.on_host(&["audit", "begin-anew", "--because", "the disk burnt"]).unwrap();
    assert_says(&begin().expect_failure(1).unwrap().stderr, &["stop the server first"]);
    stack.stop_server().unwrap();
    fs::remove_dir_all(facts.audit_log()).unwrap();
    assert!(stack.start_server().is_err(), "it began another log by itself");
    assert_says(&begin().expect_success().unwrap(), &["is kept as", "begins another log"]);
    stack.start_server().unwrap();
    let log = facts.audit(&[]).unwrap();
    let first = log.first().unwrap();
    assert_eq!(
        (text(first, "/action"), text(first, "/detail/reason")),
        ("auditLogBegunAnew", "the disk burnt")
    );
    assert!(first["detail"]["records"].as_u64().unwrap() > 10, "{first}");
    assert_eq!(text(&log[1], "/type"), "started");
    facts.on_host(&["audit", "verify"]).unwrap().expect_success().unwrap();
}

#[test]
fn a_server_that_was_gone_before_it_was_deleted_blocks_its_name_only_until_it_is_given_up() {
    let stack = own();
    let facts = &stack.facts;
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let abandon = || {
        facts.admin.run(&["server", "abandon", SERVER, "--because", "the machine burnt"]).unwrap()
    };
    assert_says(&abandon().stderr, &["PC2005", "delete it first"]);
    stack.postgres.crash().unwrap();
    let directory = facts.folder.join("seed/1-directory.yaml");
    facts.admin.must(&["apply", "--prune", "-f", directory.to_str().unwrap()]).unwrap();
    let seed = facts.folder.join("seed");
    let again =
        || facts.admin.run(&["apply", "--overwrite", "-f", seed.to_str().unwrap()]).unwrap();
    assert_says(&again().stderr, &["PC2005", "can still log in there"]);
    abandon().expect_success().unwrap();
    again().expect_success().unwrap();
    let given_up = events(facts, "installation", "serverAbandoned");
    assert_eq!(text(&given_up[0], "/detail/users"), "orders-api");
}

#[test]
fn systemd_is_told_when_it_is_ready_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stack = own();
    stack.stop_server().unwrap();
    let socket = path.to_str().unwrap().to_owned();
    stack.environment(&[
        ("NOTIFY_SOCKET".to_owned(), socket),
        ("WATCHDOG_USEC".to_owned(), "100000".to_owned()),
    ]);
    stack.start_server().unwrap();
    let heard = || {
        let mut bytes = [0; 64];
        let length = listener.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!([heard(), heard(), heard()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    stack.stop_server().unwrap();
    let stopping = std::iter::from_fn(|| Some(heard())).find(|state| state != "WATCHDOG=1");
    assert_eq!(stopping.unwrap(), "STOPPING=1");
}

#[test]
fn sessions_never_take_the_connections_that_a_cut_needs() {
    let stack = own();
    let facts = &stack.facts;
    // Five for everyone: two for sessions, three for the gateway.
    let sql =
        "alter system set max_connections = 8; alter system set superuser_reserved_connections = 3";
    for statement in sql.split(';') {
        stack.postgres.psql("postgres", statement).unwrap();
    }
    stack.postgres.crash().unwrap();
    stack.postgres.restart().unwrap();
    wait::until(Duration::from_secs(90), "the server's bound to be known", || {
        let server = facts.admin.run(&["get", "databaseservers", SERVER, "-o", "json"]).unwrap();
        let server: Value = server.json().unwrap();
        (server.pointer("/status/connectionsMax") == Some(&Value::from(5))).then_some(())
    });
    let token = facts.api.token(Credential::Secret).unwrap();
    let open = || Client::open(&facts.reach, "orders-api", &token);
    let mut held = vec![open().unwrap(), open().unwrap()];
    let full = format!("{:#}", open().unwrap_err());
    assert_says(&full, &["53300", "PC1004", "at most 2 sessions"]);
    facts.admin.must(&["cut", "--server", SERVER]).unwrap();
    for session in &mut held {
        assert_says(&session.until_closed().unwrap(), &["57P01", "PC1501"]);
    }
}
