//! Tokens as an attacker makes them: taken apart, changed, signed by nobody or by the wrong key.

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A token's parts.
#[derive(Clone, Debug)]
pub struct Jwt {
    pub header: Value,
    pub claims: Value,
    pub signature: String,
}

impl Jwt {
    pub fn read(token: &str) -> Result<Self> {
        let mut parts = token.split('.');
        let mut part = || parts.next().context("a token has three parts");
        let (header, claims, signature) = (part()?, part()?, part()?);
        Ok(Self { header: json(header)?, claims: json(claims)?, signature: signature.to_owned() })
    }

    /// Under the signature that it came with.
    pub fn with_old_signature(&self) -> Result<String> {
        Ok(format!("{}.{}", self.signed_part()?, self.signature))
    }

    /// `alg: none`, which some libraries once took for a signature.
    pub fn unsigned(&self) -> Result<String> {
        let mut changed = self.clone();
        changed.set_header("alg", "none");
        Ok(format!("{}.", changed.signed_part()?))
    }

    /// Signed by a key that is not the installation's, under the name of the one that is.
    pub fn signed_by_stranger(&self) -> Result<String> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let message = self.signed_part()?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub fn set_claim(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(claims) = self.claims.as_object_mut() {
            claims.insert(name.to_owned(), value.into());
        }
    }

    pub fn set_header(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(header) = self.header.as_object_mut() {
            header.insert(name.to_owned(), value.into());
        }
    }

    fn signed_part(&self) -> Result<String> {
        let part = |value: &Value| -> Result<String> {
            Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(value)?))
        };
        Ok(format!("{}.{}", part(&self.header)?, part(&self.claims)?))
    }
}

fn json(part: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}
