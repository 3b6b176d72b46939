//! Who holds which database role.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApplicationName, DatabaseRoleName, GroupName, ManagedIdentityName};

/// Gives a database role to the members of a group, or to a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleAssignment {
    /// Who gets it.
    pub principal: Assignee,
    /// What they get.
    pub role: DatabaseRoleName,
}

/// Who a database role can be assigned to. People get roles through groups only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Assignee {
    /// Everyone who is a member now.
    Group(GroupName),
    /// One workload.
    Application(ApplicationName),
    /// One workload without a credential.
    ManagedIdentity(ManagedIdentityName),
}

impl crate::Spec for RoleAssignment {
    const KIND: crate::Kind = crate::Kind::RoleAssignment;
    type Status = crate::document::NoStatus;
}
