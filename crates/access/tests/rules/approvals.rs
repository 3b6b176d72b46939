//! Stages of approval, tickets, schedules, extensions, groups within groups.

use access::activation::{
    Ask, By, Step, Taken, ended_with, may_decide, next_deadline, overdue, request, step,
};
use access::membership::{active_roles, standing_groups};
use model::kind::access_rules::{
    AccessRules, ApprovalStage, Approver, ApproverRelation, Escalation, ManagerOf, TicketRule,
};
use model::kind::activation::{Activation, ActivationState, Ticket};
use model::kind::eligibility::Eligibility;
use model::{
    ActivationId, ControlRole, Document, Kind, Lifetime, Refusal, Resource, ServerName, Snapshot,
    Timestamp, code,
};
use proptest::prelude::*;

use crate::directory::*;

const LEE: &str = "lee@example.com";
const KIM: &str = "kim@example.com";
const GROUP: &str = "orders-readers";

fn named(user: &str) -> Approver {
    Approver::User(user_name(user))
}

fn group(name: &str) -> Approver {
    Approver::Relation(ApproverRelation::Group(group_name(name)))
}

fn stage(approvers: &[Approver], quorum: u8) -> ApprovalStage {
    let approvers = approvers.to_vec();
    ApprovalStage { approvers, quorum: Some(quorum), within: None, escalation: None }
}

/// The usual directory, Lee and Kim who may approve, and other rules for the readers.
fn with_rules(change: impl FnOnce(&mut AccessRules)) -> Vec<Resource> {
    let mut rules = AccessRules::new(group_name(GROUP), Lifetime::from_seconds(1800));
    change(&mut rules);
    let mut all = resources();
    all.retain(|resource| (resource.kind(), resource.name()) != (Kind::AccessRules, GROUP));
    all.push(stored(GROUP, rules).into());
    all.push(person(LEE, ControlRole::Approver));
    all.push(person(KIM, ControlRole::Approver));
    all
}

fn replaced(mut all: Vec<Resource>, resource: impl Into<Resource>) -> Vec<Resource> {
    let resource = resource.into();
    all.retain(|other| (other.kind(), other.name()) != (resource.kind(), resource.name()));
    all.push(resource);
    all
}

fn asked(all: &[Resource], change: impl FnOnce(&mut Ask)) -> Result<Document<Activation>, Refusal> {
    let mut ask = Ask::new(user_name(ADA), group_name(GROUP));
    ask.justification = Some("incident 4711".to_owned());
    change(&mut ask);
    request(&ask, ActivationId::random(), &snapshot(all.to_vec()), at("10:00:00"))
}

/// The step, taken in a directory that has the activation in it.
fn take(
    all: &[Resource],
    activation: &Document<Activation>,
    (taken, who): (Step, &str),
    now: &str,
) -> Result<Document<Activation>, Refusal> {
    let by = match who {
        "" => By::Portcullis,
        user => By::Person { user: user_name(user), role: ControlRole::Approver },
    };
    let state = snapshot(replaced(all.to_vec(), activation.clone()));
    step(activation, &Taken { step: taken, by: &by, note: None }, &state, at(now))
}

#[test]
fn every_stage_in_its_turn_and_every_approval_once() {
    let all = with_rules(|rules| {
        rules.stages =
            vec![stage(&[named(GRACE), named(LEE)], 2), stage(&[named(KIM), named(LEE)], 1)];
    });
    let requested = asked(&all, |_| ()).unwrap();
    let early = take(&all, &requested, (Step::Approve, KIM), "10:01:00").unwrap_err();
    assert_eq!(early.code, &code::NOT_AN_APPROVER);
    assert_eq!(early.hint.as_deref(), Some("another stage of its approval comes first"));

    let one = take(&all, &requested, (Step::Approve, GRACE), "10:01:00").unwrap();
    assert_eq!((one.status.state, one.status.active_until), (ActivationState::Requested, None));
    let twice = take(&all, &one, (Step::Approve, GRACE), "10:02:00").unwrap_err();
    assert_eq!(twice.code, &code::ALREADY_DECIDED);

    let two = take(&all, &one, (Step::Approve, LEE), "10:03:00").unwrap();
    assert_eq!(two.status.state, ActivationState::Requested);
    // Lee stands in both stages, and has had a say.
    let again = take(&all, &two, (Step::Approve, LEE), "10:04:00").unwrap_err();
    assert_eq!(again.code, &code::ALREADY_DECIDED);
    let late = take(&all, &two, (Step::Deny, GRACE), "10:04:00").unwrap_err();
    assert_eq!(late.code, &code::NOT_AN_APPROVER);

    let active = take(&all, &two, (Step::Approve, KIM), "10:05:00").unwrap();
    assert_eq!(active.status.state, ActivationState::Active);
    assert_eq!(active.status.active_from, Some(at("10:05:00")));
    let who: Vec<_> =
        active.status.approvals.iter().map(|one| (one.stage, one.by.as_str())).collect();
    assert_eq!(who, [(0, GRACE), (0, LEE), (1, KIM)]);
    assert_eq!(
        take(&all, &one, (Step::Deny, LEE), "10:03:00").unwrap().status.state,
        ActivationState::Denied
    );
}

