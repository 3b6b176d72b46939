//! Another issuer's public keys (JWK Set, RFC 7517), and signatures by them.

use aws_lc_rs::signature::{
    self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::jws::Parts;

/// Longer sets are refused unread; a cluster's has two keys and 1 KB.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// More keys are refused: whoever has so many does not rotate, but leak.
const KEYS_MAX: usize = 100;

/// The algorithms that another issuer may sign with: RFC 7518's with public keys, which are those of JWT-SVIDs.
const ALGORITHMS: &str = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512";

/// Public keys of an issuer that can verify signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    kid: Option<String>,
    /// The only algorithm that it may be used with, when the issuer says so.
    algorithm: Option<String>,
    public: Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    Curve {
        curve: Curve,
        point: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// Why a text is not a set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Longer than [`KEY_SET_BYTES_MAX`].
    #[error("it has more than {KEY_SET_BYTES_MAX} bytes")]
    TooLong,
    /// Not a JWK Set.
    #[error("it is not a JWK Set: {0}")]
    Malformed(String),
    /// More than the bound.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    /// Nothing in it verifies signatures.
    #[error("no key in it can verify a signature with one of {ALGORITHMS}")]
    Empty,
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureError {
    /// The algorithm is not accepted, or needs a secret.
    Algorithm,
    /// No key has the header's id: the issuer may have made a new one.
    KeyUnknown,
    /// The key did not make the signature.
    Wrong,
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl KeySet {
    /// Reads a JWK Set. Keys of other types and for other uses are left out, as RFC 7517 §5 has it.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let written: Written = serde_json::from_slice(text)
            .map_err(|error| KeySetError::Malformed(error.to_string()))?;
        if written.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<Key> = written.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self { keys })
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies with the key that the header names; a header that names none is tried with every key that may be meant.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), SignatureError> {
        let algorithm = parts.header.alg.as_str();
        let wanted = Wanted::of(algorithm).ok_or(SignatureError::Algorithm)?;
        let kid = parts.header.kid.as_deref();
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
            .filter(|key| key.algorithm.as_deref().is_none_or(|only| only == algorithm))
            .filter(|key| wanted.fits(&key.public))
            .peekable();
        if fitting.peek().is_none() {
            return Err(SignatureError::KeyUnknown);
        }
        if fitting.any(|key| wanted.verify(&key.public, parts)) {
            return Ok(());
        }
        Err(SignatureError::Wrong)
    }
}

fn key(value: Value) -> Option<Key> {
    let written: WrittenKey = serde_json::from_value(value).ok()?;
    if written.usage.is_some_and(|usage| usage != "sig" && usage != "jwt-svid") {
        return None;
    }
    let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
    let public = match written.kty.as_str() {
        "RSA" => {
            let (modulus, exponent) = (bytes(written.n)?, bytes(written.e)?);
            // aws-lc refuses both as well; a key that can never verify is not kept.
            let bits = modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
            (2048..=8192).contains(&bits).then_some(Public::Rsa { modulus, exponent })?
        }
        "EC" => {
            let (curve, bytes_each) = match written.crv.as_deref() {
                Some("P-256") => (Curve::P256, 32),
                Some("P-384") => (Curve::P384, 48),
                Some("P-521") => (Curve::P521, 66),
                _ => return None,
            };
            let (x, y) = (bytes(written.x)?, bytes(written.y)?);
            if x.len() != bytes_each || y.len() != bytes_each {
                return None;
            }
            Public::Curve { curve, point: [&[4], x.as_slice(), &y].concat() }
        }
        _ => return None,
    };
    Some(Key { kid: written.kid, algorithm: written.alg, public })
}

/// What an algorithm needs: an RSA key, or a point on one curve.
enum Wanted {
    Rsa(&'static signature::RsaParameters),
    Curve(Curve, &'static dyn VerificationAlgorithm),
}

impl Wanted {
    fn of(algorithm: &str) -> Option<Self> {
        use signature as s;
        Some(match algorithm {
            "RS256" => Self::Rsa(&s::RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&s::RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&s::RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Self::Rsa(&s::RSA_PSS_2048_8192_SHA256),
            "PS384" => Self::Rsa(&s::RSA_PSS_2048_8192_SHA384),
            "PS512" => Self::Rsa(&s::RSA_PSS_2048_8192_SHA512),
            "ES256" => Self::Curve(Curve::P256, &s::ECDSA_P256_SHA256_FIXED),
            "ES384" => Self::Curve(Curve::P384, &s::ECDSA_P384_SHA384_FIXED),
            "ES512" => Self::Curve(Curve::P521, &s::ECDSA_P521_SHA512_FIXED),
            _ => return None,
        })
    }

    fn fits(&self, public: &Public) -> bool {
        match (self, public) {
            (Self::Rsa(_), Public::Rsa { .. }) => true,
            (Self::Curve(wanted, _), Public::Curve { curve, .. }) => wanted == curve,
            (Self::Rsa(_), Public::Curve { .. }) | (Self::Curve(..), Public::Rsa { .. }) => false,
        }
    }

    fn verify(&self, public: &Public, parts: &Parts<'_>) -> bool {
        let signed = parts.signed.as_bytes();
        match (self, public) {
            (Self::Rsa(parameters), Public::Rsa { modulus, exponent }) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, signed, &parts.signature).is_ok()
            }
            (Self::Curve(_, algorithm), Public::Curve { point, .. }) => {
                UnparsedPublicKey::new(*algorithm, point).verify(signed, &parts.signature).is_ok()
            }
            (Self::Rsa(_), Public::Curve { .. }) | (Self::Curve(..), Public::Rsa { .. }) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(keys: &Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "a", "n": URL_SAFE_NO_PAD.encode(vec![255; bytes]), "e": "AQAB"})
    }

    #[test]
    fn keys_that_verify_are_kept_and_others_left_out() {
        let coordinate = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![1; bytes]);
        let curve = |crv: &str, bytes: usize| json!({"kty": "EC", "crv": crv, "x": coordinate(bytes), "y": coordinate(bytes)});
        let mut encryption = rsa(256);
        encryption["use"] = json!("enc");
        let others = json!([
            {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
            rsa(128), rsa(1025), encryption, curve("P-256", 31), curve("secp256k1", 32),
        ]);
        assert_eq!(parse(&others), Err(KeySetError::Empty));
        let kept = json!([rsa(256), curve("P-256", 32), curve("P-384", 48), curve("P-521", 66)]);
        assert_eq!(parse(&kept).unwrap().len(), 4);
    }

    #[test]
    fn a_set_is_bounded() {
        assert_eq!(KeySet::parse(&vec![b' '; KEY_SET_BYTES_MAX + 1]), Err(KeySetError::TooLong));
        let many = vec![json!({"kty": "oct"}); KEYS_MAX + 1];
        assert_eq!(parse(&json!(many)), Err(KeySetError::TooMany));
        let deep = format!("{{\"keys\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(matches!(KeySet::parse(deep.as_bytes()), Err(KeySetError::Malformed(_))));
        assert!(matches!(KeySet::parse(b"<html>"), Err(KeySetError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_set_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _set = KeySet::parse(&bytes);
        }
    }
}
