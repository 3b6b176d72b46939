//! The life cycle of an activation, a pure state machine: requested → (approved | denied | cancelled) → active →
//! (expired | revoked | deactivated). Nobody decides on their own request; `activeUntil` never moves later.

use model::kind::access_rules::{AccessRules, Justification};
use model::kind::activation::{Activation, ActivationState, ActivationStatus};
use model::{
    ActivationId, ControlRole, Document, GroupName, Lifetime, Refusal, Snapshot, Timestamp,
    UserName, code,
};

use crate::membership::eligible_until;

/// Longer texts of people are refused; an unbounded reason is a denial of service.
pub const NOTE_BYTES_MAX: usize = 1024;

/// A request that nobody decided on for so long ends, unless the rules say otherwise.
const DECISION_WITHIN_DEFAULT: Lifetime = Lifetime::from_seconds(24 * 60 * 60);

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks, for themselves.
    pub user: UserName,
    /// For membership of what.
    pub group: GroupName,
    /// For how long; the rules' default when absent.
    pub duration: Option<Lifetime>,
    /// Why.
    pub justification: Option<String>,
}

/// A step in the life of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An approver says yes: membership begins.
    Approve,
    /// An approver says no.
    Deny,
    /// The requester takes the request back.
    Cancel,
    /// The person ends their membership early.
    Deactivate,
    /// An approver or owner ends it early.
    Revoke,
    /// Its time, or the time to decide on it, is over.
    Expire,
}

impl Step {
    /// As the audit log writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Cancel => "cancel",
            Self::Deactivate => "deactivate",
            Self::Revoke => "revoke",
            Self::Expire => "expire",
        }
    }

    const fn leaves(self) -> &'static [ActivationState] {
        match self {
            Self::Approve | Self::Deny | Self::Cancel => &[ActivationState::Requested],
            Self::Deactivate | Self::Revoke => &[ActivationState::Active],
            Self::Expire => &[ActivationState::Requested, ActivationState::Active],
        }
    }
}

/// Who takes a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A signed-in person.
    Person {
        /// Who.
        user: UserName,
        /// Their role in the control plane.
        role: ControlRole,
    },
    /// Portcullis itself, when time is over.
    Portcullis,
}

