//! What the certificates are for: handshakes, with the contexts that the product uses.

use std::io::{Read, Write};
use std::sync::Arc;

use runtime::Clock;
use runtime::tls::{self, ServerCertificate};
use rustls::CertificateError::{ExpiredContext, NotValidYetContext};
use rustls::Error::InvalidCertificate;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use super::*;

const ALPN: &[&[u8]] = &[b"postgresql"];

fn authority(name: &str) -> Authority {
    Authority::create(name, AUTHORITY_LIFETIME, Clock::system().now()).unwrap()
}

fn server_identity(authority: &Authority) -> Identity {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    authority.issue_server(&names, SERVER_LIFETIME, Clock::system().now()).unwrap()
}

fn client_identity(authority: &Authority, at: Timestamp) -> Identity {
    let leaf = ClientLeaf { user: "ada@example.com", session: SessionId::random() };
    authority.issue_client(&leaf, at).unwrap()
}

/// As `ssl_ca_file` makes PostgreSQL: client certificates of this authority and no other.
fn database(own: &Authority, clients: &Authority) -> Arc<ServerConfig> {
    let roots = tls::roots(&clients.certificate_pem()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
    let identity = server_identity(own);
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(identity.chain.clone(), identity.key.clone_key());
    Arc::new(config.unwrap())
}

fn ours(certificate: &ServerCertificate) -> Arc<ServerConfig> {
    tls::server_config(certificate, ALPN).unwrap()
}

/// A client of only one version that resumes when it can, as clients do.
fn stranger(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(tls::roots(&authority.certificate_pem()).unwrap())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Arc::new(config)
}

struct Connected {
    client: ClientConnection,
}

/// Shakes hands and sends one byte each way, so that tickets arrive; the first error of either side ends it.
fn connect(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &'static str,
) -> Result<Connected, rustls::Error> {
    let name = ServerName::try_from(name).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    server.writer().write_all(b"N").unwrap();
    client.writer().write_all(b"N").unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    let mut got = [0; 1];
    client.reader().read_exact(&mut got).unwrap();
    server.reader().read_exact(&mut got).unwrap();
    Ok(Connected { client })
}

#[test]
fn both_versions_are_spoken_and_a_client_of_today_gets_a_post_quantum_key_exchange() {
    let authority = authority("installation");
    let server = ours(&ServerCertificate::new(server_identity(&authority)).unwrap());
    for (version, negotiated) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let connected = connect(&stranger(&authority, version), &server, "localhost").unwrap();
        assert_eq!(connected.client.protocol_version(), Some(negotiated));
        assert_eq!(connected.client.alpn_protocol(), Some(b"postgresql".as_slice()));
    }
    let client = tls::client_config(&authority.certificate_pem(), None).unwrap();
    let connected = connect(&client, &ours_without_alpn(&authority), "127.0.0.1").unwrap();
    let group = connected.client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

fn ours_without_alpn(authority: &Authority) -> Arc<ServerConfig> {
    let certificate = ServerCertificate::new(server_identity(authority)).unwrap();
    tls::server_config(&certificate, &[]).unwrap()
}

#[test]
fn another_name_or_another_authority_is_not_trusted() {
    let (own, other) = (authority("own"), authority("other"));
    let server = ours_without_alpn(&own);
    let client = tls::client_config(&own.certificate_pem(), None).unwrap();
    let refused = connect(&client, &server, "elsewhere.example.com").err().unwrap();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
    let client = tls::client_config(&other.certificate_pem(), None).unwrap();
    let refused = connect(&client, &server, "localhost").err().unwrap();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
}

#[test]
fn while_an_authority_rotates_both_leaves_are_trusted() {
    let (old, new) = (authority("old"), authority("new"));
    let both = old.certificate_pem() + &new.certificate_pem();
    let client = tls::client_config(&both, None).unwrap();
    for authority in [&old, &new] {
        connect(&client, &ours_without_alpn(authority), "localhost").unwrap();
    }
}

#[test]
fn a_certificate_that_was_replaced_is_shown_from_the_next_handshake_on() {
    let authority = authority("installation");
    let certificate = ServerCertificate::new(server_identity(&authority)).unwrap();
    let server = tls::server_config(&certificate, &[]).unwrap();
    let client = tls::client_config(&authority.certificate_pem(), None).unwrap();
    let shown = |connected: &Connected| connected.client.peer_certificates().unwrap()[0].clone();
    let first = shown(&connect(&client, &server, "localhost").unwrap());
    certificate.replace(server_identity(&authority)).unwrap();
    let second = shown(&connect(&client, &server, "localhost").unwrap());
    assert_ne!(first, second);
    assert_eq!(certificate.chain(), [second]);
}

#[test]
fn a_key_that_is_not_the_certificates_is_not_shown() {
    let authority = authority("installation");
    let (one, two) = (server_identity(&authority), server_identity(&authority));
    let mixed = Identity { chain: one.chain.clone(), key: two.key.clone_key() };
    let refused = ServerCertificate::new(mixed).unwrap_err();
    assert_eq!(refused.to_string(), "the TLS configuration is not usable");
}

#[test]
fn clients_may_resume_but_ours_never_does() {
    let authority = authority("installation");
    let certificate = ServerCertificate::new(server_identity(&authority)).unwrap();
    let server = tls::server_config(&certificate, &[]).unwrap();
    for version in [&TLS12, &TLS13] {
        let mut theirs = stranger(&authority, version);
        Arc::make_mut(&mut theirs).alpn_protocols.clear();
        let kinds: Vec<_> = (0..2)
            .map(|_| connect(&theirs, &server, "localhost").unwrap().client.handshake_kind())
            .collect();
        assert_eq!(kinds[1], Some(HandshakeKind::Resumed), "{version:?}");
    }
    let ours = tls::client_config(&authority.certificate_pem(), None).unwrap();
    for _ in 0..3 {
        let connected = connect(&ours, &server, "localhost").unwrap();
        assert_ne!(connected.client.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_client_certificate_opens_its_own_server_and_no_other() {
    let (server, orders, billing) =
        (authority("server"), authority("orders"), authority("billing"));
    let database = database(&server, &orders);
    let now = Clock::system().now();
    let with = |identity: Identity| {
        let client = tls::client_config(&server.certificate_pem(), Some(identity)).unwrap();
        connect(&client, &database, "localhost").map(|_| ())
    };
    with(client_identity(&orders, now)).unwrap();
    let refused = with(client_identity(&billing, now)).unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");

    let client = tls::client_config(&server.certificate_pem(), None).unwrap();
    let refused = connect(&client, &database, "localhost").err().unwrap();
    assert_eq!(refused, rustls::Error::NoCertificatesPresented);
}

#[test]
fn a_client_certificate_is_dead_five_minutes_later_and_not_alive_five_minutes_earlier() {
    let (server, orders) = (authority("server"), authority("orders"));
    let database = database(&server, &orders);
    let now = Clock::system().now();
    let six_minutes = Duration::from_mins(6);
    let refused = |at| {
        let identity = client_identity(&orders, at);
        let client = tls::client_config(&server.certificate_pem(), Some(identity)).unwrap();
        connect(&client, &database, "localhost").err().unwrap()
    };
    let late = refused(now.minus(six_minutes));
    assert!(matches!(late, InvalidCertificate(ExpiredContext { .. })), "{late:?}");
    let early = refused(now.plus(six_minutes));
    assert!(matches!(early, InvalidCertificate(NotValidYetContext { .. })), "{early:?}");
}

#[test]
fn a_client_certificate_serves_nobody_and_a_server_certificate_opens_nothing() {
    let authority = authority("both");
    let identity = client_identity(&authority, Clock::system().now());
    let posing = tls::server_config(&ServerCertificate::new(identity).unwrap(), &[]).unwrap();
    let client = tls::client_config(&authority.certificate_pem(), None).unwrap();
    assert!(connect(&client, &posing, "localhost").is_err());

    let identity = server_identity(&authority);
    let client = tls::client_config(&authority.certificate_pem(), Some(identity)).unwrap();
    let refused = connect(&client, &database(&authority, &authority), "localhost").err().unwrap();
    assert!(refused.to_string().to_lowercase().contains("extended key usage"), "{refused}");
}

#[test]
fn authorities_that_are_no_pem_are_refused() {
    assert!(tls::client_config("", None).is_err());
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    assert!(tls::client_config(cut, None).is_err());
}
