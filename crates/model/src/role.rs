//! Roles in the control plane itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person may do to Portcullis. `docs/security.md` lists every verb for each.
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
pub enum ControlRole {
    /// Own requests only.
    #[default]
    User,
    /// Reads everything, changes nothing.
    Auditor,
    /// Decides on activations of groups whose access rules name them.
    Approver,
    /// All writes.
    Owner,
}

impl fmt::Display for ControlRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Auditor => "auditor",
            Self::Approver => "approver",
            Self::Owner => "owner",
        })
    }
}
