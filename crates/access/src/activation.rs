//! The life cycle of an activation, a pure state machine: requested → (approved | denied | cancelled) → (scheduled →)
//! active → (expired | revoked | deactivated). Nobody decides on their own request; `activeUntil` never moves later: an
//! extension is an activation of its own.

mod approval;
mod asked;

use model::kind::access_rules::AccessRules;
use model::kind::activation::{Activation, ActivationState, ActivationStatus, Approval, Ticket};
use model::{
    ActivationId, ControlRole, Document, GroupName, Lifetime, Refusal, Snapshot, Timestamp,
    UserName, code,
};

use crate::membership::eligible_until;

pub use approval::{approves_for, has_a_say, may_decide};
pub use asked::check_ticket_rule;

/// Longer texts of people are refused; an unbounded reason is a denial of service.
pub const NOTE_BYTES_MAX: usize = 1024;

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
    /// The ticket that it belongs to.
    pub ticket: Option<Ticket>,
    /// When membership is to begin; absent: at once.
    pub starts_at: Option<Timestamp>,
    /// The activation of theirs that is to go on for longer.
    pub extends: Option<ActivationId>,
}

impl Ask {
    /// For the usual time, from now, without a word.
    pub const fn new(user: UserName, group: GroupName) -> Self {
        Self {
            user,
            group,
            duration: None,
            justification: None,
            ticket: None,
            starts_at: None,
            extends: None,
        }
    }
}

