//! Time-bound membership that was asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ActivationId, GroupName, Lifetime, Timestamp, UserName};

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
    /// The ticket that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
    /// When membership is to begin; absent: with the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// The activation after whose end this one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<ActivationId>,
    /// When.
    pub requested_at: Timestamp,
}

/// A piece of work elsewhere (Entra: `ticketInfo`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ticket {
    /// Where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Which.
    pub number: String,
}

/// Where an activation is in its life. Requested → (approved | denied | cancelled) → (scheduled →) active → (expired |
/// revoked | deactivated).
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
    /// Approved, and not begun: membership holds from `activeFrom`.
    Scheduled,
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
            Self::Requested | Self::Scheduled | Self::Active => false,
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
    /// Who approved so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// When the present stage was put before its backup approvers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<Timestamp>,
    /// Who approved last, or denied.
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

/// One person's approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// Of which stage, counted from 0.
    pub stage: u8,
    /// Whose.
    pub by: UserName,
    /// When.
    pub at: Timestamp,
    /// What they said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl crate::Spec for Activation {
    const KIND: crate::Kind = crate::Kind::Activation;
    type Status = ActivationStatus;
}
