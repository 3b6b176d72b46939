//! The life of an activation, and that of those who race exactly one is first.

use std::collections::BTreeSet;
use std::time::Duration;

use control::Verb;
use control::credentials::{Hash, RefreshFamily};
use model::code::{
    ALREADY_ACTIVE, ALREADY_DECIDED, DURATION_TOO_LONG, FORBIDDEN, JUSTIFICATION_REQUIRED,
    NOT_AN_APPROVER, NOT_ELIGIBLE, NOT_FOUND, OWN_REQUEST, RATE_LIMITED, TOO_LARGE,
};
use model::event::{EventBody, Outcome};
use model::kind::activation::ActivationState;
use model::{ActivationId, ApplicationId, Kind, Lifetime, PrincipalId};
use serde_json::json;

use crate::fixture::{APPROVER, AUDITOR, DEV, OWNER, Plane, ask, at, document, refused};

#[tokio::test]
async fn a_request_is_approved_used_and_ends_and_every_step_is_in_the_audit_log() {
    let plane = Plane::new().await;
    let before = plane.events().len();
    let id = plane.request("ticket 7").await.unwrap();
    plane.forward(1);
    let note = Some("go ahead".to_owned());
    let approved = plane.control.approve(&plane.caller(APPROVER), id, note).await.unwrap();
    assert_eq!(approved.lag, None);
    assert_eq!(approved.value.status.active_until, Some(at("2026-11-24T10:31:00Z")));
    plane.forward(5);
    let note = Some("enough".to_owned());
    plane.control.revoke(&plane.caller(APPROVER), id, note).await.unwrap();
    let told: Vec<_> = plane
        .events_after(before)
        .into_iter()
        .map(|event| match event {
            EventBody::ActivationChanged(changed) => {
                assert_eq!(changed.activation, id);
                assert_eq!(
                    (changed.user.as_str(), changed.group.as_str()),
                    (DEV, "orders-readers")
                );
                assert!(changed.revision.is_some() && changed.outcome == Outcome::Succeeded);
                (changed.step, changed.actor.name, changed.note.unwrap())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let step = |step: &str, by: &str, note: &str| (step.to_owned(), by.to_owned(), note.to_owned());
    assert_eq!(
        told,
        [
            step("request", DEV, "ticket 7"),
            step("approve", APPROVER, "go ahead"),
            step("revoke", APPROVER, "enough"),
        ]
    );
    let ended = plane.activation(id).status;
    assert_eq!(ended.state, ActivationState::Revoked);
    assert_eq!(ended.ended_by.unwrap().as_str(), APPROVER);
}

#[tokio::test]
async fn who_may_not_take_a_step_is_told_why() {
    let plane = Plane::new().await;
    let (control, dev) = (&plane.control, plane.caller(DEV));
    let asked = |group: &str, why: &str| control.request(&dev, ask(DEV, group, why));
    assert_eq!(refused(asked("orders-reader", "x").await), &NOT_ELIGIBLE);
    assert_eq!(refused(asked("orders-readers", " ").await), &JUSTIFICATION_REQUIRED);
    let mut long = ask(DEV, "orders-readers", "x");
    long.duration = Some(Lifetime::from_seconds(1801));
    assert_eq!(refused(control.request(&dev, long).await), &DURATION_TOO_LONG);
    let other = control.request(&plane.caller(APPROVER), ask(DEV, "orders-readers", "x")).await;
    assert_eq!(refused(other), &FORBIDDEN);
    let auditor = plane.caller(AUDITOR);
    let asked = control.request(&auditor, ask(AUDITOR, "orders-readers", "x")).await;
    assert_eq!(refused(asked), &FORBIDDEN);

    let id = plane.request("ticket 7").await.unwrap();
    let approver = plane.caller(APPROVER);
    assert_eq!(refused(control.approve(&dev, id, None).await), &FORBIDDEN);
    assert_eq!(refused(control.cancel(&approver, id, None).await), &FORBIDDEN);
    assert_eq!(refused(control.revoke(&approver, id, None).await), &ALREADY_DECIDED);
    assert_eq!(refused(control.approve(&approver, ActivationId::random(), None).await), &NOT_FOUND);
    control.cancel(&dev, id, None).await.unwrap();
    assert_eq!(refused(control.approve(&approver, id, None).await), &ALREADY_DECIDED);
}

#[tokio::test]
async fn teleport_8_3_14_a_reason_has_a_bound() {
    let plane = Plane::new().await;
    let (longest, longer) = ("x".repeat(1024), "x".repeat(1025));
    assert_eq!(refused(plane.request(&longer).await), &TOO_LARGE);
    let id = plane.request(&longest).await.unwrap();
    let approver = plane.caller(APPROVER);
    let approved = plane.control.approve(&approver, id, Some(longer)).await;
    assert_eq!(refused(approved), &TOO_LARGE);
    plane.control.approve(&approver, id, Some(longest)).await.unwrap();
}

#[tokio::test]
async fn an_approver_decides_only_for_groups_that_name_them_and_never_on_their_own_request() {
    let plane = Plane::new().await;
    let second = json!({ "displayName": "S", "controlRole": "approver" });
    plane.put(document("User", "second@example.com", second)).await.unwrap();
    let id = plane.request("ticket 7").await.unwrap();
    let second = plane.caller("second@example.com");
    assert_eq!(refused(plane.control.approve(&second, id, None).await), &NOT_AN_APPROVER);
    let eligible = json!({ "user": APPROVER, "group": "orders-readers" });
    plane.put(document("Eligibility", "approver-reads", eligible)).await.unwrap();
    let approver = plane.caller(APPROVER);
    let own = plane.control.request(&approver, ask(APPROVER, "orders-readers", "me too")).await;
    let own = own.unwrap().value.name().parse().unwrap();
    assert_eq!(refused(plane.control.approve(&approver, own, None).await), &OWN_REQUEST);
    plane.control.approve(&plane.caller(OWNER), own, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_two_approvers_racing_one_decides() {
    let plane = Plane::new().await;
    for round in 0..10 {
        let id = plane.request(&format!("round {round}")).await.unwrap();
        let mut racing = tokio::task::JoinSet::new();
        for racer in 0..8 {
            let control = plane.control.clone();
            let caller = plane.caller(if racer % 2 == 0 { APPROVER } else { OWNER });
            racing.spawn(async move {
                match racer % 3 {
                    0 => control.deny(&caller, id, None).await,
                    _ => control.approve(&caller, id, None).await,
                }
            });
        }
        let decided = racing.join_all().await;
        assert_eq!(decided.iter().filter(|decision| decision.is_ok()).count(), 1);
        for late in decided.into_iter().filter(Result::is_err) {
            assert_eq!(refused(late), &ALREADY_DECIDED);
        }
        if plane.activation(id).status.state == ActivationState::Active {
            plane.control.deactivate(&plane.caller(DEV), id, None).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_two_activations_racing_one_begins() {
    let plane = Plane::new().await;
    let mut racing = tokio::task::JoinSet::new();
    for racer in 0..16 {
        let (control, caller) = (plane.control.clone(), plane.caller(DEV));
        let ask = ask(DEV, "orders-readers", &format!("racer {racer}"));
        racing.spawn(async move { control.request(&caller, ask).await });
    }
    let asked = racing.join_all().await;
    assert_eq!(asked.iter().filter(|asked| asked.is_ok()).count(), 1);
    for late in asked.into_iter().filter(Result::is_err) {
        assert_eq!(refused(late), &ALREADY_ACTIVE);
    }
    assert_eq!(plane.control.snapshots().load().activations.len(), 1);
}

#[tokio::test]
async fn who_asks_and_cancels_in_a_loop_is_slowed_down() {
    let plane = Plane::new().await;
    let dev = plane.caller(DEV);
    for round in 0..60 {
        let id = plane.request(&format!("round {round}")).await.unwrap();
        plane.control.cancel(&dev, id, None).await.unwrap();
    }
    assert_eq!(refused(plane.request("one more").await), &RATE_LIMITED);
    plane.forward(60);
    plane.request("later").await.unwrap();
}

#[tokio::test]
async fn disabling_a_person_ends_their_refresh_tokens_and_keeps_those_of_others() {
    let plane = Plane::new().await;
    let (dev, auditor) = (plane.caller(DEV).principal.id, plane.caller(AUDITOR).principal.id);
    let family = |principal: PrincipalId| RefreshFamily {
        principal,
        client: ApplicationId::random(),
        scope: None,
        current: Hash::of(b"token"),
        signed_in_at: at("2026-11-24T09:00:00Z"),
        methods: Vec::new(),
        session: uuid::Uuid::nil(),
        expires_at: at("2026-12-24T09:00:00Z"),
    };
    let kept = plane.control.system(Verb::SignIn, "test", move |writing| {
        writing.put_record("dev", &family(dev), None)?;
        Ok(writing.put_record("auditor", &family(auditor), None)?)
    });
    kept.await.unwrap();
    let disabled = json!({ "displayName": "D", "enabled": false });
    plane.put(document("User", DEV, disabled)).await.unwrap();
    let families = plane.control.store().read(|reader| {
        let families = reader.records::<RefreshFamily>()?;
        Ok(families.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
    });
    assert_eq!(families.unwrap(), ["auditor"]);
}

#[tokio::test]
async fn without_approvers_a_request_is_active_at_once() {
    let plane = Plane::new().await;
    let rules = json!({ "group": "orders-readers", "durationMax": "30m" });
    plane.put(document("AccessRules", "orders-readers", rules)).await.unwrap();
    let id = plane.request("ticket 7").await.unwrap();
    let status = plane.activation(id).status;
    assert_eq!(status.state, ActivationState::Active);
    assert_eq!(status.decided_by, None);
}

#[tokio::test]
async fn deleting_a_person_ends_what_they_had_and_a_namesake_starts_with_nothing() {
    let plane = Plane::new().await;
    let id = plane.active().await;
    let owner = plane.caller(OWNER);
    let before = PrincipalId(plane.control.snapshots().load().users.get(DEV).unwrap().uid());
    plane.control.delete(&owner, Kind::Eligibility, "dev-reads").await.unwrap();
    let events = plane.events().len();
    plane.control.delete(&owner, Kind::User, DEV).await.unwrap();
    let ended = plane.activation(id).status;
    assert_eq!(ended.state, ActivationState::Revoked);
    assert_eq!(ended.end_note.as_deref(), Some("the person was deleted"));
    let kinds: BTreeSet<&str> = plane
        .events_after(events)
        .iter()
        .map(|event| match event {
            EventBody::ActivationChanged(changed) if changed.step == "revoke" => "revoke",
            EventBody::Write(write) if write.subject == format!("User/{DEV}") => "delete",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, BTreeSet::from(["delete", "revoke"]));

    plane.put(document("User", DEV, json!({ "displayName": "Another Dev" }))).await.unwrap();
    let eligible = json!({ "user": DEV, "group": "orders-readers" });
    plane.put(document("Eligibility", "dev-reads", eligible)).await.unwrap();
    let state = plane.control.snapshots().load();
    let after = PrincipalId(state.users.get(DEV).unwrap().uid());
    assert_ne!(after, before);
    let now = at("2026-11-24T10:00:00Z").plus(Duration::from_secs(1));
    let held = access::membership::active_roles(after, &"orders".parse().unwrap(), &state, now);
    assert_eq!(held, []);
}

#[tokio::test]
async fn deleting_a_group_ends_its_activations() {
    let plane = Plane::new().await;
    let id = plane.active().await;
    let owner = plane.caller(OWNER);
    for (kind, name) in [
        (Kind::Eligibility, "dev-reads"),
        (Kind::AccessRules, "orders-readers"),
        (Kind::RoleAssignment, "readers-read"),
        (Kind::Group, "orders-readers"),
    ] {
        plane.control.delete(&owner, kind, name).await.unwrap();
    }
    assert_eq!(plane.activation(id).status.state, ActivationState::Revoked);
}
