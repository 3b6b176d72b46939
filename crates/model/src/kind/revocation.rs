//! Tokens that no longer count.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{PrincipalId, Timestamp, TokenId};

/// Tokens that no longer count although they have not expired (continuous access evaluation). Kept until the last
/// token it can mean has expired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revocation {
    /// Which tokens.
    pub tokens: RevokedTokens,
    /// When it can be forgotten.
    pub keep_until: Timestamp,
    /// Why, in the words of who revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RevokedTokens {
    /// One token.
    Token(TokenId),
    /// Every token of one sign-in, under whose id (`sid`) they were issued.
    SignIn(Uuid),
    /// Every token of a principal issued before an instant (Graph: `revokeSignInSessions`).
    #[serde(rename_all = "camelCase")]
    IssuedBefore {
        /// Whose.
        principal: PrincipalId,
        /// Issued strictly before.
        before: Timestamp,
    },
    /// Every token, whoever holds it: a signing key was lost or stolen.
    #[serde(rename_all = "camelCase")]
    EveryIssuedBefore {
        /// Issued strictly before.
        before: Timestamp,
    },
}

impl crate::Spec for Revocation {
    const KIND: crate::Kind = crate::Kind::Revocation;
    type Status = crate::document::NoStatus;
}
