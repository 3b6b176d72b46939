//! Stages, schedules and extensions in the store: what time brings is done once, and who ends one ends the others.

use std::sync::Arc;

use control::Reconciler;
use control::reconcile::Expiry;
use model::code::{ALREADY_ACTIVE, ALREADY_DECIDED, INVALID, REFERENCE_UNKNOWN};
use model::event::EventBody;
use model::kind::activation::ActivationState;
use model::{ActivationId, Lifetime};
use serde_json::{Value, json};

use crate::fixture::{APPROVER, DEV, OWNER, Plane, ask, at, document, id, refused};

const SECOND: &str = "second@example.com";

async fn reconcile(plane: &Plane) {
    let snapshot = plane.control.snapshots().load();
    Expiry::new(plane.control.clone()).reconcile(Arc::clone(&snapshot)).await.unwrap();
}

/// The readers' rules, with more in them or other things.
async fn rules(plane: &Plane, change: &Value) {
    let mut spec = json!({ "group": "orders-readers", "durationMax": "30m" });
    for (name, value) in change.as_object().unwrap() {
        spec[name] = value.clone();
    }
    plane.put(document("AccessRules", "orders-readers", spec)).await.unwrap();
}

async fn second_approver(plane: &Plane) {
    let spec = json!({ "displayName": "Second", "controlRole": "approver" });
    plane.put(document("User", SECOND, spec)).await.unwrap();
}

