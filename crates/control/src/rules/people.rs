//! People, groups, and who may ask for what.

use std::collections::BTreeSet;

use access::activation::check_ticket_rule;
use model::kind::access_rules::{AccessRules, ApprovalStage, Approver};
use model::kind::eligibility::Eligibility;
use model::kind::group::Group;
use model::kind::user::User;
use model::{ControlRole, Document, GroupName, Refusal, Snapshot};

use super::invalid;

/// Entra has two; more than a handful is a mistake.
const STAGES_MAX: usize = 5;

pub(super) fn user(user: &Document<User>) -> Result<(), Refusal> {
    match &user.spec.manager {
        Some(manager) if manager.as_str() == user.name() => {
            Err(invalid(user, "nobody is their own manager"))
        }
        Some(_) | None => Ok(()),
    }
}

/// A group that is its own member through others would have no members of its own to tell.
pub(super) fn group(group: &Document<Group>, state: &Snapshot) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let mut below: Vec<&GroupName> = group.spec.groups.iter().collect();
    while let Some(inner) = below.pop() {
        if inner.as_str() == group.name() {
            let why = format!("`spec.groups` makes `{}` a member of itself", group.name());
            return Err(invalid(group, &why));
        }
        if seen.insert(inner) {
            below.extend(state.groups.get(inner).iter().flat_map(|inner| &inner.spec.groups));
        }
    }
    Ok(())
}

pub(super) fn eligibility(eligibility: &Document<Eligibility>) -> Result<(), Refusal> {
    let spec = &eligibility.spec;
    if spec.user.is_some() == spec.members_of.is_some() {
        return Err(invalid(eligibility, "it names either `spec.user` or `spec.membersOf`"));
    }
    if spec.members_of.as_ref() == Some(&spec.group) {
        return Err(invalid(eligibility, "members need not ask for what they are members of"));
    }
    match (spec.starts_at, spec.ends_at) {
        (Some(starts), Some(ends)) if ends <= starts => {
            Err(invalid(eligibility, "`spec.endsAt` is not after `spec.startsAt`"))
        }
        _ => Ok(()),
    }
}

pub(super) fn access_rules(rules: &Document<AccessRules>, state: &Snapshot) -> Result<(), Refusal> {
    let spec = &rules.spec;
    let mut others = state.access_rules.iter().filter(|other| other.name() != rules.name());
    if let Some(other) = others.find(|other| other.spec.group == spec.group) {
        let why = format!("`{}` has rules already: `{}`", spec.group, other.name());
        return Err(invalid(rules, &why));
    }
    if spec.duration_max.seconds() == 0 {
        return Err(invalid(rules, "`spec.durationMax` is one second at least"));
    }
    if spec.duration_default.is_some_and(|default| default > spec.duration_max) {
        return Err(invalid(rules, "`spec.durationDefault` is longer than `spec.durationMax`"));
    }
    if let Some(rule) = &spec.ticket {
        check_ticket_rule(rule).map_err(|why| invalid(rules, &format!("`spec.ticket`: {why}")))?;
    }
    approval(rules)?;
    let decides = |role: ControlRole| matches!(role, ControlRole::Approver | ControlRole::Owner);
    let idle = spec.every_approver().find_map(|approver| match approver {
        Approver::User(user) => {
            let known = state.users.get(user);
            known.is_some_and(|known| !decides(known.spec.control_role)).then_some(user)
        }
        // Who they are changes; those without the role have no say.
        Approver::Relation(_) => None,
    });
    match idle {
        Some(approver) => {
            let why = format!("`{approver}` is named as an approver, but has not that role");
            let hint = format!("give `{approver}` the `controlRole: approver`");
            Err(invalid(rules, &why).hint(hint))
        }
        None => Ok(()),
    }
}

fn approval(rules: &Document<AccessRules>) -> Result<(), Refusal> {
    let spec = &rules.spec;
    let short_form = !spec.approvers.is_empty() || spec.quorum.is_some();
    if short_form && !spec.stages.is_empty() {
        return Err(invalid(rules, "it has either `spec.stages` or `spec.approvers`"));
    }
    if spec.quorum.is_some() && spec.approvers.is_empty() {
        return Err(invalid(
            rules,
            "`spec.quorum` counts approvers, and `spec.approvers` is empty",
        ));
    }
    if spec.stages.len() > STAGES_MAX {
        let why = format!("`spec.stages` has more than {STAGES_MAX} elements");
        return Err(invalid(rules, &why));
    }
    let mut needed = 0;
    for stage in spec.approval() {
        if stage.approvers.is_empty() {
            return Err(invalid(rules, "a stage without approvers never ends"));
        }
        needed += stage.approvals_needed();
        if stage.approvals_needed() == 0 || too_many(&stage) {
            return Err(invalid(
                rules,
                "a quorum is at least 1 and at most the approvers there are",
            ));
        }
        let empty =
            |lifetime: Option<model::Lifetime>| lifetime.is_some_and(|it| it.seconds() == 0);
        if empty(stage.within) || empty(stage.escalation.as_ref().map(|it| it.after)) {
            return Err(invalid(rules, "a stage's times are one second at least"));
        }
    }
    // Nobody approves twice, so people who are named once cannot fill every stage.
    let people: Option<BTreeSet<&str>> = spec
        .every_approver()
        .map(|approver| match approver {
            Approver::User(user) => Some(user.as_str()),
            Approver::Relation(_) => None,
        })
        .collect();
    match people {
        Some(people) if people.len() < needed => {
            let why = format!(
                "its stages take {needed} approvals of different people, and name {}",
                people.len()
            );
            Err(invalid(rules, &why))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a stage waits for more people than it names. Nobody knows how many a relation names.
fn too_many(stage: &ApprovalStage) -> bool {
    let backup = stage.escalation.iter().flat_map(|escalation| &escalation.approvers);
    let mut people = BTreeSet::new();
    for approver in stage.approvers.iter().chain(backup) {
        match approver {
            Approver::User(user) => people.insert(user.as_str()),
            Approver::Relation(_) => return false,
        };
    }
    people.len() < stage.approvals_needed()
}
