//! The life cycle of an activation.

use access::activation::{
    Ask, By, NOTE_BYTES_MAX, Step, Taken, next_deadline, overdue, request, step,
};
use model::kind::activation::{Activation, ActivationState};
use model::{
    ActivationId, ControlRole, Document, Lifetime, Refusal, Resource, Snapshot, Timestamp, code,
};
use proptest::prelude::*;

use crate::directory::*;

fn ask(group: &str) -> Ask {
    Ask {
        duration: Some(Lifetime::from_seconds(900)),
        justification: Some("incident 4711".to_owned()),
        ..Ask::new(user_name(ADA), group_name(group))
    }
}

fn by(user: &str, role: ControlRole) -> By {
    By::Person { user: user_name(user), role }
}

fn asked(snapshot: &Snapshot) -> Document<Activation> {
    request(&ask("orders-readers"), ActivationId::random(), snapshot, at("10:00:00")).unwrap()
}

fn take(
    activation: &Document<Activation>,
    step_taken: Step,
    who: &By,
    now: Timestamp,
) -> Result<Document<Activation>, Refusal> {
    let mut all = resources();
    all.push(Resource::from(activation.clone()));
    step(activation, &Taken { step: step_taken, by: who, note: None }, &snapshot(all), now)
}

#[test]
fn approval_starts_the_clock_and_records_who_and_when() {
    let requested = asked(&snapshot(resources()));
    assert_eq!(requested.status.state, ActivationState::Requested);
    let active =
        take(&requested, Step::Approve, &by(GRACE, ControlRole::Approver), at("10:10:00")).unwrap();
    assert_eq!(active.status.state, ActivationState::Active);
    assert_eq!(active.status.active_from, Some(at("10:10:00")));
    assert_eq!(active.status.active_until, Some(at("10:25:00")));
    assert_eq!(active.status.decided_by, Some(user_name(GRACE)));
}

#[test]
fn nobody_decides_on_their_own_request_not_even_as_a_named_approver_or_owner() {
    let requested = asked(&snapshot(resources()));
    for role in [ControlRole::Approver, ControlRole::Owner] {
        for own in [Step::Approve, Step::Deny] {
            let refusal = take(&requested, own, &by(ADA, role), at("10:01:00")).unwrap_err();
            assert_eq!(refusal.code, &code::OWN_REQUEST);
        }
    }
}

#[test]
fn who_may_take_which_step() {
    let stranger = "eve@example.com";
    let requested = asked(&snapshot(resources()));
    let active =
        take(&requested, Step::Approve, &by(GRACE, ControlRole::Approver), at("10:01:00")).unwrap();
    let expect = |activation: &Document<Activation>, taken: Step, who: By| {
        take(activation, taken, &who, at("10:02:00"))
            .map(|next| next.status.state)
            .map_err(|refusal| refusal.code.id)
    };
    let pending = |taken, who| expect(&requested, taken, who);
    let running = |taken, who| expect(&active, taken, who);
    assert_eq!(pending(Step::Approve, by(stranger, ControlRole::Approver)), Err("PC2014"));
    assert_eq!(pending(Step::Approve, by(GRACE, ControlRole::User)), Err("PC2014"));
    assert_eq!(
        pending(Step::Approve, by(stranger, ControlRole::Owner)),
        Ok(ActivationState::Active)
    );
    assert_eq!(pending(Step::Deny, by(GRACE, ControlRole::Approver)), Ok(ActivationState::Denied));
    assert_eq!(pending(Step::Cancel, by(ADA, ControlRole::User)), Ok(ActivationState::Cancelled));
    assert_eq!(pending(Step::Cancel, by(GRACE, ControlRole::Owner)), Err("PC2002"));
    assert_eq!(pending(Step::Revoke, by(GRACE, ControlRole::Approver)), Err("PC2016"));
    assert_eq!(pending(Step::Expire, by(GRACE, ControlRole::Owner)), Err("PC2002"));
    assert_eq!(running(Step::Approve, by(GRACE, ControlRole::Approver)), Err("PC2016"));
    assert_eq!(
        running(Step::Revoke, by(GRACE, ControlRole::Approver)),
        Ok(ActivationState::Revoked)
    );
    assert_eq!(
        running(Step::Deactivate, by(ADA, ControlRole::User)),
        Ok(ActivationState::Deactivated)
    );
    assert_eq!(running(Step::Deactivate, by(GRACE, ControlRole::Owner)), Err("PC2002"));
    assert_eq!(running(Step::Expire, By::Portcullis), Err("PC2005"));
}

