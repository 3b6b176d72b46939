//! Service-account tokens: signed with RS256, under an issuer that says its keys.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(super) struct Issuer {
    pub(super) url: String,
    key: RsaKeyPair,
    key_id: String,
    /// Who signs tokens that are not for the API server: address and folder of keys.
    elsewhere: Option<(String, PathBuf)>,
}

impl Issuer {
    pub(super) fn new(url: String, elsewhere: Option<(String, PathBuf)>) -> Result<Self> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048)?;
        // As the API server names its keys: a hash of the public one.
        let key_id = URL_SAFE_NO_PAD.encode(digest(&SHA256, key.public_key().as_ref()));
        Ok(Self { url, key, key_id, elsewhere })
    }

    pub(super) fn configuration(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/openid/v1/jwks", self.url),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    pub(super) fn keys(&self) -> Value {
        // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits: both numbers stand at fixed places.
        let public = self.key.public_key().as_ref();
        let number = |from: usize, length: usize| {
            URL_SAFE_NO_PAD.encode(public.get(from..from + length).unwrap_or_default())
        };
        json!({ "keys": [{
            "use": "sig", "kty": "RSA", "alg": "RS256", "kid": self.key_id,
            "n": number(9, 256), "e": number(267, 3),
        }] })
    }

    pub(super) fn token(
        &self,
        (namespace, account): (&str, &str),
        object: &Value,
        audience: &str,
        seconds: u64,
    ) -> Result<String> {
        let now = now();
        let elsewhere = self.elsewhere.as_ref().filter(|_| audience != self.url);
        let issuer = elsewhere.map_or(&self.url, |(url, _)| url);
        let uid = object.pointer("/metadata/resourceVersion").cloned();
        let claims = json!({
            "aud": [audience], "exp": now + seconds, "iat": now, "nbf": now,
            "iss": issuer,
            "jti": URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{now}{account}{seconds}").as_bytes())),
            "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": account, "uid": uid } },
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
        });
        if let Some((_, keys)) = elsewhere {
            return crate::issuer::sign(keys, &claims);
        }
        let header = json!({ "alg": "RS256", "kid": self.key_id });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message.as_bytes(),
            &mut signature,
        )?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Whose token for the API server it is.
    pub(super) fn subject(&self, token: &str) -> Option<String> {
        self.verified(token).ok()
    }

    fn verified(&self, token: &str) -> Result<String> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { anyhow::bail!("no token") };
        let message = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        let public = self.key.public_key().as_ref();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        ensure!(public.verify(message.as_bytes(), &signature).is_ok(), "the signature is wrong");
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        let ends = claims.get("exp").and_then(Value::as_u64);
        ensure!(claims.get("aud") == Some(&json!([self.url])), "it is for another");
        ensure!(ends.is_some_and(|ends| now() < ends), "it has ended");
        Ok(claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

#[expect(clippy::disallowed_methods, reason = "a server of its own, with a clock of its own")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
