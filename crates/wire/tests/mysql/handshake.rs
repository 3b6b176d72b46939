use wire::mysql::handshake::{First, HandshakeResponse, OwnAttributes, first, response};
use wire::mysql::{Capabilities, Malformed};

use crate::hex;

fn attributes() -> OwnAttributes {
    let pairs = [("_client_name", "libmariadb"), ("program_name", "orders")];
    OwnAttributes::new(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn full<'a>(attributes: &'a OwnAttributes, token: &'a [u8]) -> HandshakeResponse<'a> {
    HandshakeResponse {
        capabilities: Capabilities::from_bits(0x3d_05ff_aa8c)
            .with(Capabilities::PROTOCOL_41)
            .with(Capabilities::PLUGIN_AUTH_LENENC),
        packet_bytes_max: 1 << 24,
        collation: 45,
        user: b"ada",
        authentication: token,
        database: Some(b"orders"),
        plugin: Some(b"mysql_clear_password"),
        attributes: attributes.attributes(),
        zstd_level: Some(3),
    }
}

#[test]
fn a_response_with_everything_in_it_reads_as_it_was_written() {
    let (attributes, token) = (attributes(), vec![b'x'; 60_000]);
    let sent = full(&attributes, &token);
    let payload = sent.encode().unwrap();
    let read = response(&payload).unwrap();
    assert_eq!(read, sent);
    assert_eq!(read.attributes.get("program_name"), Some(b"orders".as_slice()));
    assert_eq!(read.attributes.iter().count(), 2);
    assert_eq!(first(&payload), Ok(First::Response(read)));
    assert_eq!(first(&sent.ssl_request()), Ok(First::SslRequest(sent.capabilities)));
}

#[test]
fn a_response_that_is_cut_anywhere_is_refused_or_says_less_but_never_something_else() {
    let (attributes, token) = (attributes(), b"secret".to_vec());
    let whole = full(&attributes, &token).encode().unwrap();
    for end in 0..whole.len() {
        let Ok(read) = response(&whole[..end]) else { continue };
        assert_eq!((read.user, read.authentication), (b"ada".as_slice(), b"secret".as_slice()));
        let database = read.database.unwrap_or_default();
        assert!(b"orders".starts_with(database), "{database:?}");
    }
    let longer = [whole.as_slice(), b"x"].concat();
    assert_eq!(response(&longer), response(&whole));
}

#[test]
fn authentication_data_take_the_form_that_the_flags_say() {
    let attributes = OwnAttributes::default();
    let mut sent = full(&attributes, b"twenty bytes of hash");
    sent.zstd_level = None;
    sent.capabilities = Capabilities::PROTOCOL_41.with(Capabilities::PLUGIN_AUTH);
    sent.database = None;
    let cstring = sent.encode().unwrap();
    assert_eq!(response(&cstring), Ok(sent.clone()));
    sent.capabilities = sent.capabilities.with(Capabilities::SECURE_CONNECTION);
    let counted = sent.encode().unwrap();
    assert_eq!(response(&counted), Ok(sent.clone()));
    let long = [b'x'; 256];
    sent.authentication = &long;
    assert_eq!(sent.encode(), None);
}

#[test]
fn a_response_shows_no_token() {
    let attributes = OwnAttributes::default();
    let shown = format!("{:?}", full(&attributes, b"eyJhbGciOi"));
    assert!(shown.contains("ada") && !shown.contains("eyJ"), "{shown}");
}

#[test]
fn the_protocol_of_before_4_1_is_known_as_such() {
    assert_eq!(first(&hex("0524 000000 726f6f7400 00")), Ok(First::Old));
}

#[test]
fn thirty_two_bytes_without_the_tls_flag_are_a_response_that_ends_early() {
    let mut payload = [0; 32];
    payload[..4].copy_from_slice(&[0, 2, 0, 0]);
    let (message, what) = ("handshake response", "it ends early");
    assert_eq!(first(&payload), Err(Malformed::Body { message, what }));
}
