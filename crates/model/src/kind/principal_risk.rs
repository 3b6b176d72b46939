//! What is feared of a principal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditional_access_policy::RiskLevel;
use crate::{PrincipalId, Timestamp};

/// That something is feared of a person or workload, why, and until when (Entra: risky user, risky workload identity).
/// Conditional access asks for it. The highest of several counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrincipalRisk {
    /// Whose.
    pub principal: PrincipalId,
    /// How much.
    pub level: RiskLevel,
    /// Why: what was seen, and where it says so.
    pub reason: String,
    /// Forgotten from this instant; absent: until somebody deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl crate::Spec for PrincipalRisk {
    const KIND: crate::Kind = crate::Kind::PrincipalRisk;
    type Status = crate::document::NoStatus;
}
