//! What time ends, with and without a restart in between.

use std::sync::Arc;
use std::time::Duration;

use control::reconcile::{self, Expiry, Forget};
use control::{Reconciler, Revoke};
use model::event::EventBody;
use model::kind::activation::ActivationState;
use model::{ActivationId, TokenId};
use runtime::{Clock, Shutdown};

use crate::fixture::{APPROVER, OWNER, Plane, at};

async fn reconcile_once(plane: &Plane) {
    let snapshot = plane.control.snapshots().load();
    Expiry::new(plane.control.clone()).reconcile(Arc::clone(&snapshot)).await.unwrap();
    Forget::new(plane.control.clone()).reconcile(snapshot).await.unwrap();
}

fn state(plane: &Plane, id: ActivationId) -> ActivationState {
    plane.activation(id).status.state
}

#[tokio::test]
async fn teleport_16_5_11_an_activation_ends_at_its_deadline_and_not_before() {
    let plane = Plane::new().await;
    let id = plane.active().await;
    plane.hand.set(at("2026-11-24T10:29:59.999999Z"));
    reconcile_once(&plane).await;
    assert_eq!(state(&plane, id), ActivationState::Active);
    plane.hand.set(at("2026-11-24T10:30:00Z"));
    let before = plane.events().len();
    reconcile_once(&plane).await;
    assert_eq!(state(&plane, id), ActivationState::Expired);
    let events = plane.events_after(before);
    let [EventBody::ActivationChanged(changed)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((changed.step.as_str(), changed.actor.name.as_str()), ("expire", "portcullis"));
}

#[tokio::test]
async fn what_became_overdue_while_the_process_was_down_ends_at_start() {
    let plane = Plane::new().await;
    let id = plane.active().await;
    let plane = plane.restart(at("2026-11-24T12:00:00Z"));
    reconcile_once(&plane).await;
    assert_eq!(state(&plane, id), ActivationState::Expired);
    assert_eq!(plane.activation(id).status.ended_at, Some(at("2026-11-24T12:00:00Z")));
}

#[tokio::test]
async fn a_restart_with_the_clock_set_back_never_extends_access() {
    let plane = Plane::new().await;
    plane.forward(60);
    let id = plane.active().await;
    plane.forward(29);
    // Any later write makes the passing of time durable; so does the store's own heartbeat.
    let owner = plane.caller(OWNER);
    plane.control.issue_pass(&owner, OWNER.parse().unwrap()).await.unwrap();
    let plane = plane.restart(at("2026-11-24T08:00:00Z"));
    let high_water = plane.control.store().high_water();
    assert_eq!(high_water, at("2026-11-24T11:29:00Z"));
    // The server starts its clock there (`Clock::system_not_before`).
    plane.hand.set(high_water);
    plane.forward(1);
    reconcile_once(&plane).await;
    assert_eq!(state(&plane, id), ActivationState::Expired);
    assert_eq!(plane.activation(id).status.active_until, Some(at("2026-11-24T11:30:00Z")));
}

#[tokio::test]
async fn a_request_that_nobody_decides_on_is_denied_in_time() {
    let plane = Plane::new().await;
    let id = plane.request("ticket 7").await.unwrap();
    plane.forward(24 * 60);
    reconcile_once(&plane).await;
    let status = plane.activation(id).status;
    assert_eq!(status.state, ActivationState::Denied);
    assert_eq!(status.decision_note.as_deref(), Some("nobody decided in time"));
    let late = plane.control.approve(&plane.caller(APPROVER), id, None).await;
    assert!(late.is_err());
}

#[tokio::test]
async fn the_loop_sleeps_until_the_deadline_and_acts_then() {
    let plane = Plane::new().await;
    let (clock, hand) = Clock::manual(at("2026-11-24T10:00:00Z"));
    let shutdown = Shutdown::new();
    let expiry = Expiry::new(plane.control.clone());
    let running =
        reconcile::run(expiry, plane.control.snapshots(), clock.clone(), shutdown.clone());
    let story = async {
        let id = plane.active().await;
        let mut watching = plane.control.snapshots().subscribe();
        // Both clocks stand in for the one that a server has.
        plane.forward(30);
        hand.advance(Duration::from_mins(30));
        let expired = watching.wait_for(|snapshot| {
            let activation = snapshot.activations.get(id.to_string()).unwrap();
            activation.status.state == ActivationState::Expired
        });
        tokio::time::timeout(Duration::from_secs(10), expired).await.unwrap().unwrap();
        shutdown.request();
    };
    tokio::join!(running, story);
}

#[tokio::test]
async fn revocations_are_forgotten_when_no_token_can_be_meant_any_more() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let token = Revoke::Token(TokenId::random());
    plane.control.revoke_tokens(&owner, token, None).await.unwrap();
    plane.forward(24 * 60 - 1);
    reconcile_once(&plane).await;
    assert_eq!(plane.control.snapshots().load().revocations.len(), 1);
    plane.forward(1);
    reconcile_once(&plane).await;
    assert_eq!(plane.control.snapshots().load().revocations.len(), 0);
}

#[tokio::test]
async fn ended_activations_are_kept_for_thirty_days() {
    let plane = Plane::new().await;
    let id = plane.active().await;
    plane.control.revoke(&plane.caller(APPROVER), id, None).await.unwrap();
    plane.forward(30 * 24 * 60 - 1);
    reconcile_once(&plane).await;
    assert_eq!(plane.control.snapshots().load().activations.len(), 1);
    plane.forward(1);
    reconcile_once(&plane).await;
    assert_eq!(plane.control.snapshots().load().activations.len(), 0);
}
