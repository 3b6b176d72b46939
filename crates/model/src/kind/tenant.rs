//! The installation's directory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::NoStatus;

/// One installation's directory (Entra: tenant). There is exactly one; its `metadata.uid` is the tenant id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// Shown to people.
    pub display_name: String,
    /// Verified domains; token endpoints accept each in place of the tenant id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Whether applications can have secrets.
    #[serde(default, skip_serializing_if = "ClientSecretPolicy::is_allowed")]
    pub client_secrets: ClientSecretPolicy,
}

/// Whether applications can have secrets.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ClientSecretPolicy {
    /// They can.
    #[default]
    Allowed,
    /// None is made, and those that were made do not count.
    Forbidden,
}

impl ClientSecretPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }
}

impl crate::Spec for Tenant {
    const KIND: crate::Kind = crate::Kind::Tenant;
    type Status = NoStatus;
}
