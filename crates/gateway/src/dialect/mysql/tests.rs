//! A server that does not keep to the protocol, or says no: each gets its own refusal, and nothing of what is only
//! between us and the server reaches a client.

use model::code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::mysql::authentication::{
    CACHING_SHA2, CLEAR_PASSWORD, ED25519, NATIVE_PASSWORD, SHA256_PASSWORD, caching_sha2_answer,
    ed25519_answer, more_data, native_answer, switch_request,
};
use wire::mysql::error::{Report, ok};
use wire::mysql::greeting::Greeting;
use wire::mysql::{Capabilities, packet};

use super::login::{Wish, enter, request_tls};
use crate::outcome::Denied;
use crate::upstream::Proof;

const RESPONSE: &[u8] = b"handshake response";
/// The number of the next packet for the client.
const CLIENT: u8 = 5;

fn error(code: u16, sqlstate: &str, message: &str) -> Vec<u8> {
    Report { code, sqlstate, message }.encode()
}

/// What comes of a login when the server says these payloads and then closes; and what it was told.
async fn entered(said: &[Vec<u8>]) -> (Result<Vec<u8>, Denied>, Vec<u8>) {
    let numbered: Vec<(u8, Vec<u8>)> = (1_u8..).map(|it| it * 2 + 1).zip(said.to_vec()).collect();
    entered_with(&Proof::Certificate, &numbered).await
}

async fn entered_with(proof: &Proof, said: &[(u8, Vec<u8>)]) -> (Result<Vec<u8>, Denied>, Vec<u8>) {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
    for (number, payload) in said {
        theirs.write_all(&packet::encode(*number, payload)).await.unwrap();
    }
    theirs.shutdown().await.unwrap();
    let entered = enter(&mut ours, RESPONSE.to_vec(), proof, CLIENT).await;
    drop(ours);
    let mut told = Vec::new();
    theirs.read_to_end(&mut told).await.unwrap();
    (entered, told)
}

async fn refused(said: &[Vec<u8>]) -> Denied {
    entered(said).await.0.unwrap_err()
}

#[tokio::test]
async fn a_server_that_takes_the_certificate_lets_us_in() {
    let (entered, told) = entered(&[ok(2)]).await;
    assert_eq!(entered.unwrap(), ok(2));
    assert_eq!(told, packet::encode(2, RESPONSE));
}

#[tokio::test]
async fn an_account_without_a_password_is_answered_with_none() {
    for plugin in [NATIVE_PASSWORD, CACHING_SHA2] {
        let (entered, told) = entered(&[switch_request(plugin, &[7; 21]), ok(2)]).await;
        assert_eq!(entered.unwrap(), ok(2));
        assert_eq!(told, [packet::encode(2, RESPONSE), packet::encode(4, &[])].concat());
    }
    // Whoever wants more than that is told nothing.
    for wanted in [3, 4] {
        let said = [switch_request(CACHING_SHA2, &[7; 21]), more_data(&[wanted])];
        let (entered, told) = entered(&said).await;
        assert!(entered.is_err());
        assert_eq!(told, [packet::encode(2, RESPONSE), packet::encode(4, &[])].concat());
    }
}

const SCRAMBLE: &[u8] = b"abcdefghijklmnopqrst";

#[tokio::test]
async fn a_shared_users_password_is_proved_as_the_server_asks() {
    let proof = Proof::Password(b"p4ss".to_vec().into());
    let clear = b"p4ss\0".to_vec();
    for (plugin, answer) in [
        (NATIVE_PASSWORD, native_answer(b"p4ss", SCRAMBLE)),
        (CACHING_SHA2, caching_sha2_answer(b"p4ss", SCRAMBLE)),
        (ED25519, ed25519_answer(b"p4ss", SCRAMBLE)),
        (SHA256_PASSWORD, clear.clone()),
        (CLEAR_PASSWORD, clear.clone()),
    ] {
        let said = [(3, switch_request(plugin, SCRAMBLE)), (5, ok(2))];
        let (entered, told) = entered_with(&proof, &said).await;
        assert_eq!(entered.unwrap(), ok(2), "{plugin}");
        assert_eq!(told, [packet::encode(2, RESPONSE), packet::encode(4, &answer)].concat());
    }
    let scramble = caching_sha2_answer(b"p4ss", SCRAMBLE);
    let fast = [(3, switch_request(CACHING_SHA2, SCRAMBLE)), (5, more_data(&[3])), (6, ok(2))];
    let (entered, told) = entered_with(&proof, &fast).await;
    assert_eq!(entered.unwrap(), ok(2));
    assert_eq!(told, [packet::encode(2, RESPONSE), packet::encode(4, &scramble)].concat());
    let full = [(3, switch_request(CACHING_SHA2, SCRAMBLE)), (5, more_data(&[4])), (7, ok(2))];
    let (entered, told) = entered_with(&proof, &full).await;
    assert_eq!(entered.unwrap(), ok(2));
    let all = [(2, RESPONSE), (4, &scramble), (6, &clear)];
    assert_eq!(told, all.map(|(number, said)| packet::encode(number, said)).concat());
}

#[tokio::test]
async fn a_token_is_given_in_place_of_a_password_in_clear_text_and_of_no_other() {
    let proof = Proof::Token(b"eyJ0".to_vec().into());
    let said = [(3, switch_request(CLEAR_PASSWORD, &[])), (5, ok(2))];
    let (entered, told) = entered_with(&proof, &said).await;
    assert_eq!(entered.unwrap(), ok(2));
    assert_eq!(told, [packet::encode(2, RESPONSE), packet::encode(4, b"eyJ0\0")].concat());
    for plugin in [NATIVE_PASSWORD, CACHING_SHA2, ED25519, SHA256_PASSWORD, "dialog"] {
        let said = [(3, switch_request(plugin, SCRAMBLE))];
        let (entered, told) = entered_with(&proof, &said).await;
        assert_eq!(entered.unwrap_err().refusal.code, &code::UPSTREAM_CREDENTIAL, "{plugin}");
        assert_eq!(told, packet::encode(2, RESPONSE));
    }
}

