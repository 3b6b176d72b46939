use wire::mysql::Malformed;
use wire::mysql::authentication::{
    CLEAR_PASSWORD, Reply, caching_sha2_answer, clear_answer, clear_password, more_data,
    native_answer, openid_token, reply, switch_request,
};

use crate::hex;

#[test]
fn a_request_to_switch_reads_as_it_was_written() {
    let payload = switch_request(CLEAR_PASSWORD, b"");
    assert_eq!(payload, b"\xfemysql_clear_password\0");
    let (plugin, data) = (CLEAR_PASSWORD.as_bytes(), b"".as_slice());
    assert_eq!(reply(&payload), Ok(Reply::Switch { plugin, data }));
    let payload = switch_request("mysql_native_password", b"01234567890123456789");
    assert!(payload.ends_with(b"789\0"));
    let (plugin, data) = (b"mysql_native_password".as_slice(), b"01234567890123456789".as_slice());
    assert_eq!(reply(&payload), Ok(Reply::Switch { plugin, data }));
    // Thirty-two bytes of chance, the last of which may be anything.
    let payload = switch_request("client_ed25519", &[0; 32]);
    let (plugin, data) = (b"client_ed25519".as_slice(), [0; 32].as_slice());
    assert_eq!(reply(&payload), Ok(Reply::Switch { plugin, data }));
}

#[test]
fn what_a_server_says_during_login_is_told_apart_and_anything_else_refused() {
    assert_eq!(reply(b"\0\0\0\x02\0\0\0"), Ok(Reply::Ok));
    assert_eq!(reply(b"\xff\x15\x04no"), Ok(Reply::Err));
    assert_eq!(reply(&more_data(&[4])), Ok(Reply::More(&[4])));
    for broken in [b"".as_slice(), b"\xfe", b"\xfeplugin", b"\x02"] {
        assert!(matches!(reply(broken), Err(Malformed::Body { .. })), "{broken:?}");
    }
}

#[test]
fn a_token_ends_with_a_nul_or_with_the_packet() {
    assert_eq!(clear_password(b"token\0"), Ok(b"token".as_slice()));
    assert_eq!(clear_password(b"token"), Ok(b"token".as_slice()));
    assert_eq!(clear_password(&clear_answer(b"token")), Ok(b"token".as_slice()));
    assert_eq!(clear_password(b"\0"), Ok(b"".as_slice()));
    assert!(clear_password(b"to\0ken\0").is_err());
}

#[test]
fn an_openid_token_has_its_length_before_it() {
    assert_eq!(openid_token(b"\x01\x05a.b.c"), Ok(b"a.b.c".as_slice()));
    assert!(openid_token(b"\x02\x05a.b.c").is_err());
    assert!(openid_token(b"\x01\x06a.b.c").is_err());
    assert!(openid_token(b"\x01\x05a.b.c\0").is_err());
}

#[test]
fn passwords_are_proved_as_the_servers_expect() {
    // Computed with another implementation of the two formulas.
    let scramble = b"01234567890123456789";
    let native = hex("7abe1a8776b59e931059451f81e596a60dbbf7a8");
    assert_eq!(native_answer(b"secret", scramble), native);
    let sha2 = hex("1a2da2573c2faa367e2afddb54cdfd11a95ed22eef0167151196a6fc8e3d3813");
    assert_eq!(caching_sha2_answer(b"secret", scramble), sha2);
    // As clients answer a greeting.
    let sent = hex("6004d7f5df98bb86ce1710cdbc965873718db7ba");
    assert_eq!(native_answer(b"pw", b">Cr9die=Bs@!#+M%o~PR"), sent);
    assert!(
        native_answer(b"", scramble).is_empty() && caching_sha2_answer(b"", scramble).is_empty()
    );
}