#[test]
fn the_approval_of_someone_who_was_disabled_meanwhile_counts_no_more() {
    let all = with_rules(|rules| {
        rules.approvers = vec![named(GRACE), named(LEE), named(KIM)];
        rules.quorum = Some(2);
    });
    let one =
        take(&all, &asked(&all, |_| ()).unwrap(), (Step::Approve, GRACE), "10:01:00").unwrap();
    let mut gone = person_spec(GRACE, ControlRole::Approver);
    gone.enabled = false;
    let without = replaced(all, stored(GRACE, gone));
    let two = take(&without, &one, (Step::Approve, LEE), "10:02:00").unwrap();
    assert_eq!(two.status.state, ActivationState::Requested);
    let three = take(&without, &two, (Step::Approve, KIM), "10:03:00").unwrap();
    assert_eq!(three.status.state, ActivationState::Active);
}

#[test]
fn members_of_a_group_decide_while_they_are_members_and_nobody_through_a_group_on_their_own() {
    let all = with_rules(|rules| rules.approvers = vec![group("leads")]);
    let all = replaced(all, group_of("leads", &[ADA], &["seniors"]));
    let all = replaced(all, group_of("seniors", &[LEE], &[]));
    let requested = asked(&all, |_| ()).unwrap();
    let own = take(&all, &requested, (Step::Approve, ADA), "10:01:00").unwrap_err();
    assert_eq!(own.code, &code::OWN_REQUEST);
    let stranger = take(&all, &requested, (Step::Approve, KIM), "10:01:00").unwrap_err();
    assert_eq!(stranger.code, &code::NOT_AN_APPROVER);
    let by_nesting = take(&all, &requested, (Step::Approve, LEE), "10:01:00").unwrap();
    assert_eq!(by_nesting.status.state, ActivationState::Active);
    let left = replaced(all, group_of("seniors", &[], &[]));
    let refused = take(&left, &requested, (Step::Approve, LEE), "10:01:00").unwrap_err();
    assert_eq!(refused.code, &code::NOT_AN_APPROVER);
}

#[test]
fn the_requesters_manager_decides_and_nobody_elses() {
    let manager = Approver::Relation(ApproverRelation::Manager(ManagerOf::Requester));
    let all = with_rules(|rules| rules.approvers = vec![manager]);
    let mut ada = person_spec(ADA, ControlRole::User);
    ada.manager = Some(user_name(KIM));
    let mut grace = person_spec(GRACE, ControlRole::Approver);
    grace.manager = Some(user_name(LEE));
    let all = replaced(replaced(all, stored(ADA, ada)), stored(GRACE, grace));
    let requested = asked(&all, |_| ()).unwrap();
    let other = take(&all, &requested, (Step::Approve, LEE), "10:01:00").unwrap_err();
    assert_eq!(other.code, &code::NOT_AN_APPROVER);
    let active = take(&all, &requested, (Step::Approve, KIM), "10:01:00").unwrap();
    assert_eq!(active.status.state, ActivationState::Active);
}

#[test]
fn backup_approvers_join_after_the_delay_and_not_before() {
    let all = with_rules(|rules| {
        let (after, approvers) = (Lifetime::from_seconds(600), vec![named(KIM)]);
        let escalation = Some(Escalation { after, approvers });
        rules.stages = vec![ApprovalStage { escalation, ..stage(&[named(GRACE)], 1) }];
    });
    let requested = asked(&all, |_| ()).unwrap();
    let state = snapshot(replaced(all.clone(), requested.clone()));
    let who = (KIM, ControlRole::Approver);
    assert!(!may_decide(&requested, who, &state, at("10:09:59")));
    assert!(may_decide(&requested, who, &state, at("10:10:00")));
    assert_eq!(next_deadline(&state), Some(at("10:10:00")));
    let due = overdue(&state, at("10:10:00"));
    assert!(matches!(due.as_slice(), [(_, Step::Escalate)]), "{due:?}");
    let early = take(&all, &requested, (Step::Escalate, ""), "10:09:00").unwrap_err();
    assert_eq!(early.code, &code::CONFLICT);
    let escalated = take(&all, &requested, (Step::Escalate, ""), "10:10:00").unwrap();
    assert_eq!(escalated.status.escalated_at, Some(at("10:10:00")));
    let state = snapshot(replaced(all.clone(), escalated.clone()));
    let tomorrow: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
    assert_eq!(next_deadline(&state), Some(tomorrow), "escalated once");
    let active = take(&all, &escalated, (Step::Approve, KIM), "10:11:00").unwrap();
    assert_eq!(active.status.state, ActivationState::Active);
}

