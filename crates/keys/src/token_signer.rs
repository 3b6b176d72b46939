//! The key that signs tokens: RSA-2048, RS256, as every Entra client and validator knows it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use runtime::Secret;
use serde::Serialize;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use crate::KeyError;

/// Signs tokens.
pub struct TokenSigner {
    pair: RsaKeyPair,
    kid: String,
    modulus: String,
    exponent: String,
    header: String,
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSigner({})", self.kid)
    }
}

impl TokenSigner {
    /// A fresh RSA-2048 key. Takes up to a second.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)
            .map_err(|_| KeyError::Failed { task: "make an RSA key" })?;
        Self::of(pair)
    }

    /// From what [`Self::to_pkcs8`] wrote.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = RsaKeyPair::from_pkcs8(pkcs8)
            .map_err(|_| KeyError::Malformed { expected: "an RSA key" })?;
        Self::of(pair)
    }

    /// The private key.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        let der: Pkcs8V1Der<'_> =
            self.pair.as_der().map_err(|_| KeyError::Failed { task: "write an RSA key" })?;
        Ok(Secret::new(der.as_ref().to_vec()))
    }

    fn of(pair: RsaKeyPair) -> Result<Self, KeyError> {
        let (_, public) = RSAPublicKey::from_der(pair.public_key().as_ref())
            .map_err(|_| KeyError::Malformed { expected: "an RSA key" })?;
        let modulus = URL_SAFE_NO_PAD.encode(without_leading_zeros(public.modulus));
        let exponent = URL_SAFE_NO_PAD.encode(without_leading_zeros(public.exponent));
        // RFC 7638 §3: members in lexicographic order, no white space.
        let thumbprint = format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, thumbprint.as_bytes()));
        let header = format!(r#"{{"typ":"JWT","alg":"RS256","kid":"{kid}","x5t":"{kid}"}}"#);
        let header = URL_SAFE_NO_PAD.encode(header);
        Ok(Self { pair, kid, modulus, exponent, header })
    }

    /// Names the key in tokens and in the JWKS: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// RSA modulus, base64url without padding.
    pub fn modulus(&self) -> &str {
        &self.modulus
    }

    /// RSA public exponent, base64url without padding.
    pub fn exponent(&self) -> &str {
        &self.exponent
    }

    /// The claims as a JWT (RFC 7519) signed with RS256.
    pub fn sign_rs256(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        let claims = serde_json::to_vec(claims)
            .map_err(|_| KeyError::Malformed { expected: "claims that JSON can hold" })?;
        let mut token = self.header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| KeyError::Failed { task: "sign a token" })?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// RFC 7518 §6.3.1: the fewest octets; DER puts a zero before a high bit.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    use serde_json::{Value, json};

    use super::*;

    fn verifies(signer: &TokenSigner, token: &str) -> bool {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let public = RsaPublicKeyComponents {
            n: URL_SAFE_NO_PAD.decode(signer.modulus()).unwrap(),
            e: URL_SAFE_NO_PAD.decode(signer.exponent()).unwrap(),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).is_ok()
    }

    #[test]
    fn a_token_verifies_with_the_published_half_and_names_its_key() {
        let signer = TokenSigner::generate().unwrap();
        let token = signer.sign_rs256(&json!({"sub": "ada"})).unwrap();
        let parts: Vec<Value> = token
            .split('.')
            .take(2)
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        let kid = signer.kid();
        assert_eq!(parts[0], json!({"typ": "JWT", "alg": "RS256", "kid": kid, "x5t": kid}));
        assert_eq!(parts[1], json!({"sub": "ada"}));
        assert!(verifies(&signer, &token));
        assert!(!verifies(&TokenSigner::generate().unwrap(), &token));
        assert_eq!(signer.exponent(), "AQAB");
        assert_eq!(URL_SAFE_NO_PAD.decode(signer.modulus()).unwrap().len(), 256);
        model::name::check(kid).unwrap();
    }

    #[test]
    fn a_key_survives_being_written_and_read() {
        let signer = TokenSigner::generate().unwrap();
        let read = TokenSigner::from_pkcs8(signer.to_pkcs8().unwrap().expose()).unwrap();
        assert_eq!((read.kid(), read.modulus()), (signer.kid(), signer.modulus()));
        assert!(verifies(&signer, &read.sign_rs256(&json!({})).unwrap()));
        let refused = TokenSigner::from_pkcs8(b"no key").unwrap_err();
        assert_eq!(refused, KeyError::Malformed { expected: "an RSA key" });
    }
}
