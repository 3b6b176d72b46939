//! Keys that sign tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The public half of a key that signs tokens (RFC 7517). `metadata.name` is its `kid`. The private half is sealed in
/// the store's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKey {
    /// RSA modulus, base64url without padding.
    pub modulus: String,
    /// RSA public exponent, base64url without padding.
    pub exponent: String,
    /// Signs from here on; published before, so that validators know it in time.
    pub signs_from: Timestamp,
    /// Tokens signed with it are refused from here on.
    pub verifies_until: Timestamp,
}

impl crate::Spec for SigningKey {
    const KIND: crate::Kind = crate::Kind::SigningKey;
    type Status = crate::document::NoStatus;
}
