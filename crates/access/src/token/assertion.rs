//! Client assertions that an application signs with the key of a registered certificate (RFC 7523 §2.2), in the forms
//! that Azure's client libraries send.

use std::time::Duration;

use aws_lc_rs::{digest, signature};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::kind::application::SubjectNameIssuer;
use model::{ApplicationId, Timestamp};
use serde::Deserialize;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain;
use super::jws::{self, Parts};

/// @azure/identity for Node rounds `nbf` up to the next second; clocks of clients differ.
const SKEW: Duration = Duration::from_mins(5);

/// A longer life is refused.
const LIFE_MAX: Duration = Duration::from_hours(24);

/// A longer assertion is refused unread.
const ASSERTION_BYTES_MAX: usize = 16_384;

/// What a verified assertion says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// `jti`: to be used once.
    pub id: String,
    /// Until when a second use must be refused.
    pub expires_at: Timestamp,
    /// SHA-256 of the certificate whose key signed it, in base64url.
    pub certificate: String,
}

/// Why an assertion does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Not a JWS, or claims that are not readable.
    #[error("the assertion is malformed: {0}")]
    Malformed(String),
    /// An algorithm that is not accepted.
    #[error("the assertion is signed with `{0}`; RS256, PS256 and ES256 are accepted")]
    Algorithm(String),
    /// No registered certificate has the thumbprint, or its key did not sign this.
    #[error(
        "no certificate that the application registered, or whose issuer it names, signed the assertion"
    )]
    Signature,
    /// The certificate's own time is over, or has not begun.
    #[error("the certificate that signed the assertion is not valid now")]
    CertificateExpired,
    /// `iss` and `sub` are not the client.
    #[error("the assertion's issuer and subject are not the client's id")]
    Subject,
    /// `aud` is not this token endpoint.
    #[error("the assertion is for `{0}`")]
    Audience(String),
    /// `exp`, `nbf` or `iat`.
    #[error("the assertion is expired, not valid yet, or lives longer than 24 hours")]
    Time,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    jti: String,
    // MSAL for Python sends fractions of seconds.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
}

/// Who must have signed an assertion, and for whom it must be.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// `iss` and `sub`.
    pub id: ApplicationId,
    /// PEM certificates registered for it.
    pub certificates: &'a [String],
    /// Authorities whose certificates count under a name.
    pub subject_name_issuers: &'a [SubjectNameIssuer],
    /// Accepted values of `aud`.
    pub audiences: &'a [String],
}

/// Verifies an assertion. The caller refuses a second use of [`Assertion::id`].
pub fn verify_assertion(
    jwt: &str,
    client: &Client<'_>,
    now: Timestamp,
) -> Result<Assertion, AssertionError> {
    if jwt.len() > ASSERTION_BYTES_MAX {
        return Err(AssertionError::Malformed(format!("it has {} bytes", jwt.len())));
    }
    let parts =
        jws::split(jwt).map_err(|malformed| AssertionError::Malformed(malformed.to_string()))?;
    let certificate = verify_signature(&parts, client, now)?;
    let claims: Claims = serde_json::from_slice(&parts.payload)
        .map_err(|error| AssertionError::Malformed(error.to_string()))?;
    let id = client.id.to_string();
    if !(claims.iss.eq_ignore_ascii_case(&id) && claims.sub.eq_ignore_ascii_case(&id)) {
        return Err(AssertionError::Subject);
    }
    if !client.audiences.contains(&claims.aud) {
        return Err(AssertionError::Audience(claims.aud));
    }
    let expires_at = instant(claims.exp)?;
    let starts_at = [claims.nbf, claims.iat]
        .into_iter()
        .flatten()
        .map(instant)
        .collect::<Result<Vec<_>, _>>()?;
    let early = starts_at.iter().any(|start| now.plus(SKEW) < *start);
    if early || now.minus(SKEW) >= expires_at || expires_at > now.plus(LIFE_MAX) {
        return Err(AssertionError::Time);
    }
    Ok(Assertion { id: claims.jti, expires_at: expires_at.plus(SKEW), certificate })
}

fn instant(seconds: f64) -> Result<Timestamp, AssertionError> {
    jws::instant(seconds).ok_or(AssertionError::Time)
}

fn verify_signature(
    parts: &Parts<'_>,
    client: &Client<'_>,
    now: Timestamp,
) -> Result<String, AssertionError> {
    let algorithm: &dyn signature::VerificationAlgorithm = match parts.header.alg.as_str() {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "ES256" => &signature::ECDSA_P256_SHA256_FIXED,
        other => return Err(AssertionError::Algorithm(super::printable(other))),
    };
    let registered = client.certificates.iter().filter_map(|pem| {
        Pem::iter_from_buffer(pem.as_bytes()).flatten().next().map(|pem| pem.contents)
    });
    let brought = parts
        .header
        .x5c
        .iter()
        .filter_map(|x5c| chain::leaf(x5c, client.subject_name_issuers, now));
    for der in registered.chain(brought).filter(|der| named(parts, der)) {
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
            continue;
        };
        let key = signature::UnparsedPublicKey::new(
            algorithm,
            &certificate.public_key().subject_public_key.data,
        );
        if key.verify(parts.signed.as_bytes(), &parts.signature).is_ok() {
            valid_now(&certificate, now)?;
            return Ok(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der)));
        }
    }
    Err(AssertionError::Signature)
}

/// Whether the header's thumbprint is the certificate's; without one, every certificate is tried.
fn named(parts: &Parts<'_>, der: &[u8]) -> bool {
    let is = |given: &Option<String>, algorithm: &'static digest::Algorithm| {
        given.as_deref().is_none_or(|text| {
            jws::thumbprint(text)
                .is_some_and(|thumbprint| thumbprint == digest::digest(algorithm, der).as_ref())
        })
    };
    is(&parts.header.x5t, &digest::SHA1_FOR_LEGACY_USE_ONLY)
        && is(&parts.header.x5t_s256, &digest::SHA256)
}

fn valid_now(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<(), AssertionError> {
    let validity = certificate.validity();
    let inside = validity.not_before.timestamp() <= now.seconds()
        && now.seconds() < validity.not_after.timestamp();
    if inside { Ok(()) } else { Err(AssertionError::CertificateExpired) }
}
