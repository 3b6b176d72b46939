//! Machines: joining, renewing, and the tokens of their workloads.

use axum::http::StatusCode;
use keys::HostKey;
use model::Kind;
use model::event::EventBody;
use serde_json::{Value, json};

use crate::fixture::{Answer, Sts, claims};

const RESOURCE: &str = "https://ossrdbms-aad.database.windows.net";

/// A machine that has joined as `web-1`.
struct Machine {
    certificate: String,
    key: HostKey,
}

async fn directory(sts: &Sts) {
    sts.put("ManagedIdentity", "orders", json!({ "displayName": "Orders" })).await;
    sts.put("ManagedIdentity", "billing", json!({ "displayName": "Billing" })).await;
    sts.put("Host", "web-1", host(true)).await;
}

fn host(enabled: bool) -> Value {
    json!({
        "displayName": "Web", "enabled": enabled,
        "identities": [
            { "identity": "orders", "callers": [{ "uid": 1001 }] },
            { "identity": "billing", "callers": [{ "uid": 1002, "cgroup": "/billing" }] },
        ],
    })
}

async fn join_token(sts: &Sts) -> String {
    let issued = sts.control.issue_join_token(&sts.owner(), "web-1".parse().unwrap()).await;
    issued.unwrap().0.expose().clone()
}

async fn join(sts: &Sts, host: &str, token: &str, key: &HostKey) -> Answer {
    let request = key.request().unwrap();
    let body = json!({ "host": host, "token": token, "request": request });
    sts.json("/host/v1/join", &body).await
}

async fn joined(sts: &Sts) -> Machine {
    let (token, key) = (join_token(sts).await, HostKey::generate().unwrap());
    let answer = join(sts, "web-1", &token, &key).await.ok();
    assert_eq!(answer["address"], "https://hosts.test:8444");
    Machine { certificate: answer["certificate"].as_str().unwrap().to_owned(), key }
}

impl Machine {
    async fn token(&self, sts: &Sts, uid: u32, selector: Value) -> Answer {
        self.ask(sts, RESOURCE, uid, selector).await
    }

    async fn ask(&self, sts: &Sts, resource: &str, uid: u32, selector: Value) -> Answer {
        let callers = json!([{ "uid": uid, "cgroup": "/billing/worker" }]);
        let body = json!({ "selector": selector, "resource": resource, "callers": callers });
        sts.ask_as_host(Some(&self.certificate), "/host/v1/token", &body).await
    }

    async fn renew(&self, sts: &Sts) -> Answer {
        sts.ask_as_host(Some(&self.certificate), "/host/v1/renew", &json!({})).await
    }
}

fn steps(sts: &Sts) -> Vec<(String, Option<String>)> {
    let events = sts.sign_in_events().into_iter();
    events
        .map(|(step, _, code)| (step, code))
        .filter(|(step, _)| step.starts_with("host"))
        .collect()
}

#[tokio::test]
async fn a_machine_joins_once_with_a_token_and_its_key() {
    let sts = Sts::new().await;
    directory(&sts).await;
    let former = join_token(&sts).await;
    let token = join_token(&sts).await;
    let key = HostKey::generate().unwrap();
    let failed = (401, "PC2030".to_owned());
    assert_eq!(join(&sts, "web-1", &former, &key).await.problem(), failed);
    assert_eq!(join(&sts, "web-2", &token, &key).await.problem(), failed);
    let answer = join(&sts, "web-1", &token, &key).await.ok();
    assert_eq!(answer["notAfter"], "2026-11-25T10:00:00Z");
    let status = sts.control.snapshots().load().hosts.get("web-1").unwrap().status.clone();
    assert_eq!(status.key_thumbprint, Some(key.public().thumbprint()));
    // Used up, for the same key and for another.
    assert_eq!(join(&sts, "web-1", &token, &key).await.problem(), failed);
    assert_eq!(join(&sts, "web-1", &token, &HostKey::generate().unwrap()).await.problem(), failed);
    let code = Some("PC2030".to_owned());
    let step = |code: &Option<String>| ("hostJoin".to_owned(), code.clone());
    let recorded = [&code, &code, &None, &code, &code].map(step);
    assert_eq!(steps(&sts), recorded);
}

#[tokio::test]
async fn a_join_token_lives_an_hour_and_a_key_joins_once() {
    let sts = Sts::new().await;
    directory(&sts).await;
    let token = join_token(&sts).await;
    sts.forward(3_600);
    let key = HostKey::generate().unwrap();
    assert_eq!(join(&sts, "web-1", &token, &key).await.problem().1, "PC2030");
    let machine = joined(&sts).await;
    let again = join_token(&sts).await;
    assert_eq!(join(&sts, "web-1", &again, &machine.key).await.problem().1, "PC2030");
    let malformed = json!({ "host": "web-1", "token": again, "request": "no request" });
    assert_eq!(sts.json("/host/v1/join", &malformed).await.problem().1, "PC2004");
}

