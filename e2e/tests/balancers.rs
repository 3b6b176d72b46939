//! PROXY protocol v2: a listed balancer's word counts, nobody else's does, and whatever is not exactly that is refused.

use std::io::Write;
use std::net::{Ipv6Addr, Shutdown};

use e2e::raw::{self, Client, SSL_REQUEST};
use testkit::stack::{Credential, Stack};

use crate::support::{assert_says, events, own, text};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// A stack behind whose first listener's door only these may speak for others.
fn behind(listed: &str) -> Stack {
    let mut stack = own();
    let file = stack.facts.configuration();
    let text = std::fs::read_to_string(&file).unwrap();
    let with = format!("- {{ name: postgresql, proxyProtocolFrom: [{listed}], ");
    let changed = text.replace("- { name: postgresql, ", &with);
    assert_ne!(changed, text);
    std::fs::write(&file, changed).unwrap();
    stack.stop_server().unwrap();
    stack.start_server().unwrap();
    stack
}

fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length[..], body].concat()
}

fn from_v4(source: [u8; 4]) -> Vec<u8> {
    header(0x21, TCP4, &[&source[..], &[127, 0, 0, 1, 1, 1, 2, 2]].concat())
}

fn from_v6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let to = Ipv6Addr::LOCALHOST.octets();
    header(0x21, TCP6, &[&source.octets()[..], &to, &[1, 1, 2, 2]].concat())
}

/// All that comes back to these bytes.
fn answer(stack: &Stack, bytes: &[u8]) -> String {
    let mut stream = raw::connect(stack.facts.reach.port).unwrap();
    // Whoever is refused early may have closed already.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    String::from_utf8_lossy(&raw::until_closed(&mut stream).unwrap_or_default()).into_owned()
}

#[test]
fn cve_2026_91164_an_address_that_a_balancer_names_is_held_to_the_same_rules_and_is_the_one_in_the_log()
 {
    let stack = behind("127.0.0.0/8");
    let facts = &stack.facts;
    let startup = raw::startup(&[("user", "orders-api"), ("database", "orders")]);
    for (header, code) in [
        (from_v4([127, 0, 0, 1]), "PC1002"),
        (from_v6("::1"), "PC1002"),
        (from_v6("::ffff:127.0.0.1"), "PC1002"),
        (from_v4([192, 0, 2, 7]), "PC1001"),
        (from_v6("2001:db8::7"), "PC1001"),
        (from_v6("::ffff:192.0.2.7"), "PC1001"),
    ] {
        assert_says(&answer(&stack, &[header, startup.clone()].concat()), &[code]);
    }
    let log = std::fs::read_to_string(facts.log()).unwrap();
    assert_says(&log, &["source=192.0.2.7", "source=2001:db8::7"]);

    let token = facts.api.token(Credential::Secret).unwrap();
    let mut client = Client::secured_behind(&facts.reach, &from_v4([127, 0, 0, 9])).unwrap();
    client.write(&startup).unwrap();
    let _open = client.log_in(&token).unwrap();
    let opened = events(facts, "sessionOpened", "127.0.0.9");
    assert_eq!(text(&opened[0], "/source"), "127.0.0.9");
    let sessions = facts.admin.must(&["sessions"]).unwrap();
    assert_says(&sessions, &["127.0.0.9", "orders-api"]);
}

#[test]
fn what_a_listed_balancer_sends_is_exactly_a_header_or_the_connection_is_closed() {
    let stack = behind("127.0.0.0/8");
    let startup = raw::startup(&[("user", "orders-api"), ("database", "orders")]);
    let good = [127, 0, 0, 1, 127, 0, 0, 1, 1, 1, 2, 2];
    for (what, header) in [
        ("none at all", SSL_REQUEST.to_vec()),
        ("version 1", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n".to_vec()),
        ("another version", header(0x11, TCP4, &good)),
        ("an unknown command", header(0x22, TCP4, &good)),
        ("LOCAL, its own health check", header(0x20, 0, b"")),
        ("an address of no family", header(0x21, 0, &good)),
        ("UDP", header(0x21, 0x12, &good)),
        ("a Unix socket", header(0x21, 0x31, &[b'/'; 216])),
        ("too short for its family", header(0x21, TCP6, &good)),
        ("more than anyone needs", header(0x21, TCP4, &[0; 4097])),
        ("cut off", SIGNATURE[..8].to_vec()),
    ] {
        let said = answer(&stack, &[header, startup.clone()].concat());
        assert_eq!(said, "", "{what}");
    }
    // Extensions behind the addresses are read away.
    let extended = header(0x21, TCP4, &[&good[..], &[0x04, 0, 3, 1, 2, 3]].concat());
    assert_says(&answer(&stack, &[extended, startup].concat()), &["PC1002"]);
}

#[test]
fn a_header_from_whoever_is_not_listed_is_refused_and_names_nobody() {
    let stack = behind("192.0.2.0/24");
    let facts = &stack.facts;
    let startup = raw::startup(&[("user", "orders-api"), ("database", "orders")]);
    let said = answer(&stack, &[from_v4([192, 0, 2, 7]), startup].concat());
    assert!(!said.contains("192.0.2.7") && !said.contains("PC1002"), "{said}");
    // Others are served as before, as themselves.
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let opened = events(facts, "sessionOpened", "orders-api");
    assert_eq!(text(opened.last().unwrap(), "/source"), "127.0.0.1");
    let sessions = ["--text", "192.0.2.7", "--type", "sessionOpened", "--type", "sessionRefused"];
    let log = facts.audit(&sessions).unwrap();
    assert_eq!(log, Vec::<serde_json::Value>::new());
}
