//! Who gets in: nobody without a token for this API, and each role no further than its verbs.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::fixture::{APPROVER, AUDITOR, CONTROL, DEV, Installation, OWNER, request};

/// What stands for the names in a route.
fn address(path: &str) -> String {
    path.replace("{kind}", "groups")
        .replace("{name}", "orders-readers")
        .replace("{id}", "0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1")
        .replace("{step}", "approve")
}

fn is_open(path: &str) -> bool {
    ["/healthz", "/readyz", "/metadata/endpoints"].contains(&path)
}

#[tokio::test]
async fn no_route_answers_without_a_token() {
    let installation = Installation::new().await;
    for route in api::ROUTES.iter().filter(|route| !is_open(route.path)) {
        let asked = request(route.method, &address(route.path), None, &json!({}));
        let refusal = installation.send(asked).await.refusal();
        assert_eq!(refusal, (401, "PC2001".to_owned()), "{route:?}");
    }
}

#[tokio::test]
async fn tokens_for_others_expired_revoked_and_forged_ones_do_not_count() {
    let installation = Installation::new().await;
    let refused = async |token: &str| {
        installation.send(request("GET", "/v1/me", Some(token), &Value::Null)).await.refusal()
    };
    let database = installation.token(DEV, "https://ossrdbms-aad.database.windows.net");
    assert_eq!(refused(&database).await, (401, "PC1106".to_owned()));
    let mut forged = installation.token(DEV, CONTROL);
    forged.truncate(forged.len() - 4);
    assert_eq!(refused(&format!("{forged}AAAA")).await, (401, "PC1103".to_owned()));
    assert_eq!(refused("no token").await, (401, "PC1102".to_owned()));
    let token = installation.token(DEV, CONTROL);
    installation.hand.advance(std::time::Duration::from_secs(3));
    installation.ask(OWNER, "POST", "/v1/tokens/revoke", json!({"principal": DEV})).await.ok();
    assert_eq!(refused(&token).await, (401, "PC1108".to_owned()));
    let token = installation.token(DEV, CONTROL);
    installation.hand.advance(std::time::Duration::from_hours(1));
    assert_eq!(refused(&token).await, (401, "PC1104".to_owned()));
}

#[tokio::test]
async fn a_disabled_person_is_refused_although_the_token_is_good() {
    let installation = Installation::new().await;
    let token = installation.token(DEV, CONTROL);
    let disabled = json!({
        "apiVersion": "portcullis.dev/v1", "kind": "User", "metadata": {"name": DEV},
        "spec": {"displayName": "Dev", "enabled": false},
    });
    installation.ask(OWNER, "PUT", &format!("/v1/users/{DEV}"), disabled).await.ok();
    let asked = request("GET", "/v1/me", Some(&token), &Value::Null);
    let (status, code) = installation.send(asked).await.refusal();
    // Their tokens are revoked with it; either is the end.
    assert!(["PC1108", "PC1111"].contains(&code.as_str()), "{status} {code}");
}

#[tokio::test]
async fn each_role_does_what_is_its_own_and_nothing_else() {
    let installation = Installation::new().await;
    let user = json!({
        "apiVersion": "portcullis.dev/v1", "kind": "Group", "metadata": {"name": "new"}, "spec": {},
    });
    let session = "0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1";
    let asked = [
        ("GET", "/v1/audit", Value::Null, vec![AUDITOR, OWNER]),
        ("GET", "/v1/audit/checkpoint", Value::Null, vec![AUDITOR, OWNER]),
        ("GET", "/v1/databaseservers/orders/enrollment", Value::Null, vec![OWNER]),
        ("PUT", "/v1/groups/new", user.clone(), vec![OWNER]),
        ("POST", "/v1/apply", json!({"documents": [user]}), vec![OWNER]),
        ("DELETE", "/v1/groups/new", Value::Null, vec![OWNER]),
        ("POST", "/v1/users/dev@example.com/pass", json!({}), vec![OWNER]),
        ("POST", "/v1/applications/orders-api/secrets", json!({"lifetime": "30d"}), vec![OWNER]),
        (
            "POST",
            "/v1/databaseservers/orders/adopt",
            json!({"user": "x", "principal": DEV}),
            vec![OWNER],
        ),
        ("POST", "/v1/sessions/cut", json!({"server": "orders"}), vec![OWNER]),
        (
            "GET",
            "/v1/explain?principal=orders-api&server=orders",
            Value::Null,
            vec![APPROVER, AUDITOR, OWNER],
        ),
    ];
    for (method, path, body, may) in asked {
        for user in [DEV, APPROVER, AUDITOR, OWNER] {
            let answer = installation.ask(user, method, path, body.clone()).await;
            let allowed = answer.status != StatusCode::FORBIDDEN;
            assert_eq!(allowed, may.contains(&user), "{user} {method} {path}: {answer:?}");
        }
    }
    let why = format!("/v1/sessions/{session}");
    let unknown = installation.ask(DEV, "GET", &why, Value::Null).await.refusal();
    assert_eq!(unknown, (404, "PC2003".to_owned()));
}

#[tokio::test]
async fn figures_are_for_this_host_and_for_those_who_read_everything() {
    let installation = Installation::new().await;
    for (user, status) in [(DEV, 403), (AUDITOR, 200)] {
        let answer = installation.ask(user, "GET", "/metrics", Value::Null).await;
        assert_eq!(answer.status.as_u16(), status, "{user}: {answer:?}");
    }
    let mut local = request("GET", "/metrics", None, &Value::Null);
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    local.extensions_mut().insert(axum::extract::ConnectInfo(here));
    assert_eq!(installation.send(local).await.text, "# EOF\n");
}

#[tokio::test]
async fn what_is_not_there_and_what_is_too_much_is_a_problem_document_too() {
    let installation = Installation::new().await;
    let not_found = (404, "PC2003".to_owned());
    for (method, path) in
        [("GET", "/v1"), ("GET", "/nothing"), ("PATCH", "/v1/groups/x"), ("GET", "/v1/gruops")]
    {
        let answer = installation.ask(OWNER, method, path, Value::Null).await;
        assert_eq!(answer.refusal(), not_found, "{method} {path}");
    }
    let typo = installation.ask(OWNER, "GET", "/v1/gruops", Value::Null).await.json();
    assert_eq!(typo["hint"], "did you mean `groups`?");
    let large = json!({"group": "x".repeat(300 << 10)});
    let refusal = installation.ask(DEV, "POST", "/v1/activations", large).await.refusal();
    assert_eq!(refusal, (413, "PC2018".to_owned()));
    let unknown = json!({"group": "orders-readers", "duratoin": "30m"});
    let answer = installation.ask(DEV, "POST", "/v1/activations", unknown).await;
    insta::assert_snapshot!(answer.json()["detail"].as_str().unwrap(), @"the body is not what is wanted here: unknown field `duratoin`, expected one of `group`, `duration`, `justification`, `ticket`, `startsAt`, `extend` at line 1 column 11");
}
