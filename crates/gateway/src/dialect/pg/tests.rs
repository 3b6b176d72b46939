//! A server that does not keep to the protocol, or says no: each gets its own refusal, and nothing of what is only
//! between us and the server reaches a client. Named after what went wrong elsewhere where something did.

use model::code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::login::{Login, log_in};
use super::password::Ours;
use super::tls::request_tls;
use crate::dialect::CancelKey;
use crate::outcome::Denied;
use crate::upstream::Proof;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn error(sqlstate: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0").as_bytes())
}

fn authentication_ok() -> Vec<u8> {
    message(b'R', &[0; 4])
}

fn key_data() -> Vec<u8> {
    message(b'K', &[0, 0, 0x12, 0x67, 1, 2, 3, 4])
}

fn showing(proof: &Proof) -> Ours<'_> {
    Ours { user: "app_reader", proof, certificate: None }
}

/// What comes of a login when the server says this and then closes.
async fn logged_in(said: &[u8]) -> Result<Login, Denied> {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
    theirs.write_all(said).await.unwrap();
    theirs.shutdown().await.unwrap();
    log_in(&mut ours, b"start-up", showing(&Proof::Certificate)).await
}

async fn refused(said: &[u8]) -> Denied {
    logged_in(said).await.unwrap_err()
}

#[tokio::test]
async fn a_login_is_told_to_the_client_as_it_was_but_for_the_cancel_key_and_the_notice() {
    let status = message(b'S', b"server_version\x0015.18\0");
    let late = message(b'S', b"TimeZone\0UTC\0");
    let ready = message(b'Z', b"I");
    let behind = message(b'A', b"\0\0\0\x01channel\0payload\0");
    let said = [
        message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mbefore we are let in\0\0"),
        authentication_ok(),
        status.clone(),
        key_data(),
        late.clone(),
        ready.clone(),
        behind.clone(),
    ];
    let login = logged_in(&said.concat()).await.unwrap();
    assert_eq!(login.key, CancelKey { pid: 0x1267, secret: vec![1, 2, 3, 4] });
    assert_eq!(login.parameters[0], ("server_version".to_owned(), "15.18".to_owned()));
    assert_eq!(login.rest, behind);
    let key = CancelKey { pid: 0x1267, secret: vec![9, 9, 9, 9] };
    let notice = message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0");
    let ours = message(b'K', &[0, 0, 0x12, 0x67, 9, 9, 9, 9]);
    let told = [authentication_ok(), status, ours, late, notice, ready].concat();
    assert_eq!(login.told(&key, Some("hello")), told);
}

#[tokio::test]
async fn the_servers_own_reasons_are_passed_on_as_they_are() {
    for (sqlstate, code) in [
        ("53300", &code::TOO_MANY_CONNECTIONS),
        ("3D000", &code::DATABASE_UNKNOWN),
        ("57P03", &code::UPSTREAM_REFUSED),
        ("42501", &code::UPSTREAM_REFUSED),
    ] {
        let said = error(sqlstate, "the reason");
        for said in [said.clone(), [authentication_ok(), said].concat()] {
            let denied = refused(&said).await;
            assert_eq!(denied.refusal.code, code, "{sqlstate}");
            assert_eq!(denied.verbatim, Some(error(sqlstate, "the reason")), "{sqlstate}");
        }
    }
}

#[tokio::test]
async fn what_a_server_says_about_our_own_credential_stays_with_us() {
    let reasons = [
        error("28000", "no pg_hba.conf entry for host \"10.0.0.7\", user \"ada\""),
        error("28P01", "password authentication failed for user \"ada\""),
        message(b'R', &[0, 0, 0, 3]),
        message(b'R', &[&[0, 0, 0, 10][..], b"SCRAM-SHA-256\0\0"].concat()),
    ];
    for said in reasons {
        let denied = refused(&said).await;
        assert_eq!((denied.refusal.code, denied.verbatim), (&code::UPSTREAM_REFUSED, None));
        assert_eq!(
            denied.refusal.message,
            "the database server does not take the gateway's certificate"
        );
        assert!(denied.cause.is_some());
    }
}

