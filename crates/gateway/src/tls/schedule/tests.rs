//! Against rustls on the other side, which changes its keys and asks for ours to be changed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedCipherSuite,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::tls::{Stream, handshake};

/// Times that the other side changes its keys.
const UPDATES: u8 = 5;

/// What both sides need for one suite: the server's certificate is its own authority.
struct Both {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Both {
    fn of(suite: SupportedCipherSuite) -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![suite];
        let provider = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        roots.add(signed.cert.der().clone()).unwrap();
        let key = signed.signing_key.serialize_der().try_into().unwrap();
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        server.enable_secret_extraction = true;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        Self { server: Arc::new(server), client: Arc::new(client) }
    }
}

fn suites() -> Vec<SupportedCipherSuite> {
    let mut suites = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    suites.retain(|suite| suite.tls13().is_some());
    assert_eq!(suites.len(), 3);
    suites
}

/// Sends its number before each change of keys, and reads ours back.
fn other_side<C, D>(mut stream: StreamOwned<C, TcpStream>)
where
    C: std::ops::DerefMut<Target = rustls::ConnectionCommon<D>> + Refresh,
    D: rustls::SideData,
{
    for number in 0..UPDATES {
        stream.write_all(&[number]).unwrap();
        stream.conn.refresh();
        stream.write_all(&[number]).unwrap();
        stream.flush().unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [number; 3]);
    }
}

/// Both kinds of rustls' connections can.
trait Refresh {
    fn refresh(&mut self);
}

impl Refresh for ClientConnection {
    fn refresh(&mut self) {
        self.refresh_traffic_keys().unwrap();
    }
}

impl Refresh for ServerConnection {
    fn refresh(&mut self) {
        self.refresh_traffic_keys().unwrap();
    }
}

async fn our_side(mut stream: Stream) {
    for number in 0..UPDATES {
        let mut heard = [0; 2];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [number; 2]);
        stream.write_all(&[number; 3]).await.unwrap();
        stream.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_changes_keys_as_often_as_it_likes() {
    for suite in suites() {
        let both = Both::of(suite);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Arc::clone(&both.client);
        let other = thread::spawn(move || {
            let name = ServerName::try_from("localhost").unwrap();
            let connection = ClientConnection::new(client, name).unwrap();
            other_side(StreamOwned::new(connection, TcpStream::connect(address).unwrap()));
        });
        let (socket, _) = listener.accept().await.unwrap();
        let (stream, _) = handshake::accept(both.server, socket).await.unwrap();
        our_side(stream).await;
        other.join().unwrap();
    }
}

/// As a driver does that only asks for a cancel, when its writes meet on the way.
#[tokio::test]
async fn what_a_client_says_in_one_breath_with_its_finished_and_its_end_is_read() {
    for suite in suites() {
        let both = Both::of(suite);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Arc::clone(&both.client);
        let other = thread::spawn(move || {
            let name = ServerName::try_from("localhost").unwrap();
            let mut connection = ClientConnection::new(client, name).unwrap();
            let mut socket = TcpStream::connect(address).unwrap();
            connection.write_tls(&mut socket).unwrap();
            while connection.is_handshaking() {
                connection.read_tls(&mut socket).unwrap();
                connection.process_new_packets().unwrap();
            }
            connection.writer().write_all(b"cancel").unwrap();
            connection.send_close_notify();
            let mut together = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut together).unwrap();
            }
            socket.write_all(&together).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            // Until ours has closed.
            let _end = socket.read_to_end(&mut Vec::new());
        });
        let (socket, _) = listener.accept().await.unwrap();
        let (mut stream, _) = handshake::accept(both.server, socket).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"cancel");
        drop(stream);
        other.join().unwrap();
    }
}

#[tokio::test]
async fn a_server_changes_keys_as_often_as_it_likes() {
    for suite in suites() {
        let both = Both::of(suite);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let other = thread::spawn(move || {
            let connection = ServerConnection::new(both.server).unwrap();
            other_side(StreamOwned::new(connection, listener.accept().unwrap().0));
        });
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let (stream, _) = handshake::connect(both.client, name, socket).await.unwrap();
        our_side(stream).await;
        other.join().unwrap();
    }
}

#[test]
fn a_connection_of_tls_1_2_has_no_next_key() {
    let told = Listening::default();
    let suite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let mut schedule = Schedule::new(&told, Role::Client, suite);
    assert_eq!(schedule.next_sending().err(), Some(RecordError::NoSchedule));
    assert_eq!(schedule.next_receiving().err(), Some(RecordError::NoSchedule));
}

#[test]
fn only_the_two_secrets_are_asked_for() {
    let told = Listening::default();
    assert!(told.will_log("CLIENT_TRAFFIC_SECRET_0") && told.will_log("SERVER_TRAFFIC_SECRET_0"));
    for label in ["CLIENT_RANDOM", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "EXPORTER_SECRET"] {
        assert!(!told.will_log(label));
    }
    assert!(!format!("{told:?}").contains("bytes"));
}
