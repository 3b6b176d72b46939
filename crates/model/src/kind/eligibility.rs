//! Who may ask for membership.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GroupName, Timestamp, UserName};

/// A person, or each member of a group, may ask to become a member of a group for a while (Entra: PIM eligible
/// assignment). One of `user` and `membersOf` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Eligibility {
    /// Who may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Whose standing members may ask; who is a member for a while only may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_of: Option<GroupName>,
    /// For membership of what.
    pub group: GroupName,
    /// Not before; absent: since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Not at or after; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl crate::Spec for Eligibility {
    const KIND: crate::Kind = crate::Kind::Eligibility;
    type Status = crate::document::NoStatus;
}