#[tokio::test]
async fn what_a_server_says_of_a_shared_users_password_is_not_shown() {
    let proof = Proof::Password(b"p4ss".to_vec().into());
    let said = error(1045, "28000", "Access denied for user 'app_reader'@'10.0.0.5'");
    let denied = entered_with(&proof, &[(3, said)]).await.0.unwrap_err();
    assert_eq!(denied.refusal.code, &code::UPSTREAM_CREDENTIAL);
    assert!(!denied.refusal.message.contains("app_reader") && denied.verbatim.is_none());
}

#[tokio::test]
async fn a_server_that_wants_anything_but_the_certificate_gets_nothing() {
    for said in [
        vec![switch_request(CLEAR_PASSWORD, &[])],
        vec![switch_request(SHA256_PASSWORD, &[7; 21])],
        vec![switch_request("dialog", b"\x04Password: ")],
        vec![error(1045, "28000", "Access denied for user 'ada'@'gateway' (using password: NO)")],
        vec![error(4151, "HY000", "Access denied, this account is locked")],
    ] {
        let (entered, told) = entered(&said).await;
        let denied = entered.unwrap_err();
        assert_eq!((denied.refusal.code, &denied.verbatim), (&code::UPSTREAM_REFUSED, &None));
        assert!(!denied.refusal.to_string().contains("ada"), "{denied}");
        assert_eq!(told, packet::encode(2, RESPONSE));
    }
}

#[tokio::test]
async fn the_servers_own_reasons_are_passed_on_as_they_are() {
    for (number, sqlstate, code) in [
        (1040, "08004", &code::TOO_MANY_CONNECTIONS),
        (1049, "42000", &code::DATABASE_UNKNOWN),
        (1129, "HY000", &code::UPSTREAM_REFUSED),
    ] {
        let said = error(number, sqlstate, "the reason");
        let denied = refused(std::slice::from_ref(&said)).await;
        assert_eq!(denied.refusal.code, code, "{number}");
        assert_eq!(denied.verbatim, Some(packet::encode(CLIENT, &said)), "{number}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_keep_to_the_protocol_is_refused() {
    let again = vec![switch_request(NATIVE_PASSWORD, &[7; 21]); 8];
    for said in [vec![], vec![vec![]], vec![vec![9, 9]], vec![vec![1, 4]], again] {
        let denied = refused(&said).await;
        let expected =
            if said.is_empty() { &code::UPSTREAM_LOST } else { &code::UPSTREAM_MALFORMED };
        assert_eq!(denied.refusal.code, expected, "{denied}");
    }
}

/// What comes of the request for TLS when a server greets us like this.
async fn asked(greeting: &[u8]) -> (Result<(), Denied>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut theirs, _) = listener.accept().await.unwrap();
    theirs.write_all(greeting).await.unwrap();
    let asked = request_tls(&mut ours, Wish::anything()).await.map(drop);
    drop(ours);
    let mut told = Vec::new();
    // What we left unread makes the end a reset.
    if let Err(error) = theirs.read_to_end(&mut told).await {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    (asked, told)
}

fn greeting(capabilities: Capabilities) -> Vec<u8> {
    let greeting = Greeting {
        version: "10.11.14-MariaDB".to_owned(),
        connection_id: 7,
        scramble: vec![b'x'; 20],
        capabilities,
        collation: 45,
        status: 2,
        plugin: NATIVE_PASSWORD.to_owned(),
    };
    packet::encode(0, &greeting.encode())
}

#[tokio::test]
async fn a_server_is_asked_for_tls_and_told_nothing_without_it() {
    let all = Capabilities::from_bits(u64::from(u32::MAX));
    let (begun, told) = asked(&greeting(all)).await;
    begun.unwrap();
    assert_eq!((told.len(), told.first(), told.get(3)), (36, Some(&32), Some(&1)));
    let plain = all.without(Capabilities::SSL);
    let poor = all.without(Capabilities::DEPRECATE_EOF);
    for (said, code) in [
        (greeting(plain), &code::UPSTREAM_UNTRUSTED),
        (greeting(poor), &code::UPSTREAM_REFUSED),
        (packet::encode(1, &[10]), &code::UPSTREAM_MALFORMED),
        (packet::encode(0, b"not a greeting"), &code::UPSTREAM_MALFORMED),
    ] {
        let (refused, told) = asked(&said).await;
        assert_eq!(refused.unwrap_err().refusal.code, code);
        assert_eq!(told, b"");
    }
}

#[tokio::test]
async fn cve_2024_10977_what_a_server_says_in_place_of_its_greeting_is_for_the_log_alone() {
    for (number, code) in [
        (1040, &code::TOO_MANY_CONNECTIONS),
        (1129, &code::UPSTREAM_REFUSED),
        (1130, &code::UPSTREAM_REFUSED),
        (1053, &code::UPSTREAM_REFUSED),
    ] {
        let said = error(number, "HY000", "Host '10.0.0.7' is not for you");
        let (refused, told) = asked(&packet::encode(0, &said)).await;
        let denied = refused.unwrap_err();
        assert_eq!((denied.refusal.code, &denied.verbatim), (code, &None), "{number}");
        assert!(!format!("{:?} {:?}", denied.refusal, denied.refusal.hint).contains("10.0.0.7"));
        let cause = format!("{number}: Host '10.0.0.7' is not for you");
        assert_eq!((denied.cause, told), (Some(cause), Vec::new()));
    }
}