#[tokio::test]
async fn cve_2026_42198_a_server_that_wants_scram_gets_no_answer_and_no_work_out_of_us() {
    let sasl = |kind: u8, data: &[u8]| message(b'R', &[&[0, 0, 0, kind][..], data].concat());
    let iterations = sasl(11, b"r=nonce,s=c2FsdA==,i=2147483647");
    for said in [[sasl(10, b"SCRAM-SHA-256\0\0"), iterations.clone()].concat(), iterations] {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(&said).await.unwrap();
        let denied =
            log_in(&mut ours, b"start-up", showing(&Proof::Certificate)).await.unwrap_err();
        assert_eq!(denied.refusal.code, &code::UPSTREAM_REFUSED);
        drop(ours);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"start-up");
    }
}

/// What comes of a login with a shared user's password at a server that wants so many iterations; and what the server
/// hears behind our nonce.
async fn iterated(iterations: u32) -> (Denied, Vec<u8>) {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
    let server = async {
        theirs.write_all(&asks(10, b"SCRAM-SHA-256\0\0")).await.unwrap();
        let mut first = vec![0; b"start-up".len() + 5];
        theirs.read_exact(&mut first).await.unwrap();
        let length: [u8; 4] = first.last_chunk().copied().unwrap();
        let mut initial = vec![0; u32::from_be_bytes(length) as usize - 4];
        theirs.read_exact(&mut initial).await.unwrap();
        let initial = String::from_utf8_lossy(&initial).into_owned();
        let (_, nonce) = initial.split_once("r=").unwrap();
        let challenge = format!("r={nonce}x,s=c2FsdA==,i={iterations}");
        theirs.write_all(&asks(11, challenge.as_bytes())).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let client = async move {
        let password = Proof::Password(b"p4ss".to_vec().into());
        log_in(&mut ours, b"start-up", showing(&password)).await.unwrap_err()
    };
    tokio::join!(client, server)
}

#[tokio::test]
async fn cve_2026_42198_endless_iterations_over_a_shared_users_password_are_refused_unworked() {
    // What PostgreSQL asks for is proved; then the server is gone.
    let (denied, heard) = iterated(4096).await;
    assert_eq!((denied.refusal.code, heard.first()), (&code::UPSTREAM_LOST, Some(&b'p')));
    // The last of them would take most of an hour.
    for iterations in [100_001, 10_000_000, u32::MAX] {
        let (denied, heard) = iterated(iterations).await;
        assert_eq!((denied.refusal.code, heard), (&code::UPSTREAM_MALFORMED, Vec::new()));
        assert!(denied.cause.unwrap().contains("iteration"));
    }
}

#[tokio::test]
async fn cve_2026_6666_an_error_without_a_code_or_a_message_is_not_passed_on() {
    for body in [&b"\0"[..], b"SFATAL\0\0", b"SFATAL\0C53300\0\0", b"SFATAL\0Mtext\0\0", b"", b"C"]
    {
        let denied = refused(&message(b'E', body)).await;
        assert_eq!(
            (denied.refusal.code, denied.verbatim),
            (&code::UPSTREAM_MALFORMED, None),
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn cve_2026_6665_lengths_that_a_server_makes_up_are_refused_and_nothing_is_allocated_for_them()
 {
    let long = [b"E".as_slice(), &0x3fff_ffff_u32.to_be_bytes(), &[b'x'; 1000]].concat();
    let notices: Vec<u8> = (0..400).flat_map(|_| message(b'N', &[b'x'; 1000])).collect();
    let malformed: [Vec<u8>; 9] = [
        b"R\0\0\0\x03".to_vec(),
        b"K\xff\xff\xff\xff".to_vec(),
        [authentication_ok(), message(b'K', &[0; 6])].concat(),
        [authentication_ok(), message(b'Z', b"X")].concat(),
        [authentication_ok(), message(b'Z', b"I")].concat(),
        [authentication_ok(), message(b'D', b"\0\0")].concat(),
        [authentication_ok(), authentication_ok()].concat(),
        [authentication_ok(), notices].concat(),
        [authentication_ok(), long].concat(),
    ];
    for said in malformed {
        let denied = refused(&said).await;
        assert_eq!(denied.refusal.code, &code::UPSTREAM_MALFORMED, "{:?}", said.get(..20));
    }
    for before_we_are_let_in in
        [message(b'Z', b"I"), key_data(), message(b'S', b"a\0b\0"), b"HTTP/1.1".to_vec()]
    {
        assert_eq!(refused(&before_we_are_let_in).await.refusal.code, &code::UPSTREAM_MALFORMED);
    }
}

#[tokio::test]
async fn a_server_that_vanishes_during_login_is_said_so() {
    for said in [&b""[..], b"R\0\0", &authentication_ok()] {
        assert_eq!(refused(said).await.refusal.code, &code::UPSTREAM_LOST);
    }
}

/// A server whose answer to SSLRequest is this.
async fn asked_for_tls(answer: &'static [u8]) -> Result<(), Denied> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
        stream.write_all(answer).await.unwrap();
        stream
    };
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        request_tls(&mut stream).await
    };
    let (_stream, asked) = tokio::join!(server, client);
    asked
}

#[tokio::test]
async fn cve_2021_23222_bytes_behind_the_servers_yes_to_tls_are_an_attack() {
    assert_eq!(asked_for_tls(b"S").await, Ok(()));
    let denied = asked_for_tls(b"SE\0\0\0\x05\0").await.unwrap_err();
    assert_eq!(denied.refusal.code, &code::UPSTREAM_UNTRUSTED);
}

#[tokio::test]
async fn cve_2025_49146_a_server_without_tls_is_never_spoken_to_in_plain_text() {
    for answer in [&b"N"[..], b"E\0\0\0\x0aMno TLS\0", b"X", b"G"] {
        let denied = asked_for_tls(answer).await.unwrap_err();
        assert_eq!(denied.refusal.code, &code::UPSTREAM_UNTRUSTED, "{answer:?}");
        assert!(!denied.refusal.message.contains("no TLS"), "{denied}");
    }
}

/// What a server was told that says this while we have that for it.
async fn told(proof: &Proof, said: &[Vec<u8>]) -> (Result<Login, Denied>, Vec<u8>) {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
    theirs.write_all(&said.concat()).await.unwrap();
    theirs.shutdown().await.unwrap();
    let login = log_in(&mut ours, b"start-up", showing(proof)).await;
    drop(ours);
    let mut told = Vec::new();
    theirs.read_to_end(&mut told).await.unwrap();
    (login, told.split_off(b"start-up".len()))
}

fn asks(method: i32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&method.to_be_bytes()[..], data].concat())
}