/// A step in the life of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An approver says yes. With the last approval that the rules demand, membership begins.
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
    /// Nobody decided for long: backup approvers join.
    Escalate,
    /// The moment has come from which membership was asked for.
    Begin,
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
            Self::Escalate => "escalate",
            Self::Begin => "begin",
        }
    }

    const fn leaves(self) -> &'static [ActivationState] {
        match self {
            Self::Approve | Self::Deny | Self::Escalate => &[ActivationState::Requested],
            Self::Cancel => &[ActivationState::Requested, ActivationState::Scheduled],
            Self::Deactivate => &[ActivationState::Active],
            Self::Revoke => &[ActivationState::Scheduled, ActivationState::Active],
            Self::Begin => &[ActivationState::Scheduled],
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
    let duration = asked::check(ask, rules, now)?;
    if let Some(open) = asked::in_the_way(ask, snapshot)? {
        let message =
            format!("`{}` has an activation of `{}` already: {}", ask.user, ask.group, open.name());
        return Err(Refusal::new(&code::ALREADY_ACTIVE, message));
    }
    let spec = Activation {
        user: ask.user.clone(),
        group: ask.group.clone(),
        duration,
        justification: ask.justification.clone(),
        ticket: ask.ticket.clone(),
        starts_at: ask.starts_at,
        extends: ask.extends,
        requested_at: now,
    };
    let mut activation = Document::new(id.to_string(), spec);
    if rules.approval().is_empty() {
        activate(&mut activation, (eligible_until, rules), snapshot, now)?;
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
    may_take(activation, *step, by, snapshot, now)?;
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
        Step::Escalate => escalate(&mut next, snapshot, now)?,
        Step::Begin => begin(&mut next, taken, snapshot, now)?,
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

/// When the next step of Portcullis' own is due.
pub fn next_deadline(snapshot: &Snapshot) -> Option<Timestamp> {
    snapshot
        .activations
        .iter()
        .filter_map(|activation| due(activation, snapshot))
        .map(|due| due.0)
        .min()
}

/// Activations for which a step of Portcullis' own is due, and which.
pub fn overdue(snapshot: &Snapshot, now: Timestamp) -> Vec<(ActivationId, Step)> {
    snapshot
        .activations
        .iter()
        .filter_map(|activation| Some((activation, due(activation, snapshot)?)))
        .filter(|(_, (at, _))| *at <= now)
        .filter_map(|(activation, (_, step))| Some((activation.name().parse().ok()?, step)))
        .collect()
}

/// The next step of Portcullis' own, and when it is due.
fn due(activation: &Document<Activation>, snapshot: &Snapshot) -> Option<(Timestamp, Step)> {
    let status = &activation.status;
    match status.state {
        ActivationState::Active => status.active_until.map(|until| (until, Step::Expire)),
        ActivationState::Scheduled => status.active_from.map(|from| (from, Step::Begin)),
        ActivationState::Requested => {
            let rules = rules_of(&activation.spec.group, snapshot).ok();
            let present = rules
                .and_then(|rules| Some((rules, approval::present(activation, rules, snapshot)?)));
            // Rules that went, or that demand nothing any more, leave it to its usual end.
            let Some((rules, present)) = present else {
                let within = rules.and_then(|rules| rules.decision_within);
                let ends = approval::ends(activation.spec.requested_at, within);
                return Some((ends, Step::Expire));
            };
            let ends = (present.ends(rules), Step::Expire);
            match present.escalates(activation) {
                Some(at) if at < ends.0 => Some((at, Step::Escalate)),
                Some(_) | None => Some(ends),
            }
        }
        ActivationState::Denied
        | ActivationState::Cancelled
        | ActivationState::Expired
        | ActivationState::Revoked
        | ActivationState::Deactivated => None,
    }
}

/// What becomes of another open activation of the same person and group when `ended` was revoked or given up: it ends
/// too, for an extension is no way around a revocation. `None`: it has nothing to do with it.
pub fn ended_with(
    other: &Document<Activation>,
    ended: &Document<Activation>,
    now: Timestamp,
) -> Option<Document<Activation>> {
    let same = other.spec.user == ended.spec.user && other.spec.group == ended.spec.group;
    if !same || other.name() == ended.name() || other.status.state.ended() {
        return None;
    }
    let revoked = ended.status.state == ActivationState::Revoked;
    if !revoked && ended.status.state != ActivationState::Deactivated {
        return None;
    }
    let asked_only = other.status.state == ActivationState::Requested;
    let mut other = other.clone();
    other.status.state = match (revoked, asked_only) {
        (true, true) => ActivationState::Denied,
        (true, false) => ActivationState::Revoked,
        (false, true) => ActivationState::Cancelled,
        (false, false) => ActivationState::Deactivated,
    };
    other.status.ended_by.clone_from(&ended.status.ended_by);
    other.status.ended_at = Some(now);
    let how = if revoked { "revoked" } else { "given up" };
    other.status.end_note = Some(format!("{} was {how}", ended.name()));
    Some(other)
}

fn may_take(
    activation: &Document<Activation>,
    step: Step,
    by: &By,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    let requester = &activation.spec.user;
    match (step, by) {
        (Step::Expire | Step::Escalate | Step::Begin, By::Portcullis) => Ok(()),
        (Step::Expire | Step::Escalate | Step::Begin, By::Person { .. }) | (_, By::Portcullis) => {
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
            let who = (user.as_str(), *role);
            let waits = activation.status.state == ActivationState::Requested;
            // Whoever had a say in what is over is told that it is over, nobody else.
            let decides = if waits && step != Step::Revoke {
                may_decide(activation, who, snapshot, now)
            } else {
                has_a_say(activation, who, snapshot, now)
            };
            if decides {
                return Ok(());
            }
            let group = &activation.spec.group;
            let refusal = Refusal::new(
                &code::NOT_AN_APPROVER,
                format!("`{user}` is not an approver of `{group}`"),
            );
            let later = has_a_say(activation, who, snapshot, now);
            Err(if later {
                refusal.hint("another stage of its approval comes first")
            } else {
                refusal
            })
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
    let approver = person(taken.by)
        .ok_or_else(|| Refusal::new(&code::FORBIDDEN, "nobody but a person approves"))?;
    if next.status.approvals.iter().any(|approval| approval.by == approver) {
        let message = format!("`{approver}` has approved this request already");
        return Err(Refusal::new(&code::ALREADY_DECIDED, message)
            .hint("it waits for somebody else's approval"));
    }
    let present = approval::present(next, rules, snapshot);
    next.spec.duration = next.spec.duration.min(rules.duration_max);
    let note = taken.note.map(ToOwned::to_owned);
    let stage = present.as_ref().map_or(0, |present| present.index);
    next.status.approvals.push(Approval { stage, by: approver, at: now, note });
    decided(&mut next.status, taken, now);
    let last = usize::from(stage) + 1 >= rules.approval().len();
    if last && present.is_none_or(|present| present.is_one_short()) {
        activate(next, (eligible_until, rules), snapshot, now)?;
    }
    Ok(())
}

fn escalate(
    next: &mut Document<Activation>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    if !matches!(due(next, snapshot), Some((at, Step::Escalate)) if at <= now) {
        return Err(early(next));
    }
    next.status.escalated_at = Some(now);
    Ok(())
}

/// What held at the approval must hold at the beginning; else it ends before it began.
fn begin(
    next: &mut Document<Activation>,
    taken: &Taken<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    if next.status.active_from.is_none_or(|from| from > now) {
        return Err(early(next));
    }
    let (user, group) = (&next.spec.user, &next.spec.group);
    let enabled = snapshot.users.get(user).is_some_and(|user| user.spec.enabled);
    if !enabled || eligible_until(user.as_str(), group, snapshot, now).is_none() {
        next.status.active_until = Some(now);
        end(&mut next.status, ActivationState::Expired, taken, now);
        next.status.end_note = Some("no longer eligible when it was to begin".to_owned());
        return Ok(());
    }
    next.status.state = ActivationState::Active;
    Ok(())
}

fn early(activation: &Document<Activation>) -> Refusal {
    let message = format!("the activation {} has time left", activation.name());
    Refusal::new(&code::CONFLICT, message)
}

/// From the moment that was asked for, or from now; an extension adds to what is left, and reaches no further ahead than
/// an activation of now would.
fn activate(
    activation: &mut Document<Activation>,
    (eligible_until, rules): (Timestamp, &AccessRules),
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    let duration = activation.spec.duration.duration();
    let from = activation.spec.starts_at.map_or(now, |starts| starts.max(now));
    let until = match asked::extended(activation, snapshot)? {
        Some(until) if until > now => {
            until.plus(duration).min(now.plus(rules.duration_max.duration()))
        }
        Some(_) | None => from.plus(duration),
    };
    let until = until.min(eligible_until);
    if until <= from {
        let message = format!("the eligibility for `{}` ends before {from}", activation.spec.group);
        return Err(Refusal::new(&code::NOT_ELIGIBLE, message));
    }
    let status = &mut activation.status;
    status.state = if from > now { ActivationState::Scheduled } else { ActivationState::Active };
    (status.active_from, status.active_until) = (Some(from), Some(until));
    Ok(())
}

fn expire(
    next: &mut Document<Activation>,
    taken: &Taken<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    if !matches!(due(next, snapshot), Some((at, Step::Expire)) if at <= now) {
        return Err(early(next));
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
