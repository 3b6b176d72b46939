//! Time-bound membership that was asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GroupName, Lifetime, Timestamp, UserName};

/// A time-bound membership asked for under an eligibility (Entra: PIM activation). `metadata.name` is its id. Only the
/// life cycle (`access::activation`) writes it; files cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Activation {
    /// Who asked.
    pub user: UserName,
    /// For membership of what.
    pub group: GroupName,
    /// For how long, from the moment of approval.
    pub duration: Lifetime,
    /// Why, in the requester's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
    /// When.
    pub requested_at: Timestamp,
}

/// Where an activation is in its life. Requested → (approved | denied | cancelled) → active → (expired | revoked |
/// deactivated).
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
pub enum ActivationState {
    /// Waits for an approver.
    #[default]
    Requested,
    /// An approver said no, or nobody said anything in time.
    Denied,
    /// The requester took it back.
    Cancelled,
    /// Approved: membership holds until `activeUntil`.
    Active,
    /// The time is over.
    Expired,
    /// An approver or owner ended it early.
    Revoked,
    /// The person ended it early.
    Deactivated,
}

impl ActivationState {
    /// Whether no transition leads out of it.
    pub fn ended(self) -> bool {
        match self {
            Self::Requested | Self::Active => false,
            Self::Denied | Self::Cancelled | Self::Expired | Self::Revoked | Self::Deactivated => {
                true
            }
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivationStatus {
    /// Where it is in its life.
    pub state: ActivationState,
    /// Who approved or denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<UserName>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    /// What they said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_note: Option<String>,
    /// Membership holds from here …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_from: Option<Timestamp>,
    /// … to just before here. Never moves later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_until: Option<Timestamp>,
    /// Who cancelled, revoked or deactivated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<UserName>,
    /// When it reached its last state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What they said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_note: Option<String>,
}

impl crate::Spec for Activation {
    const KIND: crate::Kind = crate::Kind::Activation;
    type Status = ActivationStatus;
}
