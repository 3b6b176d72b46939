//! JWS compact serialisation (RFC 7515 §7.1), as far as tokens and assertions use it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::Timestamp;
use serde::Deserialize;

/// Padding is accepted or left out: Azure's clients do both (azure-identity for Python pads `x5t`).
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A header's members that we look at. Key sources named by the sender (`jku`, `jwk`, `x5u`) are not among them; a chain
/// (`x5c`) counts where an authority that we know issued it.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    pub(super) x5t: Option<String>,
    #[serde(default, rename = "x5t#S256")]
    pub(super) x5t_s256: Option<String>,
    #[serde(default)]
    pub(super) x5c: Option<Vec<String>>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// A token taken apart; nothing in it is verified yet.
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    /// What the signature is over.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

/// Why a text is not a JWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it does not have three parts")]
    Parts,
    /// A part is not base64url.
    #[error("a part of it is not base64url")]
    Base64,
    /// The header is not the JSON object that RFC 7515 describes.
    #[error("its header is not readable")]
    Header,
    /// RFC 7515 §4.1.11: an extension that must be understood, and is not.
    #[error("its header has critical extensions")]
    Critical,
}

pub(super) fn split(jwt: &str) -> Result<Parts<'_>, Malformed> {
    let (signed, signature) = jwt.rsplit_once('.').ok_or(Malformed::Parts)?;
    let (header, payload) = signed.split_once('.').ok_or(Malformed::Parts)?;
    if payload.contains('.') {
        return Err(Malformed::Parts);
    }
    let decode = |part: &str| URL_SAFE.decode(part).map_err(|_| Malformed::Base64);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Malformed::Header)?;
    if header.crit.is_some() {
        return Err(Malformed::Critical);
    }
    Ok(Parts { header, payload: decode(payload)?, signed, signature: decode(signature)? })
}

/// A NumericDate (RFC 7519 §2), which may have fractions; nothing when no calendar has it.
#[expect(clippy::cast_possible_truncation, reason = "checked to lie within what an i64 holds")]
pub(super) fn instant(seconds: f64) -> Option<Timestamp> {
    let years = 0.0..=253_402_300_799.0;
    years.contains(&seconds).then(|| Timestamp::from_micros((seconds * 1e6) as i64))
}

/// A certificate thumbprint in either alphabet, padded or not.
pub(super) fn thumbprint(text: &str) -> Option<Vec<u8>> {
    URL_SAFE.decode(text.replace('+', "-").replace('/', "_")).ok()
}