fn steps(events: &[EventBody]) -> Vec<(&str, &str)> {
    let changed = events.iter().filter_map(|event| match event {
        EventBody::ActivationChanged(changed) => {
            Some((changed.step.as_str(), changed.actor.name.as_str()))
        }
        _ => None,
    });
    changed.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_quorum_counts_each_of_those_who_race_once() {
    let plane = Plane::new().await;
    second_approver(&plane).await;
    rules(&plane, &json!({ "approvers": [APPROVER, SECOND], "quorum": 2 })).await;
    let request = plane.request("ticket 7").await.unwrap();
    let mut racing = tokio::task::JoinSet::new();
    for racer in 0..8 {
        let control = plane.control.clone();
        let caller = plane.caller(if racer % 2 == 0 { APPROVER } else { SECOND });
        racing.spawn(async move { control.approve(&caller, request, None).await });
    }
    let decided = racing.join_all().await;
    assert_eq!(decided.iter().filter(|decision| decision.is_ok()).count(), 2);
    for late in decided.into_iter().filter(Result::is_err) {
        assert_eq!(refused(late), &ALREADY_DECIDED);
    }
    let status = plane.activation(request).status;
    assert_eq!((status.state, status.approvals.len()), (ActivationState::Active, 2));
}

#[tokio::test]
async fn time_escalates_begins_and_ends_each_once_across_a_restart() {
    let plane = Plane::new().await;
    second_approver(&plane).await;
    let escalation = json!({ "after": "10m", "approvers": [SECOND] });
    let stage = json!({ "approvers": [APPROVER], "escalation": escalation });
    rules(&plane, &json!({ "stages": [stage] })).await;
    let dev = plane.caller(DEV);
    let mut later = ask(DEV, "orders-readers", "maintenance");
    later.starts_at = Some(at("2026-11-24T12:00:00Z"));
    let request = id(&plane.control.request(&dev, later).await.unwrap().value);
    let before = plane.events().len();
    plane.forward(10);
    for _ in 0..2 {
        reconcile(&plane).await;
    }
    plane.control.approve(&plane.caller(SECOND), request, None).await.unwrap();
    assert_eq!(plane.activation(request).status.state, ActivationState::Scheduled);
    let plane = plane.restart(at("2026-11-24T12:00:00Z"));
    for _ in 0..2 {
        reconcile(&plane).await;
    }
    assert_eq!(plane.activation(request).status.state, ActivationState::Active);
    plane.forward(30);
    for _ in 0..2 {
        reconcile(&plane).await;
    }
    assert_eq!(
        steps(&plane.events_after(before)),
        [
            ("escalate", "portcullis"),
            ("approve", SECOND),
            ("begin", "portcullis"),
            ("expire", "portcullis"),
        ]
    );
}

#[tokio::test]
async fn whoever_revokes_an_activation_ends_its_extension_too() {
    let plane = Plane::new().await;
    let first = plane.active().await;
    let dev = plane.caller(DEV);
    let group = "orders-readers".parse().unwrap();
    assert_eq!(plane.control.active_of(&DEV.parse().unwrap(), &group).unwrap(), first);
    let extension = || {
        let mut longer = ask(DEV, "orders-readers", "not done yet");
        (longer.extends, longer.duration) = (Some(first), Some(Lifetime::from_seconds(600)));
        plane.control.request(&dev, longer)
    };
    let asked: ActivationId = id(&extension().await.unwrap().value);
    assert_eq!(refused(extension().await), &ALREADY_ACTIVE);
    plane.control.approve(&plane.caller(APPROVER), asked, None).await.unwrap();
    assert_eq!(plane.activation(asked).status.state, ActivationState::Active);
    let before = plane.events().len();
    plane.control.revoke(&plane.caller(APPROVER), first, None).await.unwrap();
    assert_eq!(plane.activation(asked).status.state, ActivationState::Revoked);
    assert_eq!(steps(&plane.events_after(before)), [("revoke", APPROVER), ("revoke", APPROVER)]);
    assert_eq!(refused(extension().await), &ALREADY_DECIDED);
}

#[tokio::test]
async fn rules_that_nobody_could_follow_are_refused() {
    let plane = Plane::new().await;
    second_approver(&plane).await;
    let put = |kind: &str, name: &str, spec: Value| plane.put(document(kind, name, spec));
    let stage = |approvers: Value, quorum: u8| json!({ "approvers": approvers, "quorum": quorum });
    for change in [
        json!({ "approvers": [APPROVER], "quorum": 2 }),
        json!({ "approvers": [APPROVER], "quorum": 0 }),
        json!({ "quorum": 1 }),
        json!({ "approvers": [APPROVER], "stages": [stage(json!([SECOND]), 1)] }),
        json!({ "stages": [stage(json!([]), 1)] }),
        // Two stages, and one person who may approve once.
        json!({ "stages": [stage(json!([APPROVER]), 1), stage(json!([APPROVER]), 1)] }),
        json!({ "ticket": { "number": "INC(" } }),
        json!({ "ticket": { "number": "a)|(b" } }),
        json!({ "ticket": { "number": "(a{1000}){1000}" } }),
    ] {
        let mut spec = json!({ "group": "orders-readers", "durationMax": "30m" });
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(refused(put("AccessRules", "orders-readers", spec).await), &INVALID, "{change}");
    }
    let unknown = json!({
        "group": "orders-readers", "durationMax": "30m", "approvers": [{ "group": "nobody" }],
    });
    assert_eq!(refused(put("AccessRules", "orders-readers", unknown).await), &REFERENCE_UNKNOWN);
    put("Group", "inner", json!({ "groups": ["orders-readers"] })).await.unwrap();
    put("Group", "outer", json!({ "groups": ["inner"] })).await.unwrap();
    for circle in ["orders-readers", "inner", "outer"] {
        let spec = json!({ "groups": [circle] });
        assert_eq!(refused(put("Group", "orders-readers", spec).await), &INVALID, "{circle}");
    }
    for spec in [
        json!({ "group": "orders-readers" }),
        json!({ "group": "orders-readers", "user": DEV, "membersOf": "inner" }),
        json!({ "group": "inner", "membersOf": "inner" }),
    ] {
        assert_eq!(refused(put("Eligibility", "some", spec.clone()).await), &INVALID, "{spec}");
    }
    let own = json!({ "displayName": "Dev", "manager": DEV });
    assert_eq!(refused(put("User", DEV, own).await), &INVALID);
    let managed = json!({ "displayName": "Dev", "manager": OWNER });
    put("User", DEV, managed).await.unwrap();
}