#[test]
fn what_the_rules_demand_is_demanded() {
    let snapshot = snapshot(resources());
    let refused =
        |ask: Ask| request(&ask, ActivationId::random(), &snapshot, at("10:00:00")).unwrap_err();
    let too_long = Ask { duration: Some(Lifetime::from_seconds(1801)), ..ask("orders-readers") };
    assert_eq!(
        refused(too_long).to_string(),
        "PC2012: `orders-readers` can be activated for 30m at most, not for 30m1s"
    );
    for nothing in [None, Some("  ".to_owned())] {
        let ask = Ask { justification: nothing, ..ask("orders-readers") };
        assert_eq!(refused(ask).code, &code::JUSTIFICATION_REQUIRED);
    }
    let flood =
        Ask { justification: Some("x".repeat(NOTE_BYTES_MAX + 1)), ..ask("orders-readers") };
    assert_eq!(refused(flood).code, &code::TOO_LARGE);
    let slip = refused(ask("orders-raeders"));
    assert_eq!(
        (slip.code, slip.hint.as_deref()),
        (&code::NOT_ELIGIBLE, Some("did you mean `orders-readers`?"))
    );
}

#[test]
fn a_second_request_for_the_same_group_is_refused_while_the_first_is_open() {
    let mut all = resources();
    all.push(active("orders-readers").into());
    let refusal =
        request(&ask("orders-readers"), ActivationId::random(), &snapshot(all), at("10:05:00"))
            .unwrap_err();
    assert_eq!(refusal.code, &code::ALREADY_ACTIVE);
}

#[test]
fn a_request_that_nobody_decides_on_ends_after_a_day() {
    let requested = asked(&snapshot(resources()));
    let mut all = resources();
    all.push(requested.clone().into());
    let snapshot = snapshot(all);
    let tomorrow: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
    assert_eq!(next_deadline(&snapshot), Some(tomorrow));
    assert_eq!(overdue(&snapshot, at("23:00:00")), vec![]);
    let due = overdue(&snapshot, tomorrow);
    assert!(matches!(due.as_slice(), [(_, Step::Expire)]), "{due:?}");
    let ended = take(&requested, Step::Expire, &By::Portcullis, tomorrow).unwrap();
    assert_eq!(ended.status.state, ActivationState::Denied);
    assert_eq!(ended.status.decision_note.as_deref(), Some("nobody decided in time"));
}

#[test]
fn an_approval_after_the_eligibility_ended_is_refused() {
    let requested = asked(&snapshot(resources()));
    let without = resources()
        .into_iter()
        .filter(|resource| resource.kind() != model::Kind::Eligibility)
        .collect();
    let who = by(GRACE, ControlRole::Approver);
    let taken = Taken { step: Step::Approve, by: &who, note: None };
    let refusal = step(&requested, &taken, &snapshot(without), at("10:01:00")).unwrap_err();
    assert_eq!(refusal.code, &code::NOT_ELIGIBLE);
}

proptest! {
    /// Whatever is done to an activation: an ended one stays as it is, and `activeUntil` never moves later.
    #[test]
    fn ended_is_ended_and_the_deadline_never_moves_later(
        steps in prop::collection::vec((0_usize..6, 0_usize..3, 0_i64..4000), 1..12),
    ) {
        const STEPS: [Step; 6] =
            [Step::Approve, Step::Deny, Step::Cancel, Step::Deactivate, Step::Revoke, Step::Expire];
        let people = [by(ADA, ControlRole::User), by(GRACE, ControlRole::Approver), By::Portcullis];
        let mut activation = asked(&snapshot(resources()));
        let mut now = at("10:00:00");
        for (index, person, seconds) in steps {
            now = Timestamp::from_micros(now.micros() + seconds * 1_000_000);
            let Ok(next) = take(&activation, STEPS[index], &people[person], now) else { continue };
            prop_assert!(!activation.status.state.ended());
            if let Some(until) = activation.status.active_until {
                prop_assert!(next.status.active_until.unwrap() <= until);
            }
            if let (Some(from), Some(until)) = (next.status.active_from, next.status.active_until) {
                prop_assert!(until.since(from) <= next.spec.duration.duration());
            }
            activation = next;
        }
    }
}
