//! What a directory that pushes people and groups (SCIM) says of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The status of users and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectoryStatus {
    /// Absent for those that people manage here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim: Option<Provisioned>,
}

/// One that a directory owns: what it says is changed by it alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provisioned {
    /// The provisioning credential of the directory.
    pub source: String,
    /// The directory's own id for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// A group's name as the directory writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Whether the directory wants it to be; an owner may keep a person disabled all the same.
    pub active: bool,
    /// The directory has deleted it. The document stays, disabled and empty, until an owner deletes it: what refers to it
    /// must not pass to somebody else of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

impl DirectoryStatus {
    /// What the directory says, while it has not deleted it.
    pub fn owned(&self) -> Option<&Provisioned> {
        self.scim.as_ref().filter(|provisioned| !provisioned.left)
    }
}
