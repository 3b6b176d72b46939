//! People.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::directory::DirectoryStatus;
use crate::{ControlRole, UserName};

/// A person (Entra: user). `metadata.name` is the user principal name, `metadata.uid` the object id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// Shown to other people.
    pub display_name: String,
    /// Entra: `accountEnabled`. A disabled person cannot sign in, and every live session of theirs is cut.
    #[serde(default = "crate::document::yes")]
    pub enabled: bool,
    /// What the person may do to Portcullis itself.
    #[serde(default)]
    pub control_role: ControlRole,
    /// Who decides on their requests where rules say `{ manager: requester }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<UserName>,
}

impl crate::Spec for User {
    const KIND: crate::Kind = crate::Kind::User;
    type Status = DirectoryStatus;
}
