//! What an activation needs.

use std::fmt;

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
    /// The ticket that a request must name; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRule>,
    /// Who decides, when one stage is enough; nobody decides on their own request. Empty, and no `stages`: approved at
    /// once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<Approver>,
    /// How many of `approvers` must approve; one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u8>,
    /// Who decides, one stage after the other, in place of `approvers` and `quorum`. Nobody approves twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<ApprovalStage>,
    /// A stage on which nobody decided for so long ends the request; one day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_within: Option<Lifetime>,
}

impl AccessRules {
    /// Rules that demand a justification and nothing else.
    pub const fn new(group: GroupName, duration_max: Lifetime) -> Self {
        Self {
            group,
            duration_max,
            duration_default: None,
            justification: Justification::Required,
            ticket: None,
            approvers: Vec::new(),
            quorum: None,
            stages: Vec::new(),
            decision_within: None,
        }
    }

    /// The stages of approval, in order; `approvers` are one.
    pub fn approval(&self) -> Vec<ApprovalStage> {
        if self.stages.is_empty() && !self.approvers.is_empty() {
            let (approvers, quorum) = (self.approvers.clone(), self.quorum);
            return vec![ApprovalStage { approvers, quorum, within: None, escalation: None }];
        }
        self.stages.clone()
    }

    /// Everyone whom any stage names, backups included.
    pub fn every_approver(&self) -> impl Iterator<Item = &Approver> {
        let staged = self.stages.iter().flat_map(|stage| {
            let backup = stage.escalation.iter().flat_map(|escalation| &escalation.approvers);
            stage.approvers.iter().chain(backup)
        });
        self.approvers.iter().chain(staged)
    }
}

/// One stage of approval (Entra: `unifiedApprovalStage`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalStage {
    /// Who decides.
    pub approvers: Vec<Approver>,
    /// How many of them must approve; one when absent. One denial denies the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u8>,
    /// How long this stage may take, in place of `decisionWithin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Lifetime>,
    /// Who decides as well when the stage waits for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
}

impl ApprovalStage {
    /// How many approvals it takes.
    pub fn approvals_needed(&self) -> usize {
        usize::from(self.quorum.unwrap_or(1))
    }
}

/// Backup approvers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Escalation {
    /// So long after the stage began.
    pub after: Lifetime,
    /// Who decides from then on, beside the stage's own approvers.
    pub approvers: Vec<Approver>,
}

/// Who decides on requests: a person's name, `{ group: NAME }` or `{ manager: requester }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a user's name, `{ group: NAME }` or `{ manager: requester }`")]
pub enum Approver {
    /// One person.
    User(UserName),
    /// People whom a relation names.
    Relation(ApproverRelation),
}

/// People whom a relation names, at the moment of the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ApproverRelation {
    /// Whoever is a member of the group.
    Group(GroupName),
    /// A person's manager, as their `User` document names them.
    Manager(ManagerOf),
}

/// Whose manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ManagerOf {
    /// Of the person who asks.
    Requester,
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Relation(ApproverRelation::Group(group)) => write!(f, "group {group}"),
            Self::Relation(ApproverRelation::Manager(ManagerOf::Requester)) => {
                f.write_str("the requester's manager")
            }
        }
    }
}

/// Which ticket a request must name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketRule {
    /// The one system that counts; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// A regular expression that the whole number matches; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
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
