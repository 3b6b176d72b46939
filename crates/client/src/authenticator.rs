//! The second factor: a code that a person types, or one made from a TOTP secret in a file (for machines and tests).

use std::path::Path;
use std::time::Duration;

use model::Timestamp;
use runtime::Secret;

use crate::ClientError;
use crate::home;

/// What stands in errors for a file that is not there.
const OPTION: &str = "--totp-secret-file";

const STEP: Duration = Duration::from_secs(30);

/// Where codes come from.
#[derive(Debug)]
pub enum Authenticator {
    /// One code, as a person typed it.
    Typed(Secret<String>),
    /// The secret that codes are made from.
    Seed(Secret<Vec<u8>>),
}

impl Authenticator {
    /// From a file that holds the secret in base32, or the `otpauth:` address that enrolment showed. A name under which
    /// there is no file, and which is such a secret, is taken for it: a test stack's environment holds it so.
    pub fn from_file(path: &Path) -> Result<Self, ClientError> {
        let (text, named) = match home::read_given(path)? {
            Some(text) => (text, path),
            // What is neither may be a mistyped secret: an error does not repeat it.
            None => (Secret::new(path.to_string_lossy().into_owned()), Path::new(OPTION)),
        };
        let malformed = || ClientError::Malformed {
            path: named.to_owned(),
            expected: "a file with a TOTP secret in base32",
        };
        let secret = text
            .expose()
            .split(['?', '&'])
            .find_map(|part| part.strip_prefix("secret="))
            .unwrap_or(text.expose());
        keys::totp::from_base32(secret).map(Self::Seed).map_err(|_| malformed())
    }
}

/// The earliest step at or after `now` that is later than `used`, and from when the installation takes its code. It
/// takes the step after the present one too.
pub(crate) fn next_step(used: Option<u64>, now: Timestamp) -> (u64, Timestamp) {
    let present = keys::totp::step(now);
    let step = used.map_or(present, |used| present.max(used.saturating_add(1)));
    (step, begins(step.saturating_sub(1)))
}

/// The code of a step.
pub(crate) fn code(seed: &Secret<Vec<u8>>, step: u64) -> Secret<String> {
    Secret::new(keys::totp::code(seed.expose(), begins(step)))
}

fn begins(step: u64) -> Timestamp {
    Timestamp::EPOCH.plus(STEP.saturating_mul(u32::try_from(step).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_used_once_and_the_next_is_taken_early() {
        let now = Timestamp::from_seconds(1_000_000_010);
        let present = keys::totp::step(now);
        let ahead = |used, now| {
            let (step, from) = next_step(used, now);
            (step - present, from <= now)
        };
        assert_eq!(ahead(None, now), (0, true));
        assert_eq!(ahead(Some(present - 5), now), (0, true));
        assert_eq!(ahead(Some(present), now), (1, true));
        assert_eq!(ahead(Some(present + 1), now), (2, false));
        assert_eq!(ahead(Some(present + 1), now.plus(Duration::from_secs(30))), (2, true));
    }

    #[test]
    fn a_seed_is_read_from_base32_or_from_the_address_of_enrolment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("totp");
        let now = Timestamp::from_seconds(1_000_000_010);
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n",
            "otpauth://totp/P:ada?issuer=P&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&digits=6",
        ] {
            home::write(&path, text).unwrap();
            let Authenticator::Seed(seed) = Authenticator::from_file(&path).unwrap() else {
                panic!("a file holds a seed");
            };
            assert_eq!(
                *code(&seed, keys::totp::step(now)).expose(),
                keys::totp::code(b"12345678901234567890", now)
            );
        }
        home::write(&path, "not base32!").unwrap();
        assert!(Authenticator::from_file(&path).is_err());
        let mistyped = Authenticator::from_file(Path::new("GEZDGNBVGY3TQOJ0")).unwrap_err();
        let expected = "`--totp-secret-file` is not a file with a TOTP secret in base32";
        assert_eq!(mistyped.to_string(), expected);
    }
}
