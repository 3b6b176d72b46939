//! What an activation needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GroupName, Lifetime, UserName};

/// What an activation of one group needs (Entra: PIM role settings). A group without rules cannot be activated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRules {
    /// The group.
    pub group: GroupName,
    /// The longest activation.
    pub duration_max: Lifetime,
    /// Given when the request names none; `durationMax` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_default: Option<Lifetime>,
    /// Whether a request must say why.
    #[serde(default)]
    pub justification: Justification,
    /// People who decide; one approval is enough, nobody decides on their own request. Empty: approved at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<UserName>,
    /// A request that nobody decided on for so long expires; one day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_within: Option<Lifetime>,
}

/// Whether a request must say why.
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
pub enum Justification {
    /// A request without one is refused.
    #[default]
    Required,
    /// It may be left out.
    Optional,
}

impl crate::Spec for AccessRules {
    const KIND: crate::Kind = crate::Kind::AccessRules;
    type Status = crate::document::NoStatus;
}
