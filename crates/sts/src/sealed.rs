//! Statements of this process to itself that strangers carry: challenges and tickets. Nothing is stored until one comes
//! back with a proof, so asking for many holds nothing. A restart forgets them all; they live two minutes.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::KeyError;
use model::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Authenticates what it sealed.
pub(crate) struct Sealer {
    key: hmac::Key,
}

impl Sealer {
    /// With a key that nobody else will ever know.
    pub(crate) fn random() -> Result<Self, KeyError> {
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &keys::random::<32>()?) })
    }

    /// `payload.tag`, in base64url. `purpose` keeps one kind from passing for another.
    pub(crate) fn seal(&self, purpose: &str, payload: &impl Serialize) -> Option<String> {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(payload).ok()?);
        let tag = hmac::sign(&self.key, signed(purpose, &payload).as_bytes());
        Some(format!("{payload}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref())))
    }

    /// The payload, if this process sealed it for this purpose.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: &str, sealed: &str) -> Option<T> {
        let (payload, tag) = sealed.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, signed(purpose, payload).as_bytes(), &tag).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

fn signed(purpose: &str, payload: &str) -> String {
    format!("{purpose}\n{payload}")
}

/// What a sealed statement always says beside its own matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(crate) struct Validity {
    pub(crate) expires_at: Timestamp,
}

impl Validity {
    pub(crate) fn holds(self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_sealed_opens_for_its_purpose_by_the_same_process_only() {
        let sealer = Sealer::random().unwrap();
        let sealed = sealer.seal("challenge", &("ada", 7)).unwrap();
        assert_eq!(sealer.open("challenge", &sealed), Some(("ada".to_owned(), 7)));
        assert_eq!(sealer.open::<(String, i32)>("ticket", &sealed), None);
        assert_eq!(Sealer::random().unwrap().open::<(String, i32)>("challenge", &sealed), None);
    }

    proptest! {
        #[test]
        fn a_changed_byte_does_not_open(at in any::<prop::sample::Index>(), byte in 0x21_u8..0x7f) {
            let sealer = Sealer::random().unwrap();
            let sealed = sealer.seal("challenge", &"ada").unwrap();
            let mut bytes = sealed.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            // The last character of base64 has bits that say nothing.
            prop_assume!(at != sealed.len() - 1 && at != sealed.find('.').unwrap() - 1);
            prop_assert_eq!(sealer.open::<String>("challenge", &changed), None);
        }
    }
}
