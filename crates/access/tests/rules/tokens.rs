//! Which tokens and assertions count.

use access::token::{self, Client, DATABASE_AUDIENCE, Expected};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::kind::signing_key::SigningKey;
use model::{ApplicationId, Document, PrincipalId, Snapshot, TenantId, TokenId, code};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::directory::{at, snapshot};

const ISSUER: &str = "https://sts.example.com/7/v2.0";

fn tenant() -> TenantId {
    TenantId(Uuid::from_u128(7))
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(key: &KeyPair, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", b64(signature))
}

fn directory(key: &KeyPair) -> Snapshot {
    // PKCS #1 of RSA-2048 has a fixed shape: 9 bytes, the modulus (256), 2 bytes, the exponent (65537).
    let public = key.public_key().as_ref();
    assert_eq!(public.len(), 270);
    let spec = SigningKey {
        modulus: b64(&public[9..265]),
        exponent: b64(&public[267..]),
        signs_from: at("00:00:00"),
        verifies_until: at("23:00:00"),
    };
    snapshot(vec![Document::new("k1", spec).into()])
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "tid": tenant(), "aud": DATABASE_AUDIENCE, "exp": at("11:00:00").seconds(),
        "nbf": at("09:55:00").seconds(), "iat": at("10:00:00").seconds(), "oid": PrincipalId(Uuid::from_u128(3)),
        "jti": TokenId(Uuid::from_u128(4)), "amr": ["swk", "otp", "mfa"],
    })
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "RS256", "kid": "k1"})
}

fn expected() -> Expected<'static> {
    Expected { issuer: ISSUER, tenant: tenant(), audience: DATABASE_AUDIENCE }
}

#[test]
fn every_way_in_which_a_token_can_be_wrong_has_its_own_code() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let stranger = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let snapshot = directory(&key);
    let with = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        sign(&key, &header(), &claims)
    };
    let verify = |jwt: &str| token::verify(jwt, &expected(), &snapshot, at("10:00:00"));

    let good = sign(&key, &header(), &claims());
    assert_eq!(verify(&good).unwrap().principal, PrincipalId(Uuid::from_u128(3)));
    assert_eq!(
        verify(&with("aud", json!(format!("{DATABASE_AUDIENCE}/")))).unwrap().methods.len(),
        3
    );

    verify(&with("exp", json!(at("10:00:00").seconds() + 24 * 3_600))).unwrap();
    verify(&with("iat", json!(at("10:01:00").seconds()))).unwrap();

    let none =
        format!("{}.{}.", b64(json!({"alg": "none"}).to_string()), b64(claims().to_string()));
    let confused = format!(
        "{}.{}.{}",
        b64(json!({"alg": "HS256", "kid": "k1"}).to_string()),
        b64("{}"),
        b64("x")
    );
    let (start, signature) = good.rsplit_once('.').unwrap();
    let mut other = claims();
    other["oid"] = json!(PrincipalId(Uuid::from_u128(5)));
    let (header_part, _) = start.split_once('.').unwrap();
    let tampered = format!("{header_part}.{}.{signature}", b64(other.to_string()));
    for (jwt, code) in [
        (none, &code::TOKEN_SIGNATURE),
        (confused, &code::TOKEN_SIGNATURE),
        (tampered, &code::TOKEN_SIGNATURE),
        (sign(&stranger, &header(), &claims()), &code::TOKEN_SIGNATURE),
        (sign(&key, &json!({"alg": "RS256", "kid": "k2"}), &claims()), &code::TOKEN_SIGNATURE),
        (
            sign(&key, &json!({"alg": "RS256", "kid": "k1", "crit": ["x"]}), &claims()),
            &code::CREDENTIAL_MALFORMED,
        ),
        (with("iss", json!("https://sts.example.com/7/v2.0/")), &code::TOKEN_ISSUER),
        (with("tid", json!(TenantId(Uuid::from_u128(8)))), &code::TOKEN_ISSUER),
        (with("aud", json!("api://portcullis")), &code::TOKEN_AUDIENCE),
        (with("exp", json!(at("10:00:00").seconds())), &code::TOKEN_EXPIRED),
        (with("nbf", json!(at("10:01:01").seconds())), &code::TOKEN_NOT_YET_VALID),
        (with("iat", json!(at("10:01:01").seconds())), &code::TOKEN_NOT_YET_VALID),
        (with("exp", json!(at("10:00:01").seconds() + 24 * 3_600)), &code::CREDENTIAL_MALFORMED),
        (with("iat", json!(i64::MIN)), &code::CREDENTIAL_MALFORMED),
        (with("jti", Value::Null), &code::CREDENTIAL_MALFORMED),
        ("hunter2".to_owned(), &code::CREDENTIAL_MALFORMED),
        (String::new(), &code::CREDENTIAL_MALFORMED),
        ("x".repeat(70_000), &code::CREDENTIAL_MALFORMED),
    ] {
        assert_eq!(verify(&jwt).unwrap_err().code.id, code.id, "{jwt:.80}");
    }
}

#[test]
fn a_retired_signing_key_signs_nothing_that_counts() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut far = claims();
    far["exp"] = json!(at("23:59:00").seconds());
    let refusal =
        token::verify(&sign(&key, &header(), &far), &expected(), &directory(&key), at("23:00:00"))
            .unwrap_err();
    assert_eq!(refusal.code, &code::TOKEN_SIGNATURE);
}

#[test]
fn without_a_registered_certificate_no_assertion_counts() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let id = ApplicationId(Uuid::from_u128(9));
    let claims =
        json!({"iss": id, "sub": id, "aud": "A", "jti": "1", "exp": at("10:10:00").seconds()});
    let audiences = ["A".to_owned()];
    let client = Client { id, certificates: &[], subject_name_issuers: &[], audiences: &audiences };
    let jwt = sign(&key, &json!({"alg": "RS256"}), &claims);
    assert_eq!(
        token::verify_assertion(&jwt, &client, at("10:00:00")).unwrap_err().to_string(),
        "no certificate that the application registered, or whose issuer it names, signed the assertion"
    );
    let none = format!("{}.{}.", b64(json!({"alg": "none"}).to_string()), b64(claims.to_string()));
    assert_eq!(
        token::verify_assertion(&none, &client, at("10:00:00")).unwrap_err().to_string(),
        "the assertion is signed with `none`; RS256, PS256 and ES256 are accepted"
    );
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,300}", dotted in "[A-Za-z0-9_.-]{0,200}") {
        let snapshot = snapshot(vec![]);
        for jwt in [&text, &dotted] {
            prop_assert!(token::verify(jwt, &expected(), &snapshot, at("10:00:00")).is_err());
        }
    }
}
