//! The authorities in the Secret: those that are trusted, oldest first, and the key of the newest, which signs.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::authority::{AUTHORITY_LIFETIME, not_after, pem};
use keys::{Authority, KeyError};
use model::Timestamp;
use runtime::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::config::MANAGED_AUTHORITY;

/// A new one is made so long before the last one ends.
const SUCCEEDED_BEFORE: Duration = Duration::from_hours(180 * 24);
/// PEM.
const CERTIFICATES: &str = "ca.crt";
/// PKCS#8.
const KEY: &str = "ca.key";

/// As in the Secret.
#[derive(Debug)]
pub(super) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    key: Secret<Vec<u8>>,
}

impl Authorities {
    /// From a Secret's data; none where it is empty, as it is when it is installed.
    pub(super) fn read(data: &Value) -> Result<Option<Self>, String> {
        let member = |name: &str| {
            let Some(text) = data.get(name) else { return Ok(None) };
            let text = text.as_str().ok_or_else(|| format!("`{name}` is no text"))?;
            STANDARD.decode(text).map(Some).map_err(|_| format!("`{name}` is not base64"))
        };
        let (certificates, key) = match (member(CERTIFICATES)?, member(KEY)?) {
            (None, None) => return Ok(None),
            (Some(certificates), Some(key)) => (certificates, Secret::new(key)),
            (None, Some(_)) => return Err(format!("`{CERTIFICATES}` is missing")),
            (Some(_), None) => return Err(format!("`{KEY}` is missing")),
        };
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&certificates).collect();
        let certificates = certificates.map_err(|_| format!("`{CERTIFICATES}` is not PEM"))?;
        let authorities = Self { certificates, key };
        authorities.signing().map_err(|error| error.to_string())?;
        Ok(Some(authorities))
    }

    /// For a Secret's data.
    pub(super) fn data(&self) -> Value {
        json!({
            CERTIFICATES: STANDARD.encode(self.bundle()),
            KEY: STANDARD.encode(self.key.expose()),
        })
    }

    /// What is trusted, as PEM.
    pub(super) fn bundle(&self) -> String {
        self.certificates.iter().map(pem).collect()
    }

    /// The newest.
    pub(super) fn signing(&self) -> Result<Authority, KeyError> {
        let newest = self.certificates.last().map(pem).unwrap_or_default();
        Authority::from_pem(&newest, self.key.expose())
    }
}

/// What must take the place of what there is now: the first authority, or the next beside those that still count.
pub(super) fn due(
    kept: Option<&Authorities>,
    now: Timestamp,
) -> Result<Option<Authorities>, KeyError> {
    let certificates = match kept {
        None => Vec::new(),
        Some(kept) => {
            if now < kept.signing()?.not_after().minus(SUCCEEDED_BEFORE) {
                return Ok(None);
            }
            let counts = |certificate: &&CertificateDer<'static>| {
                not_after(certificate).is_ok_and(|ends| now < ends)
            };
            kept.certificates.iter().filter(counts).cloned().collect()
        }
    };
    let name = format!("{MANAGED_AUTHORITY}, {now}");
    let made = Authority::create(&name, AUTHORITY_LIFETIME, now)?;
    let own = CertificateDer::from_pem_slice(made.certificate_pem().as_bytes())
        .map_err(|_| KeyError::Malformed { expected: "a certificate in PEM" })?;
    let certificates = certificates.into_iter().chain([own]).collect();
    Ok(Some(Authorities { certificates, key: made.key_pkcs8()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        start.plus(Duration::from_hours(24 * days))
    }

    #[test]
    fn the_first_is_made_and_its_successor_stands_beside_it_until_it_ends() {
        let first = due(None, at(0)).unwrap().unwrap();
        assert!(due(Some(&first), at(5 * 365 - 181)).unwrap().is_none());
        let both = due(Some(&first), at(5 * 365 - 179)).unwrap().unwrap();
        assert!(both.bundle().starts_with(&first.bundle()));
        assert_eq!(both.certificates.len(), 2);
        assert_ne!(both.signing().unwrap().certificate_pem(), first.bundle());
        // When the first has ended the second alone counts, and nothing is due.
        assert!(due(Some(&both), at(5 * 365 + 121)).unwrap().is_none());
        let third = due(Some(&both), at(2 * 5 * 365 - 179 - 170)).unwrap().unwrap();
        assert_eq!(third.certificates.len(), 2);
        assert!(!third.bundle().contains(&first.bundle()));
    }

    #[test]
    fn what_was_written_reads_the_same_and_what_is_damaged_is_named() {
        let made = due(None, at(0)).unwrap().unwrap();
        let read = Authorities::read(&made.data()).unwrap().unwrap();
        assert_eq!(read.bundle(), made.bundle());
        assert_eq!(read.key, made.key);
        assert!(Authorities::read(&json!({})).unwrap().is_none());

        let other = due(None, at(1)).unwrap().unwrap();
        for (name, value, expected) in [
            (KEY, json!(null), "`ca.key` is no text"),
            (KEY, json!("%"), "`ca.key` is not base64"),
            (KEY, other.data()[KEY].clone(), "an authority's certificate"),
            (CERTIFICATES, json!("AAAA"), "a certificate in PEM"),
        ] {
            let mut damaged = made.data();
            damaged[name] = value;
            let refused = Authorities::read(&damaged).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let mut halved = made.data();
        halved.as_object_mut().unwrap().remove(KEY);
        assert_eq!(Authorities::read(&halved).unwrap_err(), "`ca.key` is missing");
    }
}
