//! Workload identities without a credential of their own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApplicationId, FederatedCredential};

/// An identity that a workload has because of where it runs: no secret and no certificate exists for it (Entra: managed
/// identity). `metadata.uid` is the service principal's object id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedIdentity {
    /// Shown to people.
    pub display_name: String,
    /// A disabled identity gets no token, and every live session of its is cut.
    #[serde(default = "crate::document::yes")]
    pub enabled: bool,
    /// The client id; drawn at creation when absent, immutable afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ApplicationId>,
    /// Whose it is. Immutable.
    #[serde(default, skip_serializing_if = "Assignment::is_user_assigned")]
    pub assignment: Assignment,
    /// The Azure Resource Manager id by which clients may name it and which its tokens carry (`xms_mirid`); made from
    /// tenant and name when absent, immutable afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Tokens of other issuers that stand for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub federated_credentials: Vec<FederatedCredential>,
}

/// Whose a managed identity is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Assignment {
    /// A resource of its own, which any number of workloads can be given.
    #[default]
    UserAssigned,
    /// One host's: what runs there is this identity when it names none.
    SystemAssigned {
        /// The host, which has one such identity.
        host: String,
    },
}

impl Assignment {
    /// Whether it is the usual one, which documents leave out.
    pub const fn is_user_assigned(&self) -> bool {
        matches!(self, Self::UserAssigned)
    }
}

/// What the directory knows of a managed identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedIdentityStatus {
    /// The client id in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ApplicationId>,
    /// The resource id in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
}

impl crate::Spec for ManagedIdentity {
    const KIND: crate::Kind = crate::Kind::ManagedIdentity;
    type Status = ManagedIdentityStatus;
}
