//! Passkeys (WebAuthn level 2): what an authenticator says when a key is made (§7.1) and when it signs someone in (§7.2).
//!
//! Keys of the two algorithms that every authenticator has one of: ES256 and RS256. No attestation is asked for, so none
//! is looked at: which make an authenticator is says nothing about the person who holds it.

mod cose;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

pub use cose::PublicKey;

/// RFC 8152 numbers of the algorithms that we verify, the one that we would rather have first.
pub const ALGORITHMS: [i64; 2] = [cose::ES256, cose::RS256];

/// §7.1 step 25 refuses longer ids.
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;

/// Longer client data is not what a browser writes.
const CLIENT_DATA_BYTES_MAX: usize = 4_096;

const RP_ID_HASH_BYTES: usize = 32;
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;

/// For whom and for which ceremony an authenticator must have answered.
#[derive(Clone, Copy, Debug)]
pub struct Ceremony<'a> {
    /// The origin at which the browser must have been, byte for byte.
    pub origin: &'a str,
    /// The host of the origin.
    pub relying_party: &'a str,
    /// The bytes that were to be signed.
    pub challenge: &'a [u8],
}

/// Why what an authenticator said does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebAuthnError {
    /// Not what the standard describes.
    #[error("it is not what an authenticator writes")]
    Malformed,
    /// Another ceremony than the one that was begun.
    #[error("it answers another question than the one that was asked")]
    Challenge,
    /// At another origin: a page that imitates this one.
    #[error("it was made at another origin")]
    Origin,
    /// For another relying party.
    #[error("it was made for another site")]
    RelyingParty,
    /// The authenticator did not check who touched it.
    #[error("the authenticator did not verify its user")]
    Unverified,
    /// An algorithm that is not ours, or a key that is too weak.
    #[error("the key is of an algorithm or a size that is not accepted")]
    Algorithm,
    /// The signature is not the key's.
    #[error("the signature does not hold")]
    Signature,
}

/// A key that an authenticator has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The credential's id.
    pub credential: Vec<u8>,
    /// Its COSE_Key, as [`PublicKey::parse`] reads it.
    pub public_key: Vec<u8>,
    /// The signature counter.
    pub sign_count: u32,
    /// Whether it is kept in more than one place.
    pub backed_up: bool,
}

/// A sign-in that an authenticator has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// The signature counter.
    pub sign_count: u32,
    /// Whether the key is kept in more than one place.
    pub backed_up: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

/// Verifies the making of a key (`navigator.credentials.create`).
pub fn registered(
    ceremony: &Ceremony<'_>,
    client_data: &[u8],
    authenticator_data: &[u8],
) -> Result<Registered, WebAuthnError> {
    check_client_data(ceremony, client_data, "webauthn.create")?;
    let data = AuthenticatorData::parse(authenticator_data)?;
    data.check(ceremony)?;
    if data.flags & ATTESTED == 0 {
        return Err(WebAuthnError::Malformed);
    }
    // AAGUID, length of the id, the id, the key; extensions may follow.
    let rest = data.rest.get(16..).ok_or(WebAuthnError::Malformed)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(WebAuthnError::Malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > CREDENTIAL_ID_BYTES_MAX {
        return Err(WebAuthnError::Malformed);
    }
    let (credential, rest) = rest.split_at_checked(length).ok_or(WebAuthnError::Malformed)?;
    let (_, key_bytes) = PublicKey::parse(rest)?;
    let public_key = rest.get(..key_bytes).ok_or(WebAuthnError::Malformed)?;
    Ok(Registered {
        credential: credential.to_vec(),
        public_key: public_key.to_vec(),
        sign_count: data.sign_count,
        backed_up: data.flags & BACKED_UP != 0,
    })
}

/// What an authenticator has signed (`navigator.credentials.get`).
#[derive(Clone, Copy, Debug)]
pub struct Assertion<'a> {
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `authenticatorData`.
    pub authenticator_data: &'a [u8],
    /// `signature`.
    pub signature: &'a [u8],
}

/// Verifies a sign-in with a key that was registered. What the counter means is the caller's to say.
pub fn asserted(
    ceremony: &Ceremony<'_>,
    assertion: &Assertion<'_>,
    public_key: &[u8],
) -> Result<Asserted, WebAuthnError> {
    check_client_data(ceremony, assertion.client_data, "webauthn.get")?;
    let data = AuthenticatorData::parse(assertion.authenticator_data)?;
    data.check(ceremony)?;
    let (key, _) = PublicKey::parse(public_key)?;
    let hash = digest(&SHA256, assertion.client_data);
    let signed = [assertion.authenticator_data, hash.as_ref()].concat();
    verify(&key, &signed, assertion.signature)?;
    Ok(Asserted { sign_count: data.sign_count, backed_up: data.flags & BACKED_UP != 0 })
}

fn verify(key: &PublicKey, signed: &[u8], signature: &[u8]) -> Result<(), WebAuthnError> {
    let verified = match key {
        PublicKey::Es256 { x, y } => {
            let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(signed, signature)
        }
        PublicKey::Rs256 { n, e } => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
        }
    };
    verified.map_err(|_| WebAuthnError::Signature)
}

fn check_client_data(
    ceremony: &Ceremony<'_>,
    client_data: &[u8],
    expected: &str,
) -> Result<(), WebAuthnError> {
    if client_data.len() > CLIENT_DATA_BYTES_MAX {
        return Err(WebAuthnError::Malformed);
    }
    let data: ClientData =
        serde_json::from_slice(client_data).map_err(|_| WebAuthnError::Malformed)?;
    if data.r#type != expected {
        return Err(WebAuthnError::Challenge);
    }
    let challenge = URL_SAFE_NO_PAD
        .decode(data.challenge.trim_end_matches('='))
        .map_err(|_| WebAuthnError::Malformed)?;
    if challenge != ceremony.challenge {
        return Err(WebAuthnError::Challenge);
    }
    if data.origin != ceremony.origin || data.cross_origin {
        return Err(WebAuthnError::Origin);
    }
    Ok(())
}

/// §6.1.
struct AuthenticatorData<'a> {
    relying_party_hash: &'a [u8; RP_ID_HASH_BYTES],
    flags: u8,
    sign_count: u32,
    rest: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WebAuthnError> {
        let malformed = WebAuthnError::Malformed;
        let (relying_party_hash, rest) =
            bytes.split_first_chunk::<RP_ID_HASH_BYTES>().ok_or(malformed)?;
        let (flags, rest) = rest.split_first().ok_or(malformed)?;
        let (count, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
        let sign_count = u32::from_be_bytes(*count);
        Ok(Self { relying_party_hash, flags: *flags, sign_count, rest })
    }

    fn check(&self, ceremony: &Ceremony<'_>) -> Result<(), WebAuthnError> {
        let expected = digest(&SHA256, ceremony.relying_party.as_bytes());
        if expected.as_ref() != self.relying_party_hash {
            return Err(WebAuthnError::RelyingParty);
        }
        if self.flags & (USER_PRESENT | USER_VERIFIED) != USER_PRESENT | USER_VERIFIED {
            return Err(WebAuthnError::Unverified);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
