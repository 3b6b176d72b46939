use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use proptest::prelude::*;

use super::*;

const CEREMONY: Ceremony<'static> = Ceremony {
    origin: "https://gate.example:8443",
    relying_party: "gate.example",
    challenge: b"what is to be signed",
};

fn client_data(kind: &str, challenge: &[u8], origin: &str) -> Vec<u8> {
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    format!(
        r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false,"more":1}}"#
    )
    .into_bytes()
}

fn head(relying_party: &str, flags: u8, count: u32) -> Vec<u8> {
    let hash = digest(&SHA256, relying_party.as_bytes());
    [hash.as_ref(), &[flags], &count.to_be_bytes()].concat()
}

fn byte_string(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0x59], length.as_slice(), bytes].concat()
}

/// {1: 2, 3: -7, -1: 1, -2: x, -3: y}
fn es256(point: &[u8]) -> Vec<u8> {
    let (x, y) = point[1..].split_at(32);
    [
        &[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21],
        byte_string(x).as_slice(),
        &[0x22],
        byte_string(y).as_slice(),
    ]
    .concat()
}

/// {1: 3, 3: -257, -1: n, -2: e}
fn rs256(n: &[u8], e: &[u8]) -> Vec<u8> {
    [
        &[0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20],
        byte_string(n).as_slice(),
        &[0x21],
        byte_string(e).as_slice(),
    ]
    .concat()
}

fn attested(key: &[u8]) -> Vec<u8> {
    let id = [7; 20];
    [&head("gate.example", 0x5d, 0), [0; 16].as_slice(), &[0, 20], &id, key, b"\xa0extension"]
        .concat()
}

fn sign(pair: &EcdsaKeyPair, data: &[u8], client_data: &[u8]) -> Vec<u8> {
    let signed = [data, digest(&SHA256, client_data).as_ref()].concat();
    pair.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec()
}

#[test]
fn a_key_is_registered_and_signs_in() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let key = es256(pair.public_key().as_ref());
    let made = client_data("webauthn.create", CEREMONY.challenge, CEREMONY.origin);
    let registered = registered(&CEREMONY, &made, &attested(&key)).unwrap();
    assert_eq!(registered.credential, [7; 20]);
    assert_eq!(registered.public_key, key);
    assert!(registered.backed_up);
    let got = client_data("webauthn.get", CEREMONY.challenge, CEREMONY.origin);
    let data = head("gate.example", 0x05, 9);
    let signature = sign(&pair, &data, &got);
    let assertion =
        Assertion { client_data: &got, authenticator_data: &data, signature: &signature };
    let asserted = asserted(&CEREMONY, &assertion, &registered.public_key).unwrap();
    assert_eq!(asserted, Asserted { sign_count: 9, backed_up: false });
}

#[test]
fn an_rsa_key_signs_in_too_and_a_small_one_does_not_register() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // RSAPublicKey (RFC 8017, A.1.1): a sequence of two integers, the first with a zero before it.
    let n = pair.public_key().as_ref()[9..265].to_vec();
    let key = rs256(&n, b"\x01\x00\x01");
    let got = client_data("webauthn.get", CEREMONY.challenge, CEREMONY.origin);
    let data = head("gate.example", 0x05, 0);
    let signed = [data.as_slice(), digest(&SHA256, &got).as_ref()].concat();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut signature).unwrap();
    let assertion =
        Assertion { client_data: &got, authenticator_data: &data, signature: &signature };
    assert!(asserted(&CEREMONY, &assertion, &key).is_ok());
    let small = PublicKey::parse(&rs256(&n[..128], b"\x01\x00\x01"));
    assert_eq!(small, Err(WebAuthnError::Algorithm));
}

#[test]
fn another_ceremony_origin_site_or_user_does_not_count() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let key = es256(pair.public_key().as_ref());
    let tried = |client_data: &[u8], data: &[u8]| {
        let signature = sign(&pair, data, client_data);
        let assertion = Assertion { client_data, authenticator_data: data, signature: &signature };
        asserted(&CEREMONY, &assertion, &key).map(|_| ())
    };
    let (challenge, origin) = (CEREMONY.challenge, CEREMONY.origin);
    let right = client_data("webauthn.get", challenge, origin);
    let data = head("gate.example", 0x05, 0);
    assert_eq!(tried(&right, &data), Ok(()));
    for (client_data, expected) in [
        (client_data("webauthn.create", challenge, origin), WebAuthnError::Challenge),
        (client_data("webauthn.get", b"another", origin), WebAuthnError::Challenge),
        (
            client_data("webauthn.get", challenge, "https://gate.example.evil.test"),
            WebAuthnError::Origin,
        ),
        (client_data("webauthn.get", challenge, "https://gate.example"), WebAuthnError::Origin),
        (b"{}".to_vec(), WebAuthnError::Malformed),
    ] {
        assert_eq!(tried(&client_data, &data), Err(expected));
    }
    for (data, expected) in [
        (head("evil.test", 0x05, 0), WebAuthnError::RelyingParty),
        (head("gate.example", 0x01, 0), WebAuthnError::Unverified),
        (head("gate.example", 0x04, 0), WebAuthnError::Unverified),
        (data[..36].to_vec(), WebAuthnError::Malformed),
    ] {
        assert_eq!(tried(&right, &data), Err(expected));
    }
    let mut forged = sign(&pair, &data, &right);
    *forged.last_mut().unwrap() ^= 1;
    let assertion =
        Assertion { client_data: &right, authenticator_data: &data, signature: &forged };
    assert_eq!(asserted(&CEREMONY, &assertion, &key), Err(WebAuthnError::Signature));
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let other = es256(other.public_key().as_ref());
    let signature = sign(&pair, &data, &right);
    let assertion =
        Assertion { client_data: &right, authenticator_data: &data, signature: &signature };
    assert_eq!(asserted(&CEREMONY, &assertion, &other), Err(WebAuthnError::Signature));
}

proptest! {
    #[test]
    fn no_bytes_bring_the_readers_down(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let made = client_data("webauthn.create", CEREMONY.challenge, CEREMONY.origin);
        let _parsed = PublicKey::parse(&bytes);
        let _registered = registered(&CEREMONY, &made, &attested(&bytes));
        let _refused = registered(&CEREMONY, &bytes, &bytes);
    }

    #[test]
    fn a_key_that_parses_is_no_longer_than_what_it_was_read_from(
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [es256(&[4; 65]), tail].concat();
        let (_, length) = PublicKey::parse(&bytes).unwrap();
        prop_assert_eq!(length, es256(&[4; 65]).len());
    }
}