#[test]
fn a_ticket_is_demanded_and_its_whole_number_matched() {
    let all = with_rules(|rules| {
        let number = Some("INC[0-9]+".to_owned());
        rules.ticket = Some(TicketRule { system: Some("snow".to_owned()), number });
    });
    let with = |system: Option<&str>, number: &str| {
        let ticket = Ticket { system: system.map(str::to_owned), number: number.to_owned() };
        asked(&all, |ask| ask.ticket = Some(ticket)).map(|asked| asked.spec.ticket.unwrap().number)
    };
    assert_eq!(asked(&all, |_| ()).unwrap_err().code, &code::TICKET_REQUIRED);
    for (system, number) in [
        (None, " "),
        (None, "XINC1"),
        (None, "INC1; drop"),
        (None, "INC1\n"),
        (Some("jira"), "INC1"),
    ] {
        let refused = with(system, number).unwrap_err();
        assert_eq!(refused.code, &code::TICKET_REQUIRED, "{number:?}");
    }
    assert_eq!(with(None, &"1".repeat(300)).unwrap_err().code, &code::TOO_LARGE);
    assert_eq!(with(None, "INC4711").unwrap(), "INC4711");
    assert_eq!(with(Some("snow"), "INC4711").unwrap(), "INC4711");
}

#[test]
fn membership_that_is_scheduled_begins_then_if_it_may_still() {
    let all = with_rules(|_| ());
    for (starts, expected) in [
        ("2026-11-24T09:58:00Z", Err(&code::START_OUT_OF_RANGE)),
        ("2027-01-24T10:00:00Z", Err(&code::START_OUT_OF_RANGE)),
        ("2026-11-24T09:59:30Z", Ok(ActivationState::Active)),
        ("2026-11-24T12:00:00Z", Ok(ActivationState::Scheduled)),
    ] {
        let asked = asked(&all, |ask| ask.starts_at = Some(starts.parse().unwrap()));
        let got = asked.map(|asked| asked.status.state).map_err(|refusal| refusal.code);
        assert_eq!(got, expected, "{starts}");
    }
    let scheduled = asked(&all, |ask| ask.starts_at = Some(at("12:00:00"))).unwrap();
    assert_eq!(scheduled.status.active_until, Some(at("12:30:00")));
    let early = take(&all, &scheduled, (Step::Begin, ""), "11:59:59").unwrap_err();
    assert_eq!(early.code, &code::CONFLICT);
    let roles = |activation: &Document<Activation>, now: &str| {
        let state = snapshot(replaced(all.clone(), activation.clone()));
        let server = ServerName::new("orders").unwrap();
        active_roles(id_of(ADA, &state), &server, &state, at(now)).len()
    };
    assert_eq!((roles(&scheduled, "11:00:00"), roles(&scheduled, "12:00:01")), (0, 0));
    let begun = take(&all, &scheduled, (Step::Begin, ""), "12:00:00").unwrap();
    assert_eq!((roles(&begun, "12:00:00"), roles(&begun, "12:30:00")), (1, 0));
    let cancelled = take(&all, &scheduled, (Step::Cancel, ADA), "11:00:00").unwrap();
    assert_eq!(cancelled.status.state, ActivationState::Cancelled);

    let mut without = all.clone();
    without.retain(|resource| resource.kind() != Kind::Eligibility);
    let never = take(&without, &scheduled, (Step::Begin, ""), "12:00:00").unwrap();
    assert_eq!(never.status.state, ActivationState::Expired);
}

