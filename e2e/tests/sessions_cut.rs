//! How soon a session is cut, whatever it is doing when its access ends; that a cut never waits for the client; and the
//! other ends that come from our side. Times are printed: `cargo test -p e2e sessions_cut -- --nocapture`.
#![expect(clippy::print_stdout, reason = "the measured times are for whoever runs it")]

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e::raw::Client;
use model::Timestamp;
use serde_json::Value;
use testkit::postgres::Postgres;
use testkit::stack::{Credential, Facts, Options, Person};
use testkit::wait;

use crate::support::{assert_says, events, newcomer, now, own, own_with, shared, text};

/// On a busy machine; the demo holds the tighter bound on a quiet one.
const CUT_WITHIN: Duration = Duration::from_secs(2);

/// Someone with access and an open session.
fn member(facts: &Facts, group: &str) -> (Person, String, Client) {
    let person = newcomer(facts, &[group]);
    let activation = facts.activate(&person, group, "10m").unwrap();
    let client = Client::open(&facts.reach, &person.user, &person.token().unwrap()).unwrap();
    (person, activation, client)
}

fn revoke(facts: &Facts, activation: &str) {
    facts.approver.must(&["revoke", activation, "--note", "test"]).unwrap();
}

/// The record of the cut, its times printed and held to the bound.
fn cut_of(facts: &Facts, person: &Person, doing: &str) -> Value {
    let cut = events(facts, "sessionCut", &person.user).pop().unwrap();
    let cause: Timestamp = text(&cut, "/causeAt").parse().unwrap();
    let after = |pointer| text(&cut, pointer).parse::<Timestamp>().unwrap().since(cause);
    let (stopped, closed, gone) =
        (after("/stoppedAt"), after("/clientClosedAt"), after("/backendGoneAt"));
    println!(
        "cut while {doing}: stopped {stopped:?}, client closed {closed:?}, backend gone {gone:?}"
    );
    assert!(stopped < CUT_WITHIN && closed < CUT_WITHIN && gone < CUT_WITHIN, "{cut}");
    cut
}

#[test]
fn an_idle_session_is_told_at_once() {
    let facts = shared();
    let (person, activation, mut client) = member(facts, "orders-readers");
    revoke(facts, &activation);
    let said = client.until_closed().unwrap();
    assert_says(&said, &["FATAL", "57P01", "PC1204", "orders-readers", "revoked by"]);
    assert_eq!(cut_of(facts, &person, "idle")["told"], true);
}

#[test]
fn a_running_statement_is_stopped() {
    let facts = shared();
    let (person, activation, mut client) = member(facts, "orders-readers");
    client.query("select pg_sleep(120)").unwrap();
    wait::pause(Duration::from_millis(200));
    revoke(facts, &activation);
    assert_says(&client.until_closed().unwrap(), &["FATAL", "57P01", "PC1204"]);
    assert_eq!(cut_of(facts, &person, "a statement runs")["told"], true);
}

#[test]
fn an_open_transaction_is_rolled_back() {
    let stack = own();
    let facts = &stack.facts;
    let (person, activation, mut client) = member(facts, "orders-writers");
    client.query("begin; update orders set status = 'new' where id = 1").unwrap();
    client.read_until(b'Z').unwrap();
    revoke(facts, &activation);
    assert_says(&client.until_closed().unwrap(), &["PC1204"]);
    let lock = "set lock_timeout = '100ms'; begin; select id from orders where id = 1 for update";
    let locked = || stack.postgres.psql("orders", lock).ok();
    wait::until(Duration::from_secs(5), "the end of the row's lock", locked);
    cut_of(facts, &person, "a transaction is open");
}

#[test]
fn a_large_result_stops_while_the_client_reads_it() {
    let facts = shared();
    let (person, activation, mut client) = member(facts, "orders-readers");
    client.query("select repeat('x', 1000) from generate_series(1, 10000) a, generate_series(1, 10000) b").unwrap();
    let rows = AtomicU64::new(0);
    let said = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            loop {
                match client.read() {
                    Ok(message) if message.tag == b'E' => return Some(message.text()),
                    Ok(_) => rows.fetch_add(1, Ordering::Relaxed),
                    Err(_) => return None,
                };
            }
        });
        wait::until(Duration::from_secs(30), "the first rows", || {
            (rows.load(Ordering::Relaxed) > 100).then_some(())
        });
        revoke(facts, &activation);
        reading.join().unwrap()
    });
    let cut = cut_of(facts, &person, "a large result is read");
    // A mid-message close is allowed, and then the record says that nobody was told.
    assert_eq!(cut["told"] == true, said.is_some());
    assert_says(&said.unwrap_or_else(|| "57P01 PC1204".to_owned()), &["57P01", "PC1204"]);
}

