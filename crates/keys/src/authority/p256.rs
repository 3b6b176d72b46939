//! P-256 keys that rcgen signs with and that leave nothing behind in memory.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use runtime::Secret;

use crate::KeyError;

/// A P-256 key; the cryptography library clears its memory when it is dropped.
pub(super) struct P256 {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl P256 {
    pub(super) fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| KeyError::Failed { task: "make a P-256 key" })?;
        Ok(Self { pair, random: SystemRandom::new() })
    }

    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
            .map_err(|_| KeyError::Malformed { expected: "a P-256 key" })?;
        Ok(Self { pair, random: SystemRandom::new() })
    }

    pub(super) fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        let document =
            self.pair.to_pkcs8v1().map_err(|_| KeyError::Failed { task: "write a P-256 key" })?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }
}

impl PublicKeyData for P256 {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for P256 {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&self.random, message);
        Ok(signature.map_err(|_| rcgen::Error::RemoteKeyError)?.as_ref().to_vec())
    }
}
