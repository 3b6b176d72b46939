//! What other issuers and whoever presents their tokens send: an expression, a set of keys, a token. Bounded, no panic, and
//! nothing counts that no known key signed.
#![no_main]

use std::sync::LazyLock;

use access::token::{Expression, Foreign, KEY_SET_BYTES_MAX, KeySet};
use model::{FederatedCredential, Timestamp};
use serde_json::{Map, Value};

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    // 256 bytes, the first bit set.
    let key = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k1","n":"{}","e":"AQAB"}}]}}"#, "-".repeat(342));
    KeySet::parse(key.as_bytes()).expect("a set of keys")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    if let Ok(expression) = Expression::parse(first) {
        let claims: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
        let holds = expression.holds(&claims);
        assert!(!holds || !claims.is_empty(), "an expression holds for nobody");
    }
    if let Ok(keys) = KeySet::parse(rest.as_bytes()) {
        assert!(!keys.is_empty() && rest.len() <= KEY_SET_BYTES_MAX);
    }
    // The same text as the claims of a token whose header names the key.
    let header = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0";
    let now: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
    for jwt in [rest.to_owned(), format!("{header}.{rest}")] {
        let Ok(foreign) = Foreign::read(&jwt) else { continue };
        let credential = FederatedCredential {
            name: "c".to_owned(),
            issuer: foreign.issuer().to_owned(),
            subject: None,
            claims_matching_expression: Some(first.to_owned()),
            audience: foreign.audiences().first().copied().unwrap_or("a").to_owned(),
            description: None,
        };
        let _matching = foreign.matching(std::slice::from_ref(&credential));
        assert!(foreign.verify(&KEYS, now).is_err());
    }
});