#[test]
fn a_client_that_does_not_read_is_closed_all_the_same() {
    let facts = shared();
    let (person, activation, mut client) = member(facts, "orders-readers");
    client.query("select repeat('x', 1000) from generate_series(1, 10000) a, generate_series(1, 10000) b").unwrap();
    // Whatever is on the way is full once the server has waited for a while to write.
    let postgres = Postgres::attach(&facts.postgres).unwrap();
    let waits = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and wait_event = 'ClientWrite'",
        person.user
    );
    let mut looks = 0;
    wait::until(Duration::from_mins(1), "a server that cannot write", || {
        looks = if postgres.psql("postgres", &waits).unwrap() == "1" { looks + 1 } else { 0 };
        (looks >= 20).then_some(())
    });
    drop(postgres);
    revoke(facts, &activation);
    let cut = cut_of(facts, &person, "the client does not read");
    assert_eq!(cut["told"], false);
    let session = text(&cut, "/session");
    let sessions = facts.admin.must(&["sessions"]).unwrap();
    assert!(!sessions.contains(session), "{sessions}");
    // What a mid-message close could not say, the record and the next login do.
    assert_says(&facts.admin.must(&["why", session]).unwrap(), &["PC1204", "orders-readers"]);
    drop(client);
}

#[test]
fn a_copy_into_the_server_is_stopped() {
    let facts = shared();
    let (person, activation, mut client) = member(facts, "orders-writers");
    client.query("create temp table filling (name text)").unwrap();
    client.read_until(b'Z').unwrap();
    client.query("copy filling from stdin").unwrap();
    client.read_until(b'G').unwrap();
    let filling = std::thread::spawn(move || {
        let row = [&b"d\0\0\x04\x04"[..], &[b'x'; 1023], b"\n"].concat();
        while client.write(&row.repeat(50)).is_ok() {}
        client.until_closed()
    });
    wait::pause(Duration::from_millis(300));
    revoke(facts, &activation);
    // It may read the reason or find the connection reset, but it ends.
    drop(filling.join().unwrap());
    cut_of(facts, &person, "COPY runs");
}

#[test]
fn a_deleted_server_cuts_its_sessions_and_leaves_no_user_that_can_log_in() {
    let stack = own();
    let facts = &stack.facts;
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    // The server goes together with everything that refers to it: nothing else ends the session first.
    let directory = facts.folder.join("seed/1-directory.yaml");
    let said = facts.admin.run(&["apply", "--prune", "-f", directory.to_str().unwrap()]).unwrap();
    assert_says(&said.expect_success().unwrap(), &["DatabaseServer", "orders"]);
    assert_says(&client.until_closed().unwrap(), &["57P01", "PC1507"]);
    let cut = events(facts, "sessionCut", "orders-api").pop().unwrap();
    assert_eq!(text(&cut, "/code"), "PC1507");
    let refused = facts.api.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["PC1"]);
    let login = "select rolcanlogin from pg_roles where rolname = 'orders-api'";
    wait::until(Duration::from_secs(20), "the user to lose its login", || {
        (stack.postgres.psql("postgres", login).unwrap() == "f").then_some(())
    });
}