#[tokio::test]
async fn a_shared_users_password_or_token_is_given_to_a_server_that_asks_for_it_so() {
    let password = Proof::Password(b"p4ss".to_vec().into());
    let token = Proof::Token(b"eyJ0".to_vec().into());
    let ready = [authentication_ok(), key_data(), message(b'Z', b"I")];
    let after = |asked: Vec<u8>| [&[asked][..], &ready].concat();
    let (login, said) = told(&password, &after(asks(3, &[]))).await;
    assert!(login.is_ok());
    assert_eq!(said, message(b'p', b"p4ss\0"));
    let (login, said) = told(&password, &after(asks(5, b"salt"))).await;
    assert!(login.is_ok());
    // md5(md5("p4ss" + "app_reader") + "salt")
    assert_eq!(said, message(b'p', b"md5365d65baff11f878bc7b7a990539937e\0"));
    let (login, said) = told(&token, &after(asks(3, &[]))).await;
    assert!(login.is_ok());
    assert_eq!(said, message(b'p', b"eyJ0\0"));
    // No other method takes a token, and nobody asks twice.
    for said in [
        vec![asks(5, b"salt")],
        vec![asks(10, b"SCRAM-SHA-256\0\0")],
        vec![asks(7, &[])],
        vec![asks(3, &[]), asks(3, &[])],
    ] {
        let denied = told(&token, &said).await.0.unwrap_err();
        assert_eq!(denied.refusal.code, &code::UPSTREAM_CREDENTIAL);
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_that_it_knows_the_password_is_not_believed() {
    let password = Proof::Password(b"p4ss".to_vec().into());
    let offered = asks(10, b"SCRAM-SHA-256\0\0");
    let (login, said) = told(&password, &[offered.clone(), authentication_ok()]).await;
    assert_eq!(login.unwrap_err().refusal.code, &code::UPSTREAM_MALFORMED);
    assert!(said.windows(13).any(|bytes| bytes == b"SCRAM-SHA-256"));
    for said in [
        vec![offered.clone(), asks(11, b"r=another,s=c2FsdA==,i=4096")],
        vec![offered, asks(12, b"v=c2FsdA==")],
        vec![asks(10, b"SCRAM-SHA-512\0\0")],
    ] {
        told(&password, &said).await.0.unwrap_err();
    }
}