#[test]
fn an_extension_adds_to_what_is_left_and_ends_with_what_it_extends() {
    let all = with_rules(|rules| rules.approvers = vec![named(GRACE)]);
    let first = active(GROUP);
    let all = replaced(all, first.clone());
    let id: ActivationId = first.name().parse().unwrap();
    let beside = asked(&all, |_| ()).unwrap_err();
    assert_eq!(beside.code, &code::ALREADY_ACTIVE);
    let extension = asked(&all, |ask| {
        (ask.extends, ask.duration) = (Some(id), Some(Lifetime::from_seconds(900)));
    })
    .unwrap();
    let all_asked = replaced(all.clone(), extension.clone());
    let second = asked(&all_asked, |ask| ask.extends = Some(id)).unwrap_err();
    assert_eq!(second.code, &code::ALREADY_ACTIVE);

    // 10:30 and 15 minutes, but no more than 30 minutes from the approval.
    let late = take(&all, &extension, (Step::Approve, GRACE), "10:20:00").unwrap();
    assert_eq!(late.status.active_until, Some(at("10:45:00")));
    let soon = take(&all, &extension, (Step::Approve, GRACE), "10:05:00").unwrap();
    assert_eq!(soon.status.active_until, Some(at("10:35:00")));

    let revoked = take(&all, &first, (Step::Revoke, GRACE), "10:21:00").unwrap();
    let gone = ended_with(&late, &revoked, at("10:21:00")).unwrap();
    assert_eq!(gone.status.state, ActivationState::Revoked);
    let denied = ended_with(&extension, &revoked, at("10:21:00")).unwrap();
    assert_eq!(denied.status.state, ActivationState::Denied);
    assert!(ended_with(&active("orders-writers"), &revoked, at("10:21:00")).is_none());
    let after = replaced(all, revoked);
    let refused = take(&after, &extension, (Step::Approve, GRACE), "10:22:00").unwrap_err();
    assert_eq!(refused.code, &code::ALREADY_DECIDED);
    let of_nobody = asked(&after, |ask| ask.extends = Some(ActivationId::random())).unwrap_err();
    assert_eq!(of_nobody.code, &code::NOT_FOUND);
}

#[test]
fn standing_members_of_an_eligible_group_may_ask_and_members_for_a_while_may_not() {
    let spec = Eligibility {
        user: None,
        members_of: Some(group_name("on-call")),
        group: group_name(GROUP),
        starts_at: None,
        ends_at: None,
    };
    let mut all = with_rules(|_| ());
    all.retain(|resource| resource.kind() != Kind::Eligibility);
    let all = replaced(all, stored("on-call-reads", spec));
    assert_eq!(
        asked(&replaced(all.clone(), group_of("on-call", &[], &[])), |_| ()).unwrap_err().code,
        &code::NOT_ELIGIBLE
    );
    let nested = replaced(all, group_of("on-call", &[], &["night"]));
    let nested = replaced(nested, group_of("night", &[ADA], &[]));
    let active = asked(&nested, |_| ()).unwrap();
    assert_eq!(active.status.state, ActivationState::Active);
    let state = snapshot(replaced(nested.clone(), active.clone()));
    let server = ServerName::new("orders").unwrap();
    let held =
        |state: &Snapshot| active_roles(id_of(ADA, state), &server, state, at("10:01:00")).len();
    assert_eq!(held(&state), 1);
    // Whoever leaves the group that was eligible loses what they activated.
    let left = snapshot(replaced(replaced(nested, group_of("night", &[], &[])), active));
    assert_eq!(held(&left), 0);
}

#[test]
fn groups_in_a_circle_end() {
    let all = replaced(resources(), group_of("a", &[ADA], &["b"]));
    let all = replaced(all, group_of("b", &[], &["a"]));
    let names: Vec<String> =
        standing_groups(ADA, &snapshot(all)).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b"]);
}

proptest! {
    /// Whatever rules, people and order: active only with the approvals that the rules demand, each of another person than
    /// the requester, and of different people.
    #[test]
    fn never_active_without_every_stages_quorum_of_different_other_people(
        quorums in prop::collection::vec(1_u8..3, 1..4),
        steps in prop::collection::vec((0_usize..4, 0_usize..6), 1..24),
    ) {
        let people = [ADA, GRACE, LEE, KIM];
        let all = with_rules(|rules| {
            rules.stages = quorums.iter().map(|quorum| stage(&people.map(named), *quorum)).collect();
        });
        let mut activation = asked(&all, |_| ()).unwrap();
        for (minute, (person, kind)) in steps.into_iter().enumerate() {
            // Mostly approvals.
            let taken = match kind { 4 => Step::Deny, 5 => Step::Cancel, _ => Step::Approve };
            let now = format!("10:{minute:02}:30");
            if let Ok(next) = take(&all, &activation, (taken, people[person]), &now) {
                activation = next;
            }
            let approvals = &activation.status.approvals;
            let mut distinct: Vec<_> = approvals.iter().map(|one| &one.by).collect();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), approvals.len());
            prop_assert!(approvals.iter().all(|one| one.by.as_str() != ADA));
            if activation.status.state == ActivationState::Active {
                for (index, quorum) in quorums.iter().enumerate() {
                    let of_stage = approvals.iter().filter(|one| usize::from(one.stage) == index);
                    prop_assert_eq!(of_stage.count(), usize::from(*quorum));
                }
            }
        }
    }
}