/// Faults are injected into the running server's file locks: SQLite cannot read then, as on a disk that has gone.
#[test]
fn a_gateway_that_has_lost_the_store_opens_nothing_more_and_after_the_bound_cuts() {
    let mut stack = own();
    let facts = stack.facts.clone();
    let bounds = "gateway:\n  stalenessLoginMax: 2s\n  stalenessSessionMax: 6s\n";
    let configured = std::fs::read_to_string(facts.configuration()).unwrap();
    std::fs::write(facts.configuration(), configured.replace("gateway:\n", bounds)).unwrap();
    stack.stop_server().unwrap();
    stack.start_server().unwrap();
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    let server = stack.server().identity().pid.to_string();
    let words =
        ["-f", "-qq", "-e", "trace=fcntl", "-e", "inject=fcntl:error=EIO", "-o", "/dev/null"];
    let mut strace = Command::new("strace").args(words).args(["-p", &server]).spawn().unwrap();
    let refused = wait::until(Duration::from_secs(20), "logins to be refused", || {
        Client::open(&facts.reach, "orders-api", &token).err()
    });
    assert_says(&format!("{refused:#}"), &["PC1206"]);
    client.query("select 1").unwrap();
    client.read_until(b'Z').unwrap();
    assert_says(&client.until_closed().unwrap(), &["57P01", "PC1206"]);
    testkit::process::Identity::of(strace.id()).unwrap().interrupt();
    strace.wait().unwrap();
    wait::until(Duration::from_secs(20), "the store to be there again", || {
        Client::open(&facts.reach, "orders-api", &token).ok()
    });
}

#[test]
fn an_idle_bound_ends_waiting_sessions_and_no_running_one() {
    let stack = own();
    let facts = &stack.facts;
    bound_sessions(facts, "idleMax: 2s");
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut waiting = Client::open(&facts.reach, "orders-api", &token).unwrap();
    let mut running = Client::open(&facts.reach, "orders-api", &token).unwrap();
    running.query("select pg_sleep(4)").unwrap();
    let started = now();
    assert_says(&waiting.until_closed().unwrap(), &["57P05", "PC1503"]);
    assert!((1..8).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    running.read_until(b'Z').unwrap();
}

#[test]
fn a_statement_that_runs_too_long_ends_its_session_and_short_ones_in_a_row_do_not() {
    let stack = own();
    let facts = &stack.facts;
    bound_sessions(facts, "statementMax: 2s");
    let token = facts.api.token(Credential::Secret).unwrap();
    let mut long = Client::open(&facts.reach, "orders-api", &token).unwrap();
    let mut short = Client::open(&facts.reach, "orders-api", &token).unwrap();
    long.query("select pg_sleep(30)").unwrap();
    let started = now();
    for _ in 0..3 {
        short.query("select pg_sleep(1)").unwrap();
        short.read_until(b'Z').unwrap();
    }
    assert_says(&long.until_closed().unwrap(), &["57014", "PC1508"]);
    assert!((2..10).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    short.query("select 1").unwrap();
    short.read_until(b'Z').unwrap();
}

#[test]
fn sessions_of_one_principal_are_bounded() {
    let stack = own();
    let facts = &stack.facts;
    bound_sessions(facts, "perPrincipalMax: 2, perServerMax: 3");
    let token = facts.api.token(Credential::Secret).unwrap();
    let open = || Client::open(&facts.reach, "orders-api", &token);
    let (first, _second) = (open().unwrap(), open().unwrap());
    assert_says(&format!("{:#}", open().unwrap_err()), &["53300", "PC1004"]);
    drop(first);
    wait::until(Duration::from_secs(5), "a free place", || open().ok());
}

#[test]
fn a_stop_lets_statements_finish_and_tells_everyone_else() {
    let mut stack = own_with(&Options { limits: "drain: 5s", ..Options::default() });
    let facts = stack.facts.clone();
    let token = facts.api.token(Credential::Secret).unwrap();
    let open = || Client::open(&facts.reach, "orders-api", &token).unwrap();
    let (mut idle, mut short, mut long) = (open(), open(), open());
    short.query("select pg_sleep(1), 'finished'").unwrap();
    long.query("select pg_sleep(60)").unwrap();
    wait::pause(Duration::from_millis(200));
    stack.stop_server().unwrap();
    assert_says(&idle.until_closed().unwrap(), &["57P01", "PC1502"]);
    assert_says(&short.until_closed().unwrap(), &["finished", "57P01", "PC1502"]);
    assert_says(&long.until_closed().unwrap(), &["57P01", "PC1502"]);
}

/// The stack's server with bounds on its sessions.
pub(crate) fn bound_sessions(facts: &Facts, bounds: &str) {
    let seed = std::fs::read_to_string(facts.folder.join("seed/2-server.yaml")).unwrap();
    let bounded = seed.replace(
        "publicNetworkAccess:",
        &format!("sessions: {{ {bounds} }}\n  publicNetworkAccess:"),
    );
    assert_ne!(seed, bounded);
    facts.apply(&bounded).unwrap().expect_success().unwrap();
}
