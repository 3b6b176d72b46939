//! Any text as a token, or as an application's assertion: refused without a panic. Nobody can forge a signature, so
//! nothing that the fuzzer makes may count; the property test beside `access::token` says the same.
#![no_main]

use std::sync::LazyLock;

use access::token::{Client, DATABASE_AUDIENCE, Expected, verify, verify_assertion};
use model::kind::signing_key::SigningKey;
use model::{ApplicationId, Document, Revision, Snapshot, TenantId, Timestamp};
use uuid::Uuid;

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let key = SigningKey {
        modulus: "-".repeat(342), // 256 bytes, the first bit set
        exponent: "AQAB".to_owned(),
        signs_from: at("2026-01-01T00:00:00Z"),
        verifies_until: at("2027-01-01T00:00:00Z"),
    };
    Snapshot::of(Revision(1), now(), vec![Document::new("k1", key).into()])
});

fn at(time: &str) -> Timestamp {
    time.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-06-01T00:00:00Z")
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let expected = Expected {
        issuer: "https://gate.example/t/v2.0",
        tenant: TenantId(Uuid::from_u128(7)),
        audience: DATABASE_AUDIENCE,
    };
    assert!(verify(&text, &expected, &SNAPSHOT, now()).is_err());
    // The same text as the claims of a token whose header names the key.
    let header = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0";
    assert!(verify(&format!("{header}.{text}"), &expected, &SNAPSHOT, now()).is_err());
    let client =
        Client { id: ApplicationId(Uuid::from_u128(8)), certificates: &[], subject_name_issuers: &[], audiences: &[] };
    assert!(verify_assertion(&text, &client, now()).is_err());
});
