//! Who decides on a request, and how far it has come: stages, quorums, backup approvers.

use model::kind::access_rules::{
    AccessRules, ApprovalStage, Approver, ApproverRelation, ManagerOf,
};
use model::kind::activation::{Activation, Approval};
use model::{ControlRole, Document, Lifetime, PrincipalId, Snapshot, Timestamp};

use crate::membership::active_groups;

/// A stage on which nobody decided for so long ends the request, unless the rules say otherwise.
const DECISION_WITHIN_DEFAULT: Lifetime = Lifetime::from_seconds(24 * 60 * 60);

/// The stage that a request waits in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Present {
    /// Counted from 0.
    pub(super) index: u8,
    pub(super) stage: ApprovalStage,
    /// When it began.
    pub(super) since: Timestamp,
    /// Who approved in it.
    pub(super) approvals: usize,
}

impl Present {
    /// When the request ends by itself.
    pub(super) fn ends(&self, rules: &AccessRules) -> Timestamp {
        ends(self.since, self.stage.within.or(rules.decision_within))
    }

    /// When backup approvers join, if they have not.
    pub(super) fn escalates(&self, activation: &Document<Activation>) -> Option<Timestamp> {
        let escalation = self.stage.escalation.as_ref()?;
        let joined = activation.status.escalated_at.is_some_and(|at| self.since <= at);
        (!joined).then(|| self.since.plus(escalation.after.duration()))
    }

    /// Those who decide at `now`.
    fn approvers(&self, now: Timestamp) -> impl Iterator<Item = &Approver> {
        let backup = self
            .stage
            .escalation
            .iter()
            .filter(move |escalation| self.since.plus(escalation.after.duration()) <= now);
        self.stage.approvers.iter().chain(backup.flat_map(|escalation| &escalation.approvers))
    }

    /// Whether one more approval completes it.
    pub(super) fn is_one_short(&self) -> bool {
        self.approvals + 1 >= self.stage.approvals_needed()
    }
}

/// When a request ends by itself that waits since then.
pub(super) fn ends(since: Timestamp, within: Option<Lifetime>) -> Timestamp {
    since.plus(within.unwrap_or(DECISION_WITHIN_DEFAULT).duration())
}

/// The stage that a request waits in by these rules; absent: no stage is left, or there was none.
pub(super) fn present(
    activation: &Document<Activation>,
    rules: &AccessRules,
    snapshot: &Snapshot,
) -> Option<Present> {
    let mut since = activation.spec.requested_at;
    for (index, stage) in (0_u8..).zip(rules.approval()) {
        let counted: Vec<&Approval> = activation
            .status
            .approvals
            .iter()
            .filter(|approval| approval.stage == index && still_counts(approval, snapshot))
            .collect();
        if counted.len() < stage.approvals_needed() {
            return Some(Present { index, stage, since, approvals: counted.len() });
        }
        since = counted.iter().map(|approval| approval.at).max().unwrap_or(since);
    }
    None
}

/// Whoever has gone or was disabled meanwhile has approved nothing.
fn still_counts(approval: &Approval, snapshot: &Snapshot) -> bool {
    snapshot.users.get(&approval.by).is_some_and(|user| user.spec.enabled)
}

/// Whether this person may approve or deny the request now: by the rules of its group as an approver, or as an owner;
/// never their own.
pub fn may_decide(
    activation: &Document<Activation>,
    (user, role): (&str, ControlRole),
    snapshot: &Snapshot,
    now: Timestamp,
) -> bool {
    let who = Person { user, role, activation, snapshot };
    who.is_owner_or(|rules| {
        present(activation, rules, snapshot).is_some_and(|present| {
            present.approvers(now).any(|approver| is(approver, user, activation, snapshot, now))
        })
    })
}

/// Whether this person has a say in the request at any of its stages: they see it, and may end what it gave.
pub fn has_a_say(
    activation: &Document<Activation>,
    (user, role): (&str, ControlRole),
    snapshot: &Snapshot,
    now: Timestamp,
) -> bool {
    let who = Person { user, role, activation, snapshot };
    who.is_owner_or(|rules| {
        rules.every_approver().any(|approver| is(approver, user, activation, snapshot, now))
    })
}

/// Someone, and the request that they may have a say in.
struct Person<'a> {
    user: &'a str,
    role: ControlRole,
    activation: &'a Document<Activation>,
    snapshot: &'a Snapshot,
}

impl Person<'_> {
    /// Owners decide on everything, approvers on what the rules of the group name them for; nobody on their own request.
    fn is_owner_or(&self, named: impl FnOnce(&AccessRules) -> bool) -> bool {
        let own = self.activation.spec.user.as_str() == self.user;
        !own && match self.role {
            ControlRole::Owner => true,
            ControlRole::Approver => {
                super::rules_of(&self.activation.spec.group, self.snapshot).is_ok_and(named)
            }
            ControlRole::Auditor | ControlRole::User => false,
        }
    }
}

/// Whether the rules name this person for some request; managers only where somebody names them as such.
pub fn approves_for(rules: &AccessRules, user: &str, snapshot: &Snapshot, now: Timestamp) -> bool {
    rules.every_approver().any(|approver| match approver {
        Approver::User(named) => named.as_str() == user,
        Approver::Relation(ApproverRelation::Group(group)) => {
            is_member(user, group.as_str(), snapshot, now)
        }
        Approver::Relation(ApproverRelation::Manager(ManagerOf::Requester)) => {
            let mut people = snapshot.users.iter();
            people.any(|person| {
                person.spec.manager.as_ref().is_some_and(|manager| manager.as_str() == user)
            })
        }
    })
}

fn is(
    approver: &Approver,
    user: &str,
    activation: &Document<Activation>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> bool {
    match approver {
        Approver::User(named) => named.as_str() == user,
        Approver::Relation(ApproverRelation::Group(group)) => {
            is_member(user, group.as_str(), snapshot, now)
        }
        Approver::Relation(ApproverRelation::Manager(ManagerOf::Requester)) => {
            let requester = snapshot.users.get(&activation.spec.user);
            let manager = requester.and_then(|requester| requester.spec.manager.as_ref());
            manager.is_some_and(|manager| manager.as_str() == user)
        }
    }
}

fn is_member(user: &str, group: &str, snapshot: &Snapshot, now: Timestamp) -> bool {
    snapshot.users.get(user).is_some_and(|user| {
        let groups = active_groups(PrincipalId(user.uid()), snapshot, now);
        groups.iter().any(|member_of| member_of.as_str() == group)
    })
}
