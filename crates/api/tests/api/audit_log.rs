//! The audit log through the API: who asked for it is in it before the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use model::code;
use model::event::{Actor, Event, EventBody, Statement, StatementOutcome, StatementProtocol};
use serde_json::{Value, json};

use super::fixture::{AUDITOR, DEV, Installation, OWNER};

fn read(text: &str) -> Vec<Event> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_reading_is_recorded_before_it_is_answered() {
    let installation = Installation::new().await;
    let path = "/v1/audit?types=auditRead";
    let first = installation.ask(AUDITOR, "GET", path, Value::Null).await;
    assert_eq!((first.status, first.kind.as_str()), (StatusCode::OK, "application/x-ndjson"));
    let events = read(&first.text);
    let [Event { body: EventBody::AuditRead { actor, query }, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((actor.name.as_str(), query.as_str()), (AUDITOR, r#"{"types":["auditRead"]}"#));
}

#[tokio::test]
async fn a_statement_brings_its_outcome_although_that_names_nobody() {
    let installation = Installation::new().await;
    let state = installation.control.snapshots().load();
    let actor = Actor::from(&state.principal_named(DEV).unwrap());
    let session = model::SessionId::random();
    let statement = |number| {
        EventBody::Statement(Box::new(Statement {
            session,
            number,
            actor: actor.clone(),
            server: "orders".parse().unwrap(),
            database: "orders".to_owned(),
            protocol: StatementProtocol::Simple,
            sql: format!("select {number}"),
            sql_bytes: None,
            sql_sha256: None,
            encoding: None,
            parameters: Vec::new(),
        }))
    };
    let outcome = |number| {
        EventBody::StatementOutcome(Box::new(StatementOutcome {
            session,
            number,
            tags: vec!["SELECT 1".to_owned()],
            rows: 1,
            relations: Arc::default(),
            error: None,
            duration_us: 100,
            note: None,
        }))
    };
    let events = [statement(1), statement(2), outcome(1), outcome(2)];
    let receipt = installation.log.append(&events).unwrap();
    installation.log.durable(receipt).await.unwrap();
    let found = async |query: &str| {
        let path = format!("/v1/audit?{query}");
        let answer = installation.ask(OWNER, "GET", &path, Value::Null).await;
        let bodies: Vec<EventBody> =
            read(&answer.text).into_iter().map(|event| event.body).collect();
        bodies
    };
    assert_eq!(found("actor=dev@example.com").await, events);
    assert_eq!(found("server=orders&text=SELECT%202").await, [statement(2), outcome(2)]);
    assert_eq!(found("types=statement&actor=dev@example.com").await, [statement(1), statement(2)]);
    assert_eq!(found("actor=dev@example.com&limit=1").await, [outcome(2)]);
    assert_eq!(found("since=2026-11-24T11:00:00Z").await, []);
}

/// What a follower's stream ends with when this happens meanwhile; its events are dropped.
async fn end_of_following(change: impl AsyncFn(&Installation)) -> Vec<Value> {
    let installation = Installation::new().await;
    let path = "/v1/audit?types=auditRead&follow=true";
    let following = async {
        let answer = installation.ask(AUDITOR, "GET", path, Value::Null);
        tokio::time::timeout(Duration::from_secs(10), answer).await.unwrap()
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        change(&installation).await;
    };
    let (answer, ()) = tokio::join!(following, meanwhile);
    assert_eq!(answer.status, StatusCode::OK);
    let lines = answer.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["code"].clone()).filter(|code| !code.is_null()).collect()
}

async fn change_auditor(installation: &Installation, role: &str, enabled: bool) {
    let user = json!({
        "apiVersion": "portcullis.dev/v1", "kind": "User", "metadata": {"name": AUDITOR},
        "spec": {"displayName": "A", "controlRole": role, "enabled": enabled},
    });
    installation.ask(OWNER, "PUT", &format!("/v1/users/{AUDITOR}"), user).await.ok();
}

#[tokio::test]
async fn a_follower_who_may_not_read_any_more_is_told_so_and_reads_no_more() {
    let demoted = end_of_following(async |it| change_auditor(it, "user", true).await).await;
    assert_eq!(demoted, [code::FORBIDDEN.id]);
    let disabled = end_of_following(async |it| change_auditor(it, "auditor", false).await).await;
    let [disabled] = disabled.as_slice() else { panic!("{disabled:?}") };
    // Their tokens are revoked with it; either is the end.
    assert!(
        [code::PRINCIPAL_DISABLED.id, code::TOKEN_REVOKED.id].map(Value::from).contains(disabled)
    );
    let expired = end_of_following(async |it| it.hand.advance(Duration::from_hours(1))).await;
    assert_eq!(expired, [code::TOKEN_EXPIRED.id]);
    let revoked = end_of_following(async |it| {
        it.hand.advance(Duration::from_secs(2));
        let which = json!({"principal": AUDITOR});
        it.ask(OWNER, "POST", "/v1/tokens/revoke", which).await.ok();
    });
    assert_eq!(revoked.await, [code::TOKEN_REVOKED.id]);
}

#[tokio::test]
async fn a_limit_that_no_memory_holds_is_refused() {
    let installation = Installation::new().await;
    let answer = installation.ask(AUDITOR, "GET", "/v1/audit?limit=1000000", Value::Null).await;
    assert_eq!(answer.refusal(), (400, "PC2004".to_owned()));
}

#[tokio::test]
async fn the_checkpoint_verifies_under_the_key_beside_it() {
    let installation = Installation::new().await;
    let position = installation.ask(AUDITOR, "GET", "/v1/audit/checkpoint", Value::Null).await.ok();
    let checkpoint: audit::Checkpoint =
        serde_json::from_value(position["checkpoint"].clone()).unwrap();
    assert_eq!(checkpoint.verify(installation.log.public_key()), Ok(()));
    let digits: Vec<String> =
        installation.log.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(position["publicKey"], digits.concat());
}
