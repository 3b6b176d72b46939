//! The audit log through the API: who asked for it is in it before the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use model::SessionId;
use model::code;
use model::event::{
    Actor, Event, EventBody, Relation, RelationNamed, Statement, StatementOutcome,
    StatementProtocol,
};
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
    let session = SessionId::random();
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
            plain_backslash: false,
            database_doubtful: false,
            parameters: Vec::new(),
        }))
    };
    let outcome = |number| {
        EventBody::StatementOutcome(Box::new(StatementOutcome {
            mysql: None,
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

/// A story on two servers: who reads and writes which table by text, by the oids of the rows alone, or may.
async fn tables() -> (Installation, SessionId) {
    let installation = Installation::new().await;
    let state = installation.control.snapshots().load();
    let actor = Actor::from(&state.principal_named(DEV).unwrap());
    let session = SessionId::random();
    let named = |oid, schema: &str, name: &str, kind: &str, over: &[(&str, &str)]| {
        let relation = Relation {
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            on_read: Vec::new(),
            on_write: if name == "orders" { vec!["triggers".to_owned()] } else { Vec::new() },
            over: over.iter().map(|(s, n)| ((*s).to_owned(), (*n).to_owned())).collect(),
        };
        EventBody::RelationNamed(Box::new(RelationNamed {
            server: "orders".parse().unwrap(),
            database: "orders".to_owned(),
            oid: Some(oid),
            relation: Some(relation),
            because: None,
        }))
    };
    let texts: [(&str, &[u32]); 7] = [
        ("select * from orders where id = 1", &[10]),
        ("insert into public.orders select * from other.orders", &[]),
        ("fetch 5 from c", &[10]),
        ("select * from totals", &[11]),
        ("delete from orders returning *", &[10]),
        ("select * from customers", &[12]),
        ("select * from gone", &[99]),
    ];
    let mut events = vec![
        named(10, "public", "orders", "table", &[]),
        named(11, "public", "totals", "view", &[("public", "orders")]),
        named(12, "public", "customers", "table", &[]),
    ];
    for (number, (sql, oids)) in (1..).zip(texts) {
        events.push(EventBody::Statement(Box::new(Statement {
            session,
            number,
            actor: actor.clone(),
            server: "orders".parse().unwrap(),
            database: "orders".to_owned(),
            protocol: StatementProtocol::Simple,
            sql: sql.to_owned(),
            sql_bytes: None,
            sql_sha256: None,
            encoding: None,
            plain_backslash: false,
            database_doubtful: false,
            parameters: Vec::new(),
        })));
        events.push(EventBody::StatementOutcome(Box::new(StatementOutcome {
            mysql: None,
            session,
            number,
            tags: Vec::new(),
            rows: 1,
            relations: oids.into(),
            error: None,
            duration_us: 100,
            note: None,
        })));
    }
    let receipt = installation.log.append(&events).unwrap();
    installation.log.durable(receipt).await.unwrap();
    (installation, session)
}

#[tokio::test]
async fn statements_are_found_by_the_tables_that_they_affected() {
    let (installation, _) = tables().await;
    let found = async |query: &str| {
        let path = format!("/v1/audit?types=statement&{query}");
        let answer = installation.ask(OWNER, "GET", &path, Value::Null).await;
        let lines = answer.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found("table=public.orders").await, [1, 2, 3, 4, 5]);
    assert_eq!(found("table=public.orders&access=wrote").await, [2, 5]);
    assert_eq!(found("table=public.orders&access=read").await, [1, 3, 4, 5]);
    assert_eq!(found("table=other.orders").await, [2]);
    assert_eq!(found("table=orders").await, [1, 2, 3, 4, 5]);
    assert_eq!(found("table=public.totals").await, [4]);
    // Its schema is not known: it may be any.
    assert_eq!(found("table=secret.gone").await, [7]);
    assert_eq!(found("table=public.orders&limit=2").await, [4, 5]);
    assert_eq!(found("table=public.orders&actor=nobody").await, [0_u64; 0]);
    assert_eq!(found("table=public.nothing").await, [0_u64; 0]);
    let path = "/v1/audit?access=read";
    let refused = installation.ask(OWNER, "GET", path, Value::Null).await.refusal();
    assert_eq!(refused, (400, "PC2004".to_owned()));
}

#[tokio::test]
async fn what_a_statement_affected_is_said_with_what_is_doubtful() {
    let (installation, session) = tables().await;
    let affected = async |number: u64| {
        let path = format!("/v1/audit/statements/{session}/{number}");
        let story = installation.ask(AUDITOR, "GET", &path, Value::Null).await.ok();
        assert_eq!(story["statement"]["number"], number);
        assert_eq!(story["outcome"]["number"], number);
        story["affected"].clone()
    };
    assert_eq!(
        affected(1).await,
        json!({"read": ["public.orders"], "written": [], "complete": true})
    );
    let because =
        ["`other.orders` was not looked up in the catalogue", "`public.orders` has triggers"];
    assert_eq!(
        affected(2).await,
        json!({"read": ["other.orders"], "written": ["public.orders"], "complete": false, "because": because})
    );
    let because = ["FETCH reads what an earlier DECLARE said"];
    assert_eq!(
        affected(3).await,
        json!({"read": ["public.orders"], "written": [], "complete": false, "because": because})
    );
    let because = ["`public.totals` is a view"];
    assert_eq!(
        affected(4).await,
        json!({"read": ["public.orders", "public.totals"], "written": [], "complete": false, "because": because})
    );
    let because = ["table 99 has no name in the log yet", "the schema of `gone` is not known"];
    assert_eq!(
        affected(7).await,
        json!({"read": ["gone"], "written": [], "complete": false, "because": because})
    );
    let path = format!("/v1/audit/statements/{session}/8");
    let unknown = installation.ask(AUDITOR, "GET", &path, Value::Null).await.refusal();
    assert_eq!(unknown, (404, code::NOT_FOUND.id.to_owned()));
    let forbidden = installation.ask(DEV, "GET", &path, Value::Null).await.refusal();
    assert_eq!(forbidden, (403, code::FORBIDDEN.id.to_owned()));
}
