//! Membership that is asked for: the intents around the pure life cycle of `access::activation`. Each is one
//! transaction, so of two approvers, or of two requests, exactly one is first.

use std::time::Duration;

use access::activation::{self, Ask, By, Step, Taken};
use model::event::{ActivationChanged, Actor, EventBody, Outcome};
use model::kind::activation::{Activation, ActivationState};
use model::{
    ActivationId, Document, GroupName, Kind, Refusal, Snapshot, Timestamp, UserName, code,
};

use crate::caller::Caller;
use crate::control::Control;
use crate::verb::Verb;
use crate::write::{Done, Writing};

/// More within an hour is not a person asking.
const REQUESTS_PER_HOUR_MAX: usize = 60;

impl Control {
    /// Asks for membership of a group, for the caller.
    pub async fn request(
        &self,
        caller: &Caller,
        ask: Ask,
    ) -> Result<Done<Document<Activation>>, Refusal> {
        let (id, actor) = (ActivationId::random(), Actor::from(&caller.principal));
        let person = caller.person();
        let subject = format!("{}/{id}", Kind::Activation);
        let work = move |writing: &mut Writing<'_, '_>| {
            if person? != ask.user {
                let message = "nobody asks for someone else";
                return Err(Refusal::new(&code::FORBIDDEN, message));
            }
            not_too_often(&ask.user, writing.state(), writing.now())?;
            let activation = activation::request(&ask, id, writing.state(), writing.now())?;
            let activation = writing.put(activation)?;
            note(writing, &activation, "request", actor);
            Ok(activation)
        };
        let committed = self.write(caller, Verb::Request, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// The activation that makes a person a member of the group now, and longest: the one that can be extended.
    pub fn active_of(&self, user: &UserName, group: &GroupName) -> Result<ActivationId, Refusal> {
        let state = self.snapshots().load();
        let active = state.activations.iter().filter(|activation| {
            activation.spec.user == *user
                && activation.spec.group == *group
                && activation.status.state == ActivationState::Active
        });
        let longest = active.max_by_key(|activation| activation.status.active_until);
        longest.and_then(|activation| activation.name().parse().ok()).ok_or_else(|| {
            let message = format!("`{user}` has no active activation of `{group}` to extend");
            Refusal::new(&code::ALREADY_DECIDED, message)
                .hint("ask for one with `portcullis request`, without `--extend`")
        })
    }

    /// Says yes to someone else's request.
    pub async fn approve(
        &self,
        caller: &Caller,
        id: ActivationId,
        note: Option<String>,
    ) -> Result<Done<Document<Activation>>, Refusal> {
        self.step(caller, id, Step::Approve, note).await
    }

    /// Says no to someone else's request.
    pub async fn deny(
        &self,
        caller: &Caller,
        id: ActivationId,
        note: Option<String>,
    ) -> Result<Done<Document<Activation>>, Refusal> {
        self.step(caller, id, Step::Deny, note).await
    }

    /// Takes the caller's own request back.
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: ActivationId,
        note: Option<String>,
    ) -> Result<Done<Document<Activation>>, Refusal> {
        self.step(caller, id, Step::Cancel, note).await
    }

    /// Ends the caller's own membership early.
    pub async fn deactivate(
        &self,
        caller: &Caller,
        id: ActivationId,
        note: Option<String>,
    ) -> Result<Done<Document<Activation>>, Refusal> {
        self.step(caller, id, Step::Deactivate, note).await
    }

    /// Ends someone else's membership now.
    pub async fn revoke(
        &self,
        caller: &Caller,
        id: ActivationId,
        note: Option<String>,
    ) -> Result<Done<Document<Activation>>, Refusal> {
        self.step(caller, id, Step::Revoke, note).await
    }

    async fn step(
        &self,
        caller: &Caller,
        id: ActivationId,
        step: Step,
        note: Option<String>,
    ) -> Result<Done<Document<Activation>>, Refusal> {
        let verb = verb(step);
        let asking = caller.clone();
        let subject = format!("{}/{id}", Kind::Activation);
        let work = move |writing: &mut Writing<'_, '_>| {
            let role = asking.authorise(verb, writing.state())?;
            let by = By::Person { user: asking.person()?, role };
            let taken = Taken { step, by: &by, note: note.as_deref() };
            take(writing, id, &taken, &Actor::from(&asking.principal))
        };
        let committed = self.write(caller, verb, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// Takes the steps that time alone brings: ends activations, denies requests, begins what was scheduled, puts requests
    /// before backup approvers. How many there were.
    pub(crate) async fn expire_overdue(&self) -> Result<usize, Refusal> {
        if activation::overdue(&self.snapshots().load(), self.now()).is_empty() {
            return Ok(0);
        }
        let work = |writing: &mut Writing<'_, '_>| {
            let overdue = activation::overdue(writing.state(), writing.now());
            for (id, step) in &overdue {
                let taken = Taken { step: *step, by: &By::Portcullis, note: None };
                take(writing, *id, &taken, &Actor::portcullis())?;
            }
            Ok(overdue.len())
        };
        let expired = self.system(Verb::Expire, Kind::Activation.name(), work).await?;
        Ok(expired.value)
    }
}

/// Each request stays in the directory for a while: who asks and cancels in a loop would fill it.
fn not_too_often(user: &UserName, state: &Snapshot, now: Timestamp) -> Result<(), Refusal> {
    let since = now.minus(Duration::from_hours(1));
    let asked = state
        .activations
        .iter()
        .filter(|asked| asked.spec.user == *user && asked.spec.requested_at > since)
        .count();
    if asked < REQUESTS_PER_HOUR_MAX {
        return Ok(());
    }
    let message = format!("`{user}` has asked {asked} times within an hour");
    Err(Refusal::new(&code::RATE_LIMITED, message))
}

fn verb(step: Step) -> Verb {
    match step {
        Step::Approve => Verb::Approve,
        Step::Deny => Verb::Deny,
        Step::Cancel => Verb::Cancel,
        Step::Deactivate => Verb::Deactivate,
        Step::Revoke => Verb::Revoke,
        Step::Expire | Step::Escalate | Step::Begin => Verb::Expire,
    }
}

fn take(
    writing: &mut Writing<'_, '_>,
    id: ActivationId,
    taken: &Taken<'_>,
    actor: &Actor,
) -> Result<Document<Activation>, Refusal> {
    let stored = writing.state().activations.get(id.to_string()).cloned();
    let stored = stored.ok_or_else(|| {
        Refusal::new(&code::NOT_FOUND, format!("there is no activation {id}"))
            .hint("`portcullis get activations` lists what there is")
    })?;
    let next = activation::step(&stored, taken, writing.state(), writing.now())?;
    let next = writing.put(next)?;
    note(writing, &next, taken.step.name(), actor.clone());
    end_others(writing, &next, actor)?;
    Ok(next)
}

/// What else is open of the same person and group ends with an activation that somebody ended.
fn end_others(
    writing: &mut Writing<'_, '_>,
    ended: &Document<Activation>,
    actor: &Actor,
) -> Result<(), Refusal> {
    let now = writing.now();
    let others = writing.state().activations.iter();
    let others: Vec<_> =
        others.filter_map(|other| activation::ended_with(other, ended, now)).collect();
    for other in others {
        let step = match other.status.state {
            ActivationState::Denied => Step::Deny,
            ActivationState::Cancelled => Step::Cancel,
            ActivationState::Revoked => Step::Revoke,
            ActivationState::Deactivated
            | ActivationState::Requested
            | ActivationState::Scheduled
            | ActivationState::Active
            | ActivationState::Expired => Step::Deactivate,
        };
        let other = writing.put(other)?;
        note(writing, &other, step.name(), actor.clone());
    }
    Ok(())
}

/// Ends the open activations of a person or group that is being deleted: whoever gets the name next starts with none.
pub(crate) fn end_open(
    writing: &mut Writing<'_, '_>,
    (actor, ended_by): (&Actor, Option<&UserName>),
    because: &str,
    concerns: impl Fn(&Activation) -> bool,
) -> Result<(), Refusal> {
    let open: Vec<Document<Activation>> = writing
        .state()
        .activations
        .iter()
        .filter(|activation| !activation.status.state.ended() && concerns(&activation.spec))
        .map(|activation| Document::clone(activation))
        .collect();
    for mut activation in open {
        let (step, state) = if activation.status.state == ActivationState::Requested {
            ("deny", ActivationState::Denied)
        } else {
            ("revoke", ActivationState::Revoked)
        };
        end(&mut activation, state, ended_by.cloned(), writing.now());
        activation.status.end_note = Some(because.to_owned());
        let activation = writing.put(activation)?;
        note(writing, &activation, step, actor.clone());
    }
    Ok(())
}

fn end(
    activation: &mut Document<Activation>,
    state: ActivationState,
    by: Option<UserName>,
    at: Timestamp,
) {
    activation.status.state = state;
    activation.status.ended_by = by;
    activation.status.ended_at = Some(at);
}

fn note(
    writing: &mut Writing<'_, '_>,
    activation: &Document<Activation>,
    step: &str,
    actor: Actor,
) {
    let Activation { user, group, justification, .. } = &activation.spec;
    let status = &activation.status;
    let said = match step {
        "request" => justification.clone(),
        "approve" => status.decision_note.clone(),
        _ => status.end_note.clone().or_else(|| status.decision_note.clone()),
    };
    let Ok(id) = activation.name().parse() else { return };
    let event = ActivationChanged {
        activation: id,
        actor,
        step: step.to_owned(),
        user: user.to_string(),
        group: group.to_string(),
        note: said,
        until: status.active_until,
        revision: Some(writing.revision()),
        outcome: Outcome::Succeeded,
    };
    writing.note(EventBody::ActivationChanged(Box::new(event)));
}
