//! Clients that take more than their share: what they get is bounded, others are served meanwhile, and when they are
//! gone everything is as before. `cargo xtask bench hostility` measures what the others notice.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use e2e::load::{self, Crowd, HALF_A_CLIENT_HELLO, SSL_REQUEST};
use e2e::raw::{self, Client};
use testkit::program;
use testkit::stack::{Credential, Facts, Options, Stack};
use testkit::{process, wait};

use crate::support::{assert_says, events, own, own_with, shared, text};

const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
const BYTES_MAX: u64 = 400 << 20;

#[track_caller]
fn assert_serves(facts: &Facts) {
    let read = facts.api.psql("select count(*) from products").unwrap();
    assert_eq!(read.expect_success().unwrap(), "500");
}

/// When those who are leaving have left.
#[track_caller]
fn serves_soon(facts: &Facts) {
    wait::until(RECOVERED_WITHIN, "an answer", || {
        facts.api.psql("select 1").unwrap().ok().then_some(())
    });
}

fn token(facts: &Facts) -> String {
    facts.api.token(Credential::Secret).unwrap()
}

/// Memory of the server's process.
fn resident(stack: &mut Stack) -> u64 {
    load::resident_bytes(stack.server().identity()).unwrap()
}

fn limited(stack: &mut Stack, limit: &str) {
    let pid = stack.server().identity().pid.to_string();
    let mut prlimit = Command::new("prlimit");
    program::run(prlimit.args(["--pid", &pid, limit])).unwrap().expect_success().unwrap();
}

#[test]
fn half_open_connections_from_very_many_addresses_keep_nobody_out() {
    process::raise_descriptor_limit().unwrap();
    let mut stack = own_with(&Options { limits: "connectionsMax: 100", ..Options::default() });
    let facts = stack.facts.clone();
    let mut open = Client::open(&facts.reach, "orders-api", &token(&facts)).unwrap();
    for says in [&b""[..], &SSL_REQUEST[..3], &SSL_REQUEST] {
        let mut strangers = load::half_open(facts.reach.port, 600, says).unwrap();
        open.query("select 1").unwrap();
        open.read_until(b'Z').unwrap();
        // Once they have been strangers for a while, the oldest makes room.
        serves_soon(&facts);
        wait::until(RECOVERED_WITHIN, "room", || load::is_closed(&mut strangers[0]).then_some(()));
        let memory = resident(&mut stack);
        assert!(memory < BYTES_MAX, "{memory} bytes of memory are in use");
    }
    assert_serves(&facts);
    assert!(load::descriptors(stack.server().identity()).unwrap() < 300);
}

#[test]
fn cve_2026_7776_a_handshake_that_is_not_finished_holds_its_place_for_a_while_only() {
    let stack = own_with(&Options { limits: "startupTimeout: 2s", ..Options::default() });
    let facts = &stack.facts;
    let mut stalled: Vec<_> = (0..20).map(|_| raw::connect(facts.reach.port).unwrap()).collect();
    for stream in &mut stalled {
        stream.write_all(&SSL_REQUEST).unwrap();
        std::io::Read::read_exact(stream, &mut [0]).unwrap();
        stream.write_all(&HALF_A_CLIENT_HELLO).unwrap();
    }
    assert_serves(facts);
    for stream in &mut stalled {
        assert_eq!(raw::until_closed(stream).unwrap(), b"");
    }
    // A byte now and then does not make the time longer.
    let dripping = Crowd::slow_logins(10, &facts.reach, Duration::from_millis(300));
    wait::until(RECOVERED_WITHIN, "the end of each", || {
        (dripping.done.load(Ordering::Relaxed) > 10).then_some(())
    });
    assert_serves(facts);
}

#[test]
fn a_session_that_sends_a_byte_at_a_time_is_served_at_its_own_pace_and_holds_up_nobody() {
    let facts = shared();
    let slow = Crowd::slow_sessions(10, &facts.reach, &token(facts), Duration::from_millis(30));
    assert_serves(facts);
    wait::until(RECOVERED_WITHIN, "their answers", || {
        (slow.done.load(Ordering::Relaxed) > 10).then_some(())
    });
}

#[test]
fn clients_that_never_read_a_huge_result_take_no_memory_and_are_cut_all_the_same() {
    let mut stack = own();
    let facts = stack.facts.clone();
    let mut silent = load::never_reading(8, &facts.reach, &token(&facts)).unwrap();
    wait::until(RECOVERED_WITHIN, "their statements", || {
        let running = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'";
        (stack.postgres.psql("postgres", running).unwrap() == "8").then_some(())
    });
    assert_serves(&facts);
    let memory = resident(&mut stack);
    assert!(memory < BYTES_MAX, "{memory} bytes of memory are in use");
    facts
        .admin
        .must(&["cut", "--principal", "orders-api", "--because", "they do not read"])
        .unwrap();
    wait::until(RECOVERED_WITHIN, "eight ends", || {
        let ended = events(&facts, "sessionEnded", "orders-api");
        let cut = ended.iter().filter(|ended| text(ended, "/reason") == "cut");
        (cut.count() == 8).then_some(())
    });
    wait::until(RECOVERED_WITHIN, "eight backends less", || {
        let backends = "select count(*) from pg_stat_activity where usename = 'orders-api'";
        (stack.postgres.psql("postgres", backends).unwrap() == "0").then_some(())
    });
    drop(silent.drain(..));
    assert_serves(&facts);
}

