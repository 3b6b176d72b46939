//! Tokens of other issuers that stand for a workload: Kubernetes' service account tokens, workflows of GitHub and GitLab,
//! JWT-SVIDs. In steps, because keys are fetched in between: read, match with what the workload trusts, verify.

use std::time::Duration;

use model::{FederatedCredential, Timestamp};
use serde_json::{Map, Value};

use super::expression::Expression;
use super::jws::{self, Parts};
use super::key_set::{KeySet, SignatureError};
use super::members::Members;

/// Clocks of issuers differ from ours by so much at most.
const SKEW: Duration = Duration::from_mins(5);

/// A token counts for so long from its issue at most, whatever its end: the window in which a stolen one can be shown
/// again. Kubernetes' longest projected token lives a day.
const WINDOW_MAX: Duration = Duration::from_hours(24);

/// A longer one is refused unread.
const TOKEN_BYTES_MAX: usize = 16_384;

/// What another issuer says, taken apart; nothing in it is verified yet.
pub struct Foreign<'a> {
    parts: Parts<'a>,
    claims: Map<String, Value>,
    issuer: String,
    subject: Option<String>,
}

/// What a token that was verified says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// `jti` or `uti`, for the record.
    pub id: Option<String>,
    /// `sub`, for the record.
    pub subject: String,
}

/// Which part of a token no federated credential of the workload names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `iss`.
    Issuer,
    /// `sub`, or the claims that an expression asks for.
    Subject,
    /// `aud`.
    Audience,
}

/// Why another issuer's token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// Not a JWS, or claims that are not readable.
    #[error("the assertion is malformed: {0}")]
    Malformed(String),
    /// An algorithm that is not accepted.
    #[error("the assertion is signed with `{0}`, which is not accepted")]
    Algorithm(String),
    /// The issuer's keys, as they are known, do not have the one that the header names.
    #[error("the issuer has no key with the id `{0}`")]
    KeyUnknown(String),
    /// The key did not make the signature.
    #[error("the issuer's key did not sign the assertion")]
    Signature,
    /// `exp`, `nbf` or `iat`.
    #[error("the assertion is expired, not valid yet, or was issued more than 24 hours ago")]
    Time,
}

impl std::fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreign").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl<'a> Foreign<'a> {
    /// Reads a token without believing any of it.
    pub fn read(jwt: &'a str) -> Result<Self, ForeignError> {
        if jwt.len() > TOKEN_BYTES_MAX {
            return Err(ForeignError::Malformed(format!("it has {} bytes", jwt.len())));
        }
        let parts =
            jws::split(jwt).map_err(|malformed| ForeignError::Malformed(malformed.to_string()))?;
        let Members(claims) = serde_json::from_slice(&parts.payload)
            .map_err(|error| ForeignError::Malformed(error.to_string()))?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let issuer =
            text("iss").ok_or_else(|| ForeignError::Malformed("it names no issuer".to_owned()))?;
        let subject = text("sub");
        Ok(Self { parts, claims, issuer, subject })
    }

    /// `iss`, unverified.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`, unverified.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// `aud`, unverified: one or several.
    pub fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The credential that names this token's issuer, subject and audience, byte for byte.
    pub fn matching<'c>(
        &self,
        credentials: &'c [FederatedCredential],
    ) -> Result<&'c FederatedCredential, Mismatch> {
        let issuer = |known: &&FederatedCredential| known.issuer == self.issuer;
        if !credentials.iter().any(|known| issuer(&known)) {
            return Err(Mismatch::Issuer);
        }
        let mut about = credentials.iter().filter(issuer).filter(|known| self.is_about(known));
        let audiences = self.audiences();
        let mut mismatch = Mismatch::Subject;
        about
            .find(|known| {
                mismatch = Mismatch::Audience;
                audiences.contains(&known.audience.as_str())
            })
            .ok_or(mismatch)
    }

    fn is_about(&self, credential: &FederatedCredential) -> bool {
        match (&credential.subject, &credential.claims_matching_expression) {
            (Some(subject), None) => self.subject.as_ref() == Some(subject),
            (None, Some(expression)) => {
                Expression::parse(expression).is_ok_and(|parsed| parsed.holds(&self.claims))
            }
            // The directory refuses both and neither.
            (Some(_), Some(_)) | (None, None) => false,
        }
    }

    /// Verifies the signature, then the time.
    pub fn verify(&self, keys: &KeySet, now: Timestamp) -> Result<Verified, ForeignError> {
        let header = &self.parts.header;
        keys.verify(&self.parts).map_err(|error| match error {
            SignatureError::Algorithm => ForeignError::Algorithm(super::printable(&header.alg)),
            SignatureError::KeyUnknown => ForeignError::KeyUnknown(super::printable(
                header.kid.as_deref().unwrap_or_default(),
            )),
            SignatureError::Wrong => ForeignError::Signature,
        })?;
        self.check_time(now)?;
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Verified {
            id: text("jti").or_else(|| text("uti")),
            subject: self.subject.clone().unwrap_or_default(),
        })
    }

    fn check_time(&self, now: Timestamp) -> Result<(), ForeignError> {
        let instant = |name: &str| match self.claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let seconds = value.as_f64().ok_or(ForeignError::Time)?;
                jws::instant(seconds).map(Some).ok_or(ForeignError::Time)
            }
        };
        let expires_at = instant("exp")?.ok_or(ForeignError::Time)?;
        let (not_before, issued_at) = (instant("nbf")?, instant("iat")?);
        let early = not_before.into_iter().chain(issued_at).any(|start| now.plus(SKEW) < start);
        // Without a time of issue, the end alone bounds the window.
        let window_ends = match issued_at {
            Some(issued_at) => expires_at.min(issued_at.plus(WINDOW_MAX)),
            None if expires_at > now.plus(WINDOW_MAX) => return Err(ForeignError::Time),
            None => expires_at,
        };
        if early || now.minus(SKEW) >= window_ends { Err(ForeignError::Time) } else { Ok(()) }
    }
}
