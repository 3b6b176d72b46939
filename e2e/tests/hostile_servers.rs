//! A compromised database server: it has the right certificate and does what it likes. It ends its own sessions at most,
//! it gets nothing that it was not given, and what its sessions did is recorded to the end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use e2e::hostile::{Server, Session};
use e2e::load;
use e2e::raw::Client;
use testkit::stack::{Credential, Facts, Options, Stack};
use testkit::wait;

use crate::support::{assert_says, events, own, own_with, text};

const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// More than a session may ever hold, for a server that floods.
const FLOOD: usize = 200_000;

/// What it does instead of answering a statement, and what the client hears of it.
struct Attack {
    name: &'static str,
    does: fn(&mut Session) -> Result<()>,
    heard: &'static [&'static str],
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "a negative length",
        does: |session| session.write(b"D\xff\xff\xff\xff\0\0").and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "a length that is too short for itself",
        does: |session| session.write(b"C\0\0\0\x03").and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "a length over a gigabyte",
        does: |session| session.write(b"T\x7f\xff\xff\xff\0\0").and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "a short message that claims a megabyte",
        does: |session| session.write(b"Z\0\x10\0\0I").and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "a type that does not exist",
        does: |session| session.message(b'\0', b"").and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "a transaction status that does not exist",
        does: |session| session.message(b'Z', b"X").and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "a question for the password",
        does: |session| session.message(b'R', &[0, 0, 0, 3]).and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "another cancel key",
        does: |session| session.message(b'K', &[0; 8]).and_then(|()| session.stall()),
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "another protocol version",
        does: |session| {
            session.message(b'v', &[0, 3, 0, 2, 0, 0, 0, 0]).and_then(|()| session.stall())
        },
        heard: &["08P01", "PC1307"],
    },
    Attack {
        name: "an end in the middle of a message",
        does: |session| {
            session.write(b"D\0\0\xff\xff\0\x01")?;
            anyhow::bail!("it closes")
        },
        // Inside a message nothing can be said.
        heard: &[],
    },
];

/// Answers that nobody asked for, and then an ordinary one: the session goes on.
const ODDITIES: &[Attack] = &[
    Attack {
        name: "an error without a code",
        does: |session| session.message(b'E', b"MSomething went wrong\0\0"),
        heard: &["Something went wrong"],
    },
    Attack {
        name: "an error without anything",
        does: |session| session.message(b'E', b"\0"),
        heard: &[],
    },
    Attack {
        name: "answers to messages that were never sent",
        does: |session| {
            for tag in *b"123nsIt" {
                session.message(tag, if tag == b't' { b"\0\0" } else { b"" })?;
            }
            (0..1_000).try_for_each(|_| session.message(b'C', b"SELECT 1\0"))
        },
        heard: &["SELECT 1"],
    },
    Attack {
        name: "settings that no client has heard of",
        does: |session| {
            session.message(b'S', b"client_encoding\0no such encoding\0")?;
            session.message(b'S', &[b"x".repeat(60_000), b"\0\0".to_vec()].concat())
        },
        heard: &["no such encoding"],
    },
    Attack {
        name: "a flood of ReadyForQuery",
        does: |session| session.write(&b"Z\0\0\0\x05I".repeat(FLOOD)),
        heard: &[],
    },
    Attack {
        name: "a flood of notices and notifications",
        does: |session| {
            let notice = b"N\0\0\0\x0cMflood\0\0".as_slice();
            let notification = b"A\0\0\0\x0f\0\0\0\x01flood\0\0".as_slice();
            session.write(&[notice, notification].concat().repeat(FLOOD / 4))
        },
        heard: &["flood"],
    },
];

/// A stack whose server was replaced by one that does this after each client's first message.
fn with(attack: fn(&mut Session) -> Result<()>, stack: &Stack) -> Server {
    Server::in_place_of(&stack.postgres, move |session| {
        session.read()?;
        attack(session)?;
        session.message(b'C', b"SELECT 1\0")?;
        session.message(b'Z', b"I")?;
        session.stall()
    })
    .unwrap()
}

/// A user whom the gateway need not prepare any more, on a server that is gone.
fn orphaned(stack: &Stack) -> String {
    let facts = &stack.facts;
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    stack.postgres.crash().unwrap();
    facts.api.token(Credential::Secret).unwrap()
}

/// Every statement of an attack has an outcome, and every session an end.
fn assert_recorded(facts: &Facts, marker: &str) {
    let statement = events(facts, "statement", marker).pop().unwrap();
    let session = text(&statement, "/session").to_owned();
    events(facts, "statementOutcome", &session);
    events(facts, "sessionEnded", &session);
}

