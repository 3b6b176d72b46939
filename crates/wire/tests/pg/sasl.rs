//! OAUTHBEARER, byte for byte as libpq 18 sends it.

use wire::pg::frontend::{Credential, credential, password, sasl_initial_response};
use wire::pg::sasl::{ACKNOWLEDGEMENT, Discovery, MECHANISM, OauthError, Response, response};

#[test]
fn libpq_asks_where_to_get_a_token() {
    let body = b"OAUTHBEARER\0\x00\x00\x00\x0bn,,\x01auth=\x01\x01";
    let initial = sasl_initial_response(body).unwrap();
    assert_eq!(initial.mechanism, MECHANISM.as_bytes());
    assert_eq!(response(initial.data.unwrap()), Ok(Response::Discovery));
    assert_eq!(
        format!("{initial:?}"),
        "SaslInitialResponse { mechanism: OAUTHBEARER, data: [secret] }"
    );
}

#[test]
fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
    for data in [
        b"n,,\x01auth=Bearer abc.DEF-_~+/==\x01\x01".as_slice(),
        b"y,,\x01auth=bearer  abc.DEF-_~+/==\x01\x01",
        b"n,,\x01host=db\x01port=5432\x01auth=BEARER abc.DEF-_~+/==\x01\x01",
    ] {
        assert_eq!(response(data), Ok(Response::Bearer("abc.DEF-_~+/==")), "{data:?}");
    }
    assert_eq!(
        format!("{:?}", response(b"n,,\x01auth=Bearer x\x01\x01").unwrap()),
        "Bearer([secret])"
    );
}

#[test]
fn what_is_not_rfc_7628_is_refused() {
    let refused: [(&[u8], OauthError); 12] = [
        (b"p=tls-exporter,,\x01auth=Bearer x\x01\x01", OauthError::ChannelBinding),
        (b"n,a=eve,\x01auth=Bearer x\x01\x01", OauthError::AuthorizationIdentity),
        (b"n,,\x01auth=Basic x\x01\x01", OauthError::Scheme),
        (b"n,,\x01auth=x\x01\x01", OauthError::Scheme),
        (
            b"n,,\x01auth=Bearer a b\x01\x01",
            OauthError::Malformed("the token has characters that no token has"),
        ),
        (
            b"n,,\x01auth=Bearer ==\x01\x01",
            OauthError::Malformed("the token has characters that no token has"),
        ),
        (b"n,,\x01auth=Bearer x\x01", OauthError::Malformed("the last value has no end")),
        (b"n,,\x01auth=Bearer x", OauthError::Malformed("it has no end")),
        (b"n,,\x01host=a\x01\x01", OauthError::Malformed("`auth` is missing")),
        (b"n,,\x01auth=\x01auth=Bearer x\x01\x01", OauthError::Malformed("`auth` is given twice")),
        (b"n,,", OauthError::Malformed("it has no end of header")),
        (b"n,\x01auth=\x01\x01", OauthError::Malformed("the header does not end with a comma")),
    ];
    for (data, error) in refused {
        assert_eq!(response(data), Err(error), "{}", data.escape_ascii());
    }
    assert!(matches!(response(b"x,,\x01auth=\x01\x01"), Err(OauthError::Malformed(_))));
    assert!(matches!(response(b"n,,\x01a1=b\x01auth=\x01\x01"), Err(OauthError::Malformed(_))));
    assert!(matches!(response(b"n,,\x01\xff\x01\x01"), Err(OauthError::Malformed(_))));
}

#[test]
fn discovery_is_the_json_that_libpq_expects() {
    let discovery =
        Discovery { issuer: "https://gate.example:8443/t/v2.0", scope: "openid a/.default" };
    assert_eq!(
        discovery.json(),
        r#"{"status":"invalid_token","openid-configuration":"https://gate.example:8443/t/v2.0/.well-known/openid-configuration","scope":"openid a/.default"}"#
    );
    let odd = Discovery { issuer: "a\"b\\c\u{1}\u{1f}", scope: "" };
    assert!(odd.json().contains(r#""a\"b\\c\u0001\u001f/.well-known"#));
    assert_eq!(ACKNOWLEDGEMENT, b"\x01");
}

#[test]
fn a_password_of_sixty_thousand_bytes_is_one_message() {
    let token = vec![b'x'; 60_000];
    let bytes = wire::pg::error::password_message(&token).unwrap();
    let Ok(Credential::Message { length, body }) = credential(&bytes) else { panic!() };
    assert_eq!((length, password(body).unwrap()), (bytes.len(), token.as_slice()));
    for end in [0, 1, 4] {
        assert_eq!(credential(&bytes[..end]), Ok(Credential::Need(5)));
    }
    assert_eq!(credential(&bytes[..5]), Ok(Credential::Need(bytes.len())));
    assert_eq!(wire::pg::error::password_message(&vec![b'x'; 65_536]), None);
}

#[test]
fn nothing_but_a_credential_is_read_before_authentication() {
    use wire::pg::Malformed;
    assert_eq!(credential(b"Q"), Err(Malformed::UnknownType { tag: b'Q' }));
    let long = [b'p', 0, 1, 0, 0];
    assert_eq!(
        credential(&long),
        Err(Malformed::Length { tag: b'p', length: 65_536, max: 65_535 })
    );
    assert!(password(b"no end").is_err() && password(b"two\0ends\0").is_err());
    assert!(sasl_initial_response(b"OAUTHBEARER\0\0\0\0\x05n,,").is_err());
    assert_eq!(sasl_initial_response(b"X\0\xff\xff\xff\xff").unwrap().data, None);
}
