//! The key of an enrolled machine: P-256, in a PEM file that says in front whose it is.

use std::fmt;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::UserName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::ClientError;
use crate::home;

const USER: &str = "# user: ";
const EXPECTED: &str = "a device key that `portcullis login --pass` made";

/// The key of a machine, and whose it is.
pub struct DeviceKey {
    user: UserName,
    pair: EcdsaKeyPair,
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.user)
    }
}

impl DeviceKey {
    /// A new one. It counts from its enrolment.
    pub fn generate(user: UserName) -> Result<Self, ClientError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| ClientError::Cryptography { task: "make a device key" })?;
        Ok(Self { user, pair })
    }

    /// Reads a key file; nothing when there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, ClientError> {
        let Some(text) = home::read(path)? else { return Ok(None) };
        let malformed = || ClientError::Malformed { path: path.to_owned(), expected: EXPECTED };
        let user = text.expose().lines().find_map(|line| line.strip_prefix(USER));
        let user = user.and_then(|user| user.trim().parse().ok()).ok_or_else(malformed)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.expose().as_bytes())
            .map_err(|_| malformed())?;
        let key = PrivateKeyDer::Pkcs8(key);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der())
            .map_err(|_| malformed())?;
        Ok(Some(Self { user, pair }))
    }

    /// Writes the key file, 0600.
    pub fn save(&self, path: &Path) -> Result<(), ClientError> {
        let task = "write a device key";
        let der = self.pair.to_pkcs8v1().map_err(|_| ClientError::Cryptography { task })?;
        let base64 = runtime::Secret::new(STANDARD.encode(der.as_ref()));
        let mut pem = format!(
            "# Device key of Portcullis: whoever has it has the first of two factors.\n{USER}{}\n-----BEGIN PRIVATE KEY-----\n",
            self.user
        );
        for line in base64.expose().as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        home::write(path, runtime::Secret::new(pem).expose())
    }

    /// Whose it is.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// SubjectPublicKeyInfo, base64url.
    pub(crate) fn public_key(&self) -> Result<String, ClientError> {
        let der: PublicKeyX509Der<'_> = self
            .pair
            .public_key()
            .as_der()
            .map_err(|_| ClientError::Cryptography { task: "write a public key" })?;
        Ok(URL_SAFE_NO_PAD.encode(der.as_ref()))
    }

    /// A signature over a challenge, base64url.
    pub(crate) fn sign(&self, challenge: &str) -> Result<String, ClientError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), challenge.as_bytes())
            .map_err(|_| ClientError::Cryptography { task: "sign" })?;
        Ok(URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_key_file_holds_the_key_and_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.pem");
        assert!(DeviceKey::load(&path).unwrap().is_none());
        let key = DeviceKey::generate("ada@example.com".parse().unwrap()).unwrap();
        key.save(&path).unwrap();
        let read = DeviceKey::load(&path).unwrap().unwrap();
        assert_eq!(read.user().as_str(), "ada@example.com");
        assert_eq!(read.public_key().unwrap(), key.public_key().unwrap());
        let signature = URL_SAFE_NO_PAD.decode(read.sign("challenge").unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.pair.public_key());
        public.verify(b"challenge", &signature).unwrap();
        assert_eq!(format!("{read:?}"), "DeviceKey(ada@example.com)");
    }

    #[test]
    fn what_is_no_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.pem");
        home::write(&path, "# user: ada@example.com\nnot a key").unwrap();
        let error = DeviceKey::load(&path).unwrap_err();
        assert!(error.to_string().ends_with(EXPECTED), "{error}");
    }
}
