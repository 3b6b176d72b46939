//! The key that signs the audit log's checkpoints: Ed25519.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use runtime::Secret;

use crate::KeyError;

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Signs checkpoints. Copies are handles to the same key.
#[derive(Clone)]
pub struct AuditKey(Arc<Ed25519KeyPair>);

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey")
    }
}

impl AuditKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate()
            .map_err(|_| KeyError::Failed { task: "make an Ed25519 key" })?;
        Ok(Self(Arc::new(pair)))
    }

    /// From what [`Self::to_pkcs8`] wrote.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8)
            .map_err(|_| KeyError::Malformed { expected: "an Ed25519 key" })?;
        Ok(Self(Arc::new(pair)))
    }

    /// The private key.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        let document =
            self.0.to_pkcs8().map_err(|_| KeyError::Failed { task: "write an Ed25519 key" })?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        let mut bytes = [0; PUBLIC_KEY_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        bytes
    }

    /// The signature over a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut bytes = [0; SIGNATURE_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.0.sign(message).as_ref()) {
            *to = *from;
        }
        bytes
    }
}

/// Whether the signature over the message was made with the private half of this key.
pub fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_survives_being_written_and_read() {
        let key = AuditKey::generate().unwrap();
        let read = AuditKey::from_pkcs8(key.to_pkcs8().unwrap().expose()).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_ne!(key.public_key(), [0; PUBLIC_KEY_BYTES]);
        assert!(verify(&key.public_key(), b"head", &read.sign(b"head")));
    }

    #[test]
    fn another_key_and_what_is_no_key_do_not_verify() {
        let (key, other) = (AuditKey::generate().unwrap(), AuditKey::generate().unwrap());
        let signature = key.sign(b"head");
        assert!(!verify(&other.public_key(), b"head", &signature));
        assert!(!verify(b"short", b"head", &signature));
        assert!(!verify(&key.public_key(), b"head", &[]));
        let refused = AuditKey::from_pkcs8(b"no key").unwrap_err();
        assert_eq!(refused, KeyError::Malformed { expected: "an Ed25519 key" });
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_message_or_signature_fails(message in proptest::collection::vec(any::<u8>(), 1..64), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let key = AuditKey::generate().unwrap();
            let signature = key.sign(&message);
            prop_assert!(verify(&key.public_key(), &message, &signature));
            let mut altered = message.clone();
            altered[at.index(message.len())] ^= 1 << bit;
            prop_assert!(!verify(&key.public_key(), &altered, &signature));
            let mut altered = signature;
            altered[at.index(signature.len())] ^= 1 << bit;
            prop_assert!(!verify(&key.public_key(), &message, &altered));
        }
    }
}