#[test]
fn cve_2026_6665_a_server_that_breaks_the_protocol_ends_its_own_sessions_only() {
    let stack = own();
    let token = orphaned(&stack);
    let facts = &stack.facts;
    for Attack { name, does, heard } in ATTACKS {
        let server = with(*does, &stack);
        let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
        client.query(&format!("select '{name}'")).unwrap();
        let said = client.until_closed().unwrap_or_else(|error| panic!("{name}: {error}"));
        for word in *heard {
            assert!(said.contains(word), "{name}: `{word}` is not in {said}");
        }
        drop((client, server));
        assert_recorded(facts, name);
    }
    stack.postgres.restart().unwrap();
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn cve_2026_6666_odd_answers_of_a_server_confuse_neither_the_session_nor_the_log() {
    let mut stack = own();
    let token = orphaned(&stack);
    let facts = stack.facts.clone();
    for Attack { name, does, heard } in ODDITIES {
        let server = with(*does, &stack);
        let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
        client.query(&format!("select '{name}'")).unwrap();
        let mut said = String::new();
        let mut complete = 0;
        // Up to the ordinary answer at the end.
        while complete < 1 {
            let message = client.read().unwrap_or_else(|error| panic!("{name}: {error}"));
            said.push_str(&message.text());
            let last = heard.last().is_none_or(|word| said.contains(word));
            complete += u32::from(message.tag == b'C' && last);
        }
        assert_says(&said, heard);
        drop((client, server));
        assert_recorded(&facts, name);
    }
    let memory = load::resident_bytes(stack.server().identity()).unwrap();
    assert!(memory < 400 << 20, "{memory} bytes of memory are in use");
    stack.postgres.restart().unwrap();
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn a_server_that_stalls_in_the_middle_of_a_message_does_not_hold_up_the_cut() {
    let stack = own();
    let token = orphaned(&stack);
    let facts = &stack.facts;
    let server = with(
        |session| session.write(b"D\0\0\xff\xff\0\x01").and_then(|()| session.stall()),
        &stack,
    );
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    client.query("select 'stalled'").unwrap();
    events(facts, "statement", "'stalled'");
    facts.admin.must(&["cut", "--principal", "orders-api", "--because", "it stalls"]).unwrap();
    // Inside a message nothing can be said to the client, so it is closed; the record says why.
    client.until_closed().unwrap();
    let ended = events(facts, "sessionEnded", "orders-api").pop().unwrap();
    assert_eq!((text(&ended, "/reason"), text(&ended, "/code")), ("cut", "PC1501"));
    drop(server);
}

#[test]
fn cve_2021_23222_what_a_server_sends_before_tls_is_not_taken_for_what_it_says_inside() {
    let stack = own();
    let facts = &stack.facts;
    let token = orphaned(&stack);
    let port = stack.postgres.port();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let impatient = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            for mut stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // In one segment; whoever is gone by then does not matter.
                let answer = [b"S", &b"R\0\0\0\x08\0\0\0\0"[..]].concat();
                drop(stream.read_exact(&mut [0; 8]).and_then(|()| stream.write_all(&answer)));
            }
        }
    });
    let refused = Client::open(&facts.reach, "orders-api", &token).unwrap_err();
    assert_says(&format!("{refused:#}"), &["FATAL", "PC1302", "unencrypted bytes"]);
    over.store(true, Ordering::SeqCst);
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    impatient.join().unwrap();
}

#[test]
fn what_a_server_sends_in_one_record_with_the_logins_end_is_relayed_and_watched() {
    let stack = own();
    let facts = &stack.facts;
    let token = orphaned(&stack);
    let notice = b"N\0\0\0\x25SNOTICE\0VNOTICE\0C00000\0Mat once\0\0";
    let server = Server::impatient_in_place_of(&stack.postgres, notice, Session::stall).unwrap();
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    assert_says(&client.read().unwrap().text(), &["at once"]);
    drop((client, server));

    let asks_again = b"R\0\0\0\x08\0\0\0\x03";
    let server =
        Server::impatient_in_place_of(&stack.postgres, asks_again, Session::stall).unwrap();
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    assert_says(&client.until_closed().unwrap(), &["FATAL", "PC1307"]);
    drop(server);
}

#[test]
fn a_server_that_lets_nobody_in_and_says_nothing_costs_each_login_its_time_and_no_more() {
    let options = Options { limits: "startupTimeout: 3s", ..Options::default() };
    let stack = own_with(&options);
    let facts = &stack.facts;
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    stack.postgres.crash().unwrap();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, stack.postgres.port())).unwrap();
    let refused = facts.api.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["FATAL:", "PC1301"]);
    drop(silent);
    stack.postgres.restart().unwrap();
    wait::until(ENDS_WITHIN, "the server's return", || {
        facts.api.psql("select 1").unwrap().ok().then_some(())
    });
}

#[test]
fn nothing_but_what_it_must_know_reaches_a_server() {
    let stack = own();
    let token = orphaned(&stack);
    let facts = &stack.facts;
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let server = Server::in_place_of(&stack.postgres, move |session| {
        let (_, query) = session.read()?;
        hearing.lock().unwrap().extend([session.startup.clone(), query].concat());
        session.message(b'C', b"SELECT 1\0")?;
        session.message(b'Z', b"I")
    })
    .unwrap();
    let mut client = Client::open(&facts.reach, "orders-api", &token).unwrap();
    client.query("select 1").unwrap();
    client.read_until(b'C').unwrap();
    drop((client, server));
    let heard = heard.lock().unwrap();
    let heard = String::from_utf8_lossy(&heard);
    assert_says(&heard, &["orders-api", "select 1"]);
    for part in token.split('.') {
        assert!(!heard.contains(part), "part of the token reached the server");
    }
}