/// The activation that a request makes: active at once when the rules name no approver.
pub fn request(
    ask: &Ask,
    id: ActivationId,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Document<Activation>, Refusal> {
    let Some(user) = snapshot.users.get(&ask.user).filter(|user| user.spec.enabled) else {
        return Err(Refusal::new(
            &code::PRINCIPAL_DISABLED,
            format!("`{}` is not an enabled person", ask.user),
        ));
    };
    let Some(eligible_until) = eligible_until(user.name(), &ask.group, snapshot, now) else {
        return Err(not_eligible(ask, snapshot, now));
    };
    let rules = rules_of(&ask.group, snapshot)?;
    check_note(ask.justification.as_deref())?;
    if rules.justification == Justification::Required
        && ask.justification.as_deref().is_none_or(|reason| reason.trim().is_empty())
    {
        let message = format!("membership of `{}` needs a justification", ask.group);
        return Err(Refusal::new(&code::JUSTIFICATION_REQUIRED, message));
    }
    let duration = duration(ask, rules)?;
    if let Some(open) = open_of(ask, snapshot) {
        let message =
            format!("`{}` has an activation of `{}` already: {}", ask.user, ask.group, open.name());
        return Err(Refusal::new(&code::ALREADY_ACTIVE, message));
    }
    let spec = Activation {
        user: ask.user.clone(),
        group: ask.group.clone(),
        duration,
        justification: ask.justification.clone(),
        requested_at: now,
    };
    let mut activation = Document::new(id.to_string(), spec);
    if rules.approvers.is_empty() {
        activate(&mut activation, eligible_until, now);
    }
    Ok(activation)
}

/// The activation after the step, or why it cannot be taken.
pub fn step(
    activation: &Document<Activation>,
    taken: &Taken<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Document<Activation>, Refusal> {
    let Taken { step, by, note } = taken;
    check_note(*note)?;
    may_take(activation, *step, by, snapshot)?;
    if !step.leaves().contains(&activation.status.state) {
        let state = serde_json::to_value(activation.status.state).unwrap_or_default();
        let message = format!(
            "cannot {} the activation {}: it is {} already",
            step.name(),
            activation.name(),
            state.as_str().unwrap_or_default()
        );
        return Err(Refusal::new(&code::ALREADY_DECIDED, message));
    }
    let mut next = activation.clone();
    match step {
        Step::Approve => approve(&mut next, taken, snapshot, now)?,
        Step::Deny => {
            decided(&mut next.status, taken, now);
            end(&mut next.status, ActivationState::Denied, taken, now);
        }
        Step::Cancel => end(&mut next.status, ActivationState::Cancelled, taken, now),
        Step::Deactivate => end(&mut next.status, ActivationState::Deactivated, taken, now),
        Step::Revoke => end(&mut next.status, ActivationState::Revoked, taken, now),
        Step::Expire => expire(&mut next, taken, snapshot, now)?,
    }
    Ok(next)
}

/// A step, who takes it and what they say to it.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Which.
    pub step: Step,
    /// Who.
    pub by: &'a By,
    /// What they say.
    pub note: Option<&'a str>,
}

/// When the next activation's time, or the time to decide on one, is over.
pub fn next_deadline(snapshot: &Snapshot) -> Option<Timestamp> {
    snapshot.activations.iter().filter_map(|activation| deadline(activation, snapshot)).min()
}

/// Activations that [`Step::Expire`] is due for.
pub fn overdue(snapshot: &Snapshot, now: Timestamp) -> Vec<ActivationId> {
    snapshot
        .activations
        .iter()
        .filter(|activation| deadline(activation, snapshot).is_some_and(|deadline| deadline <= now))
        .filter_map(|activation| activation.name().parse().ok())
        .collect()
}

/// Whether the rules of the activation's group let this person decide on it.
pub fn may_decide(
    activation: &Document<Activation>,
    user: &str,
    role: ControlRole,
    snapshot: &Snapshot,
) -> bool {
    let named = snapshot
        .access_rules
        .iter()
        .filter(|rules| rules.spec.group == activation.spec.group)
        .any(|rules| rules.spec.approvers.iter().any(|approver| approver.as_str() == user));
    activation.spec.user.as_str() != user
        && match role {
            ControlRole::Owner => true,
            ControlRole::Approver => named,
            ControlRole::Auditor | ControlRole::User => false,
        }
}

fn deadline(activation: &Document<Activation>, snapshot: &Snapshot) -> Option<Timestamp> {
    match activation.status.state {
        ActivationState::Active => activation.status.active_until,
        ActivationState::Requested => {
            let within = rules_of(&activation.spec.group, snapshot)
                .ok()
                .and_then(|rules| rules.decision_within);
            Some(
                activation
                    .spec
                    .requested_at
                    .plus(within.unwrap_or(DECISION_WITHIN_DEFAULT).duration()),
            )
        }
        ActivationState::Denied
        | ActivationState::Cancelled
        | ActivationState::Expired
        | ActivationState::Revoked
        | ActivationState::Deactivated => None,
    }
}

fn may_take(
    activation: &Document<Activation>,
    step: Step,
    by: &By,
    snapshot: &Snapshot,
) -> Result<(), Refusal> {
    let requester = &activation.spec.user;
    match (step, by) {
        (Step::Expire, By::Portcullis) => Ok(()),
        (Step::Expire, By::Person { .. }) | (_, By::Portcullis) => {
            Err(Refusal::new(&code::FORBIDDEN, format!("{} is not theirs to take", step.name())))
        }
        (Step::Cancel | Step::Deactivate, By::Person { user, .. }) if user == requester => Ok(()),
        (Step::Cancel | Step::Deactivate, By::Person { .. }) => {
            let message = format!("only `{requester}` can {} this activation", step.name());
            Err(Refusal::new(&code::FORBIDDEN, message)
                .hint("an approver can deny or revoke it instead"))
        }
        (Step::Approve | Step::Deny, By::Person { user, .. }) if user == requester => {
            Err(Refusal::new(
                &code::OWN_REQUEST,
                format!("`{user}` cannot decide on their own request"),
            ))
        }
        (Step::Revoke, By::Person { user, .. }) if user == requester => Err(Refusal::new(
            &code::OWN_REQUEST,
            format!("`{user}` cannot revoke their own activation"),
        )
        .hint("end it with `portcullis deactivate`")),
        (Step::Approve | Step::Deny | Step::Revoke, By::Person { user, role }) => {
            if may_decide(activation, user.as_str(), *role, snapshot) {
                return Ok(());
            }
            let message = format!("`{user}` is not an approver of `{}`", activation.spec.group);
            Err(Refusal::new(&code::NOT_AN_APPROVER, message))
        }
    }
}

/// What held at the request must hold at the approval.
fn approve(
    next: &mut Document<Activation>,
    taken: &Taken<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (user, group) = (&next.spec.user, &next.spec.group);
    if !snapshot.users.get(user).is_some_and(|user| user.spec.enabled) {
        return Err(Refusal::new(
            &code::PRINCIPAL_DISABLED,
            format!("`{user}` is not an enabled person any more"),
        ));
    }
    let Some(eligible_until) = eligible_until(user.as_str(), group, snapshot, now) else {
        return Err(Refusal::new(
            &code::NOT_ELIGIBLE,
            format!("`{user}` is not eligible for `{group}` any more"),
        ));
    };
    let rules = rules_of(group, snapshot)?;
    next.spec.duration = next.spec.duration.min(rules.duration_max);
    decided(&mut next.status, taken, now);
    activate(next, eligible_until, now);
    Ok(())
}

fn activate(activation: &mut Document<Activation>, eligible_until: Timestamp, now: Timestamp) {
    activation.status.state = ActivationState::Active;
    activation.status.active_from = Some(now);
    activation.status.active_until =
        Some(now.plus(activation.spec.duration.duration()).min(eligible_until));
}

fn expire(
    next: &mut Document<Activation>,
    taken: &Taken<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    if deadline(next, snapshot).is_none_or(|deadline| deadline > now) {
        return Err(Refusal::new(
            &code::CONFLICT,
            format!("the activation {} has time left", next.name()),
        ));
    }
    if next.status.state == ActivationState::Requested {
        next.status.decision_note = Some("nobody decided in time".to_owned());
        end(&mut next.status, ActivationState::Denied, taken, now);
    } else {
        end(&mut next.status, ActivationState::Expired, taken, now);
    }
    Ok(())
}

fn decided(status: &mut ActivationStatus, taken: &Taken<'_>, now: Timestamp) {
    status.decided_by = person(taken.by);
    status.decided_at = Some(now);
    status.decision_note = taken.note.map(ToOwned::to_owned);
}

fn end(status: &mut ActivationStatus, state: ActivationState, taken: &Taken<'_>, now: Timestamp) {
    status.state = state;
    status.ended_by = person(taken.by);
    status.ended_at = Some(now);
    status.end_note = taken.note.map(ToOwned::to_owned);
}

fn person(by: &By) -> Option<UserName> {
    match by {
        By::Person { user, role: _ } => Some(user.clone()),
        By::Portcullis => None,
    }
}

fn duration(ask: &Ask, rules: &AccessRules) -> Result<Lifetime, Refusal> {
    let duration = ask.duration.or(rules.duration_default).unwrap_or(rules.duration_max);
    if duration > rules.duration_max {
        let message = format!(
            "`{}` can be activated for {} at most, not for {duration}",
            ask.group, rules.duration_max
        );
        return Err(Refusal::new(&code::DURATION_TOO_LONG, message)
            .hint(format!("ask with `--for {}` or less", rules.duration_max)));
    }
    if duration.seconds() == 0 {
        return Err(Refusal::new(&code::INVALID, "an activation lasts one second at least"));
    }
    Ok(duration)
}

fn rules_of<'a>(group: &GroupName, snapshot: &'a Snapshot) -> Result<&'a AccessRules, Refusal> {
    snapshot
        .access_rules
        .iter()
        .find(|rules| rules.spec.group == *group)
        .map(|rules| &rules.spec)
        .ok_or_else(|| {
            Refusal::new(&code::NO_ACCESS_RULES, format!("the group `{group}` has no access rules"))
        })
}

