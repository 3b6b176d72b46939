//! One-time codes (RFC 6238): SHA-1, 6 digits, 30 seconds, which is what every authenticator app does.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use data_encoding::BASE32_NOPAD;
use model::Timestamp;
use runtime::Secret;

use crate::KeyError;

/// RFC 4226 §4 R6 recommends 160 bits.
pub const SEED_BYTES: usize = 20;
/// RFC 6238 §4: the default time step.
const STEP_SECONDS: u64 = 30;
/// Steps before and after the present one that count.
const DRIFT_STEPS: u64 = 1;
const DIGITS: usize = 6;

/// A fresh seed.
pub fn seed() -> Result<Secret<Vec<u8>>, KeyError> {
    Ok(Secret::new(crate::random::<SEED_BYTES>()?.to_vec()))
}

/// The seed as people type it.
pub fn base32(seed: &[u8]) -> String {
    BASE32_NOPAD.encode(seed)
}

/// The seed from what people typed: case, blanks and padding do not matter.
pub fn from_base32(text: &str) -> Result<Secret<Vec<u8>>, KeyError> {
    let compact: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '='))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let compact = Secret::new(compact);
    match BASE32_NOPAD.decode(compact.expose().as_bytes()) {
        Ok(seed) if !seed.is_empty() => Ok(Secret::new(seed)),
        _ => Err(KeyError::Malformed { expected: "a TOTP seed in base32" }),
    }
}

/// What an authenticator app scans (Key URI Format).
pub fn provisioning_uri(issuer: &str, account: &str, seed: &[u8]) -> String {
    let (issuer, account, secret) = (percent(issuer), percent(account), base32(seed));
    format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1\
         &digits={DIGITS}&period={STEP_SECONDS}"
    )
}

/// The time step that an instant lies in.
pub fn step(now: Timestamp) -> u64 {
    u64::try_from(now.seconds()).unwrap_or(0) / STEP_SECONDS
}

/// The code of an instant.
pub fn code(seed: &[u8], now: Timestamp) -> String {
    code_of_step(seed, step(now), DIGITS)
}

/// The step whose code this is: the present one or a neighbour, and later than `last_step`, so that a code counts once.
pub fn verify(seed: &[u8], code: &str, now: Timestamp, last_step: Option<u64>) -> Option<u64> {
    let present = step(now);
    let steps = present.saturating_sub(DRIFT_STEPS)..=present + DRIFT_STEPS;
    // All are compared, whichever fits, so that the time taken tells nothing.
    steps.fold(None, |found, step| {
        let expected = code_of_step(seed, step, DIGITS);
        let equal = verify_slices_are_equal(expected.as_bytes(), code.as_bytes()).is_ok();
        let counts = last_step.is_none_or(|last| step > last);
        if equal && counts { found.or(Some(step)) } else { found }
    })
}

/// RFC 4226 §5.3.
fn code_of_step(seed: &[u8], step: u64, digits: usize) -> String {
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let offset = tag.as_ref().last().map_or(0, |last| usize::from(last & 0x0f));
    let four = tag.as_ref().get(offset..).and_then(|rest| rest.first_chunk::<4>());
    let number = u32::from_be_bytes(four.copied().unwrap_or_default()) & 0x7fff_ffff;
    let modulus = 10_u32.pow(u32::try_from(digits).unwrap_or(9).min(9));
    format!("{:0digits$}", number % modulus)
}

/// RFC 3986 §2.3: everything but unreserved characters is escaped.
fn percent(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&data_encoding::HEXUPPER.encode(&[byte]));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RFC_SEED: &[u8] = b"12345678901234567890";

    #[test]
    fn rfc_6238_appendix_b_test_vectors() {
        for (seconds, expected) in [
            (59_i64, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let step = step(Timestamp::from_seconds(seconds));
            assert_eq!(code_of_step(RFC_SEED, step, 8), expected, "{seconds}");
        }
    }

    #[test]
    fn rfc_4226_appendix_d_test_vectors() {
        let codes: Vec<String> =
            (0..10).map(|counter| code_of_step(RFC_SEED, counter, 6)).collect();
        assert_eq!(
            codes,
            [
                "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
                "399871", "520489"
            ]
        );
    }

    #[test]
    fn a_code_counts_once_and_one_step_of_drift_is_forgiven() {
        let now = Timestamp::from_seconds(1_234_567_890);
        let present = step(now);
        let code_at = |step: u64| code_of_step(RFC_SEED, step, 6);
        for (step, found) in [
            (present - 2, None),
            (present - 1, Some(present - 1)),
            (present, Some(present)),
            (present + 1, Some(present + 1)),
            (present + 2, None),
        ] {
            assert_eq!(verify(RFC_SEED, &code_at(step), now, None), found);
        }
        assert_eq!(verify(RFC_SEED, &code_at(present), now, Some(present)), None);
        assert_eq!(verify(RFC_SEED, &code_at(present - 1), now, Some(present)), None);
        assert_eq!(verify(RFC_SEED, &code_at(present), now, Some(present - 1)), Some(present));
        assert_eq!(code(RFC_SEED, now), code_at(present));
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in ["", "1", "12345", "1234567", "abcdef", "００００００"] {
            assert_eq!(verify(RFC_SEED, text, Timestamp::from_seconds(59), None), None, "{text}");
        }
    }

    #[test]
    fn the_provisioning_uri_is_what_authenticator_apps_scan() {
        assert_eq!(
            provisioning_uri("Portcullis Orders", "ada@example.com", b"12345678901234567890"),
            "otpauth://totp/Portcullis%20Orders:ada%40example.com?\
             secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Portcullis%20Orders&algorithm=SHA1\
             &digits=6&period=30"
        );
    }

    #[test]
    fn a_seed_is_read_as_people_type_it() {
        let read = from_base32("gezd gnbv-gy3t qojq GEZDGNBVGY3TQOJQ==\n").unwrap();
        assert_eq!(read.expose(), RFC_SEED);
        assert!(from_base32("").is_err());
        assert!(from_base32("1l0O").is_err());
    }

    proptest! {
        #[test]
        fn seeds_round_trip_and_their_codes_verify(seed in proptest::collection::vec(any::<u8>(), 1..40), seconds in 0_i64..4_000_000_000) {
            let now = Timestamp::from_seconds(seconds);
            let read = from_base32(&base32(&seed)).unwrap();
            prop_assert_eq!(read.expose(), &seed);
            prop_assert!(verify(&seed, &code(&seed, now), now, None).is_some());
        }
    }
}
