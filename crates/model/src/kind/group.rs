//! Sets of people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::directory::DirectoryStatus;
use crate::{GroupName, UserName};

/// A set of people to which database roles are assigned (Entra: security group). `metadata.uid` is the object id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// What membership means, for those who ask for it and those who approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Standing members. Membership that ends by itself is an activation, never listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<UserName>,
    /// Groups whose members are members of this one too, for as long as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
}

impl crate::Spec for Group {
    const KIND: crate::Kind = crate::Kind::Group;
    type Status = DirectoryStatus;
}