fn open_of<'a>(ask: &Ask, snapshot: &'a Snapshot) -> Option<&'a Document<Activation>> {
    snapshot
        .activations
        .iter()
        .find(|activation| {
            activation.spec.user == ask.user
                && activation.spec.group == ask.group
                && !activation.status.state.ended()
        })
        .map(AsRef::as_ref)
}

fn check_note(note: Option<&str>) -> Result<(), Refusal> {
    match note {
        Some(note) if note.len() > NOTE_BYTES_MAX => {
            let message =
                format!("the text has {} bytes; {NOTE_BYTES_MAX} are allowed", note.len());
            Err(Refusal::new(&code::TOO_LARGE, message))
        }
        _ => Ok(()),
    }
}

fn not_eligible(ask: &Ask, snapshot: &Snapshot, now: Timestamp) -> Refusal {
    let own: Vec<&str> = snapshot
        .eligibilities
        .iter()
        .filter(|eligibility| eligibility.spec.user == ask.user)
        .filter(|eligibility| {
            eligible_until(ask.user.as_str(), &eligibility.spec.group, snapshot, now).is_some()
        })
        .map(|eligibility| eligibility.spec.group.as_str())
        .collect();
    let refusal = Refusal::new(
        &code::NOT_ELIGIBLE,
        format!("`{}` is not eligible for `{}`", ask.user, ask.group),
    );
    match model::suggest::nearest(ask.group.as_str(), own.iter().copied()) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None if own.is_empty() => refusal,
        None => refusal.hint(format!("you are eligible for {}", own.join(", "))),
    }
}
