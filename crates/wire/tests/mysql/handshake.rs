use wire::mysql::handshake::{First, HandshakeResponse, OwnAttributes, first, response};
use wire::mysql::{Capabilities, Malformed, capabilities};

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

#[test]
fn what_clients_send_is_understood() {
    let clients = [
        (
            "libmariadb",
            "8ca2bf000000100021000000000000000000000000000000000000001d00000061646100146004d7f5df98bb86
             ce1710cdbc965873718db7ba6f7264657273006d7973716c5f6e61746976655f70617373776f7264007e035f6f
             73054c696e75780c5f636c69656e745f6e616d650a6c69626d617269616462045f70696404323934380f5f636c
             69656e745f76657273696f6e06332e332e3230095f706c6174666f726d067838365f36340c70726f6772616d5f
             6e616d65056d7973716c0c5f7365727665725f686f7374093132372e302e302e31",
        ),
        (
            "pymysql",
            "0da23a00ffffff002d000000000000000000000000000000000000000000000061646100146004d7f5df98bb86
             ce1710cdbc965873718db7ba6f7264657273006d7973716c5f6e61746976655f70617373776f726400350c5f63
             6c69656e745f6e616d650770796d7973716c0f5f636c69656e745f76657273696f6e05312e322e34045f706964
             0432393439",
        ),
        (
            "Node-MySQL-2",
            "cef3ba0800000000e0000000000000000000000000000000000000000800000061646100146004d7f5df98bb86
             ce1710cdbc965873718db7ba6f7264657273006d7973716c5f6e61746976655f70617373776f726400310c5f63
             6c69656e745f6e616d650c4e6f64652d4d7953514c2d320f5f636c69656e745f76657273696f6e06332e32342e
             36",
        ),
        (
            "MariaDB connector/Node",
            "0aa3be0100000040e0000000000000000000000000000000000000001c00000061646100146004d7f5df98bb86
             ce1710cdbc965873718db7ba6f7264657273006d7973716c5f6e61746976655f70617373776f726400fc6a000c
             5f636c69656e745f6e616d65164d61726961444220636f6e6e6563746f722f4e6f64650f5f636c69656e745f76
             657273696f6e05332e352e34035f6f73056c696e75780c5f636c69656e745f686f737402766d0d5f6e6f64655f
             76657273696f6e0732302e32302e32",
        ),
    ];
    let password = hex("6004d7f5df98bb86ce1710cdbc965873718db7ba");
    for (name, payload) in clients {
        let payload = hex(payload);
        let read = response(&payload).unwrap();
        assert_eq!(read.attributes.get("_client_name"), Some(name.as_bytes()));
        assert_eq!((read.user, read.database), (b"ada".as_slice(), Some(b"orders".as_slice())));
        assert_eq!(read.plugin, Some(b"mysql_native_password".as_slice()), "{name}");
        assert_eq!(read.authentication, password, "{name}");
        let agreed = capabilities::agreed(Capabilities::from_bits(u64::MAX), read.capabilities);
        let extended = agreed.unwrap().contains(Capabilities::STMT_BULK_OPERATIONS);
        assert_eq!(extended, name.to_lowercase().contains("mariadb"), "{name}");
    }
}
