//! Any bytes as what an authenticator says: a key or a refusal, never a panic, and no sign-in, since nobody can forge a
//! signature; the tests beside `access::webauthn` say the same.
#![no_main]

use access::webauthn::{Assertion, Ceremony, PublicKey, asserted, registered};

/// {1: 2, 3: -7, -1: 1, -2: x, -3: y}: P-256's generator, whose private key is 1 and is not used here.
const KEY: &[u8] = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20\
    \x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\
    \x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96\x22\x58\x20\
    \x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\
    \x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";

const CLIENT_DATA: &[u8] =
    br#"{"type":"webauthn.create","challenge":"eA","origin":"https://gate.example"}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let ceremony = Ceremony {
        origin: "https://gate.example",
        relying_party: "gate.example",
        challenge: b"x",
    };
    if let Ok((key, length)) = PublicKey::parse(data) {
        assert!(length <= data.len());
        let again = PublicKey::parse(&data[..length]).expect("the same key");
        assert_eq!(again, (key, length));
    }
    if let Ok(made) = registered(&ceremony, CLIENT_DATA, data) {
        assert!(made.credential.len() + made.public_key.len() < data.len());
    }
    let _refused = registered(&ceremony, data, data);
    let (head, rest) = data.split_at(data.len().min(200));
    for client_data in [head, CLIENT_DATA] {
        let assertion = Assertion { client_data, authenticator_data: head, signature: rest };
        assert!(asserted(&ceremony, &assertion, KEY).is_err());
        assert!(asserted(&ceremony, &assertion, data).is_err());
    }
});