#[test]
fn a_storm_of_logins_is_served_or_turned_away_and_passes() {
    let stack = own_with(&Options { limits: "connectionsMax: 20", ..Options::default() });
    let facts = &stack.facts;
    let storm = Crowd::logins(40, &facts.reach, &token(facts));
    wait::until(RECOVERED_WITHIN, "a hundred logins", || {
        (storm.done.load(Ordering::Relaxed) > 100).then_some(())
    });
    drop(storm);
    serves_soon(facts);
    let sessions = wait::try_until(RECOVERED_WITHIN, || {
        let listed = facts.admin.must(&["sessions", "-o", "json"]).ok()?;
        listed.trim().eq("[]").then_some(())
    });
    assert!(sessions.is_some(), "sessions are left of the storm");
}

#[test]
fn sessions_never_take_the_descriptors_that_ending_them_needs() {
    let wrapper = ["sh", "-c", "ulimit -n 200; exec \"$@\"", "--"].map(str::to_owned).to_vec();
    let mut stack = own_with(&Options { wrapper, ..Options::default() });
    let facts = stack.facts.clone();
    assert_says(&std::fs::read_to_string(facts.log()).unwrap(), &["raise LimitNOFILE"]);
    let token = token(&facts);
    let mut sessions = Vec::new();
    while let Ok(client) = Client::open(&facts.reach, "orders-api", &token) {
        sessions.push(client);
    }
    assert!((20..=40).contains(&sessions.len()), "{} sessions", sessions.len());
    for client in &mut sessions {
        client.query("select 1").unwrap();
        client.read_until(b'Z').unwrap();
    }
    // Store, log, API and the standing connection to the server work on.
    let group =
        "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: { name: when-full }\nspec: {}\n";
    facts.apply(group).unwrap().expect_success().unwrap();
    facts.admin.must(&["cut", "--principal", "orders-api", "--because", "room"]).unwrap();
    for client in &mut sessions {
        assert_says(&client.until_closed().unwrap(), &["57P01", "PC1501"]);
    }
    serves_soon(&facts);
    let whole = facts.on_host(&["audit", "verify"]).unwrap();
    assert!(whole.ok(), "{whole}");
    assert!(!std::fs::read_to_string(facts.log()).unwrap().contains("could not be accepted"));
    assert!(load::descriptors(stack.server().identity()).unwrap() < 100);
}

#[test]
fn an_accept_that_fails_for_want_of_descriptors_is_tried_again_without_haste() {
    let mut stack = own();
    let facts = stack.facts.clone();
    assert_serves(&facts);
    let (token, open) = (token(&facts), load::descriptors(stack.server().identity()).unwrap());
    limited(&mut stack, &format!("--nofile={open}:"));
    let mut waiting: Vec<_> = (0..8).map(|_| raw::connect(facts.reach.port).unwrap()).collect();
    wait::until(RECOVERED_WITHIN, "two failures", || {
        let log = std::fs::read_to_string(facts.log()).unwrap();
        (log.matches("could not be accepted").count() >= 2).then_some(())
    });
    let before = std::fs::read_to_string(facts.log()).unwrap();
    limited(&mut stack, "--nofile=4096:");
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    client.query("select 1").unwrap();
    client.read_until(b'Z').unwrap();
    waiting[0].write_all(&SSL_REQUEST).unwrap();
    std::io::Read::read_exact(&mut waiting[0], &mut [0]).unwrap();
    // A loop that does not wait would have said so tens of thousands of times.
    let failures = before.matches("could not be accepted").count();
    assert!(failures < 1_000, "{failures} failures were said");
}

#[test]
fn memory_that_runs_out_ends_the_process_and_damages_nothing() {
    let mut stack = own();
    let facts = stack.facts.clone();
    let token = token(&facts);
    facts.api.psql("select 'before the end'").unwrap().expect_success().unwrap();
    let status = format!("/proc/{}/status", stack.server().identity().pid);
    let status = std::fs::read_to_string(status).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    limited(&mut stack, &format!("--as={}", (size + 48 * 1024) * 1024));
    // Prepared statements are kept up to 32 MiB a session.
    let text = format!("select '{}'", "x".repeat(500_000));
    let parse = |name: u32| [format!("s{name}\0{text}\0").as_bytes(), b"\0\0"].concat();
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let Ok(mut client) = Client::open(&facts.reach, "orders-api", &token) else { break };
        for name in 0..50 {
            if client.message(b'P', &parse(name)).is_err() {
                break;
            }
        }
        drop(client.message(b'S', b""));
        greedy.push(client);
    }
    wait::until(RECOVERED_WITHIN, "its end", || stack.server().ended());
    drop(greedy);
    stack.start_server().unwrap();
    let whole = facts.on_host(&["audit", "verify"]).unwrap();
    assert!(whole.ok(), "{whole}");
    assert!(!events(&facts, "statement", "before the end").is_empty());
    assert_serves(&facts);
}