#[tokio::test]
async fn a_host_renews_until_its_certificate_has_lapsed() {
    let sts = Sts::new().await;
    directory(&sts).await;
    let mut machine = joined(&sts).await;
    sts.forward(12 * 3_600);
    let renewed = machine.renew(&sts).await.ok();
    assert_eq!(renewed["notAfter"], "2026-11-25T22:00:00Z");
    sts.forward(12 * 3_600);
    let lapsed = (401, "PC2031".to_owned());
    assert_eq!(machine.renew(&sts).await.problem(), lapsed);
    assert_eq!(machine.token(&sts, 1001, Value::Null).await.problem(), lapsed);
    machine.certificate = renewed["certificate"].as_str().unwrap().to_owned();
    machine.token(&sts, 1001, Value::Null).await.ok();
    sts.forward(12 * 3_600);
    assert_eq!(machine.renew(&sts).await.problem(), lapsed);
}

#[tokio::test]
async fn a_host_that_joined_anew_was_disabled_or_is_gone_has_nothing_left() {
    let sts = Sts::new().await;
    directory(&sts).await;
    let former = joined(&sts).await;
    let machine = joined(&sts).await;
    let refused = (401, "PC2031".to_owned());
    assert_eq!(former.renew(&sts).await.problem(), refused);
    assert_eq!(former.token(&sts, 1001, Value::Null).await.problem(), refused);
    sts.put("Host", "web-1", host(false)).await;
    assert_eq!(machine.renew(&sts).await.problem(), refused);
    assert_eq!(machine.token(&sts, 1001, Value::Null).await.problem(), refused);
    let issued = sts.control.issue_join_token(&sts.owner(), "web-1".parse().unwrap()).await;
    assert_eq!(issued.unwrap_err().code.id, "PC2031");
    sts.put("Host", "web-1", host(true)).await;
    machine.renew(&sts).await.ok();
    sts.control.delete(&sts.owner(), Kind::Host, "web-1").await.unwrap();
    directory(&sts).await;
    assert_eq!(machine.renew(&sts).await.problem(), refused);
    let nothing = sts.ask_as_host(None, "/host/v1/renew", &json!({})).await;
    assert_eq!(nothing.problem(), refused);
}

#[tokio::test]
async fn a_process_gets_a_token_of_the_identity_that_it_may_be() {
    let sts = Sts::new().await;
    directory(&sts).await;
    let machine = joined(&sts).await;
    let answer = machine.token(&sts, 1001, Value::Null).await.ok();
    for member in ["access_token", "expires_in", "expires_on", "not_before", "resource"] {
        assert!(answer[member].is_string(), "{member}: {answer}");
    }
    let state = sts.control.snapshots().load();
    let orders = state.managed_identities.get("orders").unwrap();
    let said = claims(&answer["access_token"]);
    assert_eq!(said["oid"], json!(orders.uid()));
    assert_eq!(said["appidacr"], "2");
    assert_eq!(said["xms_mirid"], json!(orders.status.resource_id));
    assert_eq!(answer["client_id"], said["appid"]);
    sts.verified(answer["access_token"].as_str().unwrap());
    let credential = sts.events().into_iter().rev().find_map(|event| match event {
        EventBody::Token { actor, credential, .. } => Some((actor.name, credential.unwrap())),
        _ => None,
    });
    let caller = "host web-1: uid 1001 in /billing/worker of network unnamed".to_owned();
    assert_eq!(credential, Some(("orders".to_owned(), caller)));

    let billing = state.managed_identities.get("billing").unwrap();
    let selector = json!({ "objectId": billing.uid() });
    machine.token(&sts, 1002, selector.clone()).await.ok();
    let not_found = (403, "PC2032".to_owned());
    assert_eq!(machine.token(&sts, 1001, selector).await.problem(), not_found);
    assert_eq!(machine.token(&sts, 1003, Value::Null).await.problem(), not_found);
    let other = machine.ask(&sts, "https://vault.azure.net", 1001, Value::Null).await;
    assert_eq!(other.problem(), (400, "PC2034".to_owned()));
    let refused = sts.token_events().into_iter().filter_map(|(grant, actor, code)| {
        (grant == "managed_identity" && actor == "Host/web-1").then(|| code.unwrap())
    });
    assert_eq!(refused.collect::<Vec<_>>(), ["PC2032", "PC2032", "PC2034"]);
    // Certificates count at the hosts' own address only, and nothing else is there.
    let body = json!({ "resource": RESOURCE, "callers": [] });
    assert_eq!(sts.json("/host/v1/token", &body).await.status, StatusCode::NOT_FOUND);
}
