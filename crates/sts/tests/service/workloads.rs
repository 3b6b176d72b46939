//! Client credentials by secret.

use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::event::EventBody;
use serde_json::json;

use crate::fixture::{CLIENT, DATABASE_SCOPE, ORIGIN, Sts, claims, encoded};

fn asking<'a>(client: &'a str, secret: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_secret", secret),
        ("scope", DATABASE_SCOPE),
    ]
}

#[tokio::test]
async fn a_secret_gets_a_database_token_that_the_gateway_accepts() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let client = client.to_string();
    let mut fields = asking(&client, &secret);
    // What MSAL for Node adds to the form.
    fields.extend([("client_info", "1"), ("x-client-SKU", "msal.js.node"), ("claims", "{}")]);
    let answer = sts.token(&fields).await.ok();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!((&answer["expires_in"], &answer["ext_expires_in"]), (&json!(3599), &json!(3599)));
    for absent in ["refresh_token", "id_token", "client_info", "scope"] {
        assert!(answer.get(absent).is_none(), "{absent}");
    }
    let token = answer["access_token"].as_str().unwrap();
    assert!(token.len() < 4096);
    let credential = sts.verified(token);
    let application = sts.control.snapshots().load().applications.get("orders-api").unwrap().uid();
    assert_eq!(credential.principal.0, application);
    let claims = claims(&answer["access_token"]);
    assert_eq!(claims["iss"], format!("{ORIGIN}/{}/v2.0", sts.tenant()));
    assert_eq!((&claims["idtyp"], &claims["appidacr"]), (&json!("app"), &json!("1")));
    assert_eq!(claims["appid"], client);
    assert_eq!(
        sts.token_events(),
        [("client_credentials".to_owned(), "orders-api".to_owned(), None)]
    );
}

#[tokio::test]
async fn each_refusal_has_entras_status_error_and_number_and_a_record() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let client = client.to_string();
    let unknown = "00000000-0000-4000-8000-000000000001";
    let with = |name: &str, value: &str| {
        let mut fields: Vec<(String, String)> = asking(&client, &secret)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        fields.retain(|(known, _)| known != name);
        fields.push((name.to_owned(), value.to_owned()));
        fields
    };
    for (fields, status, error, number) in [
        (with("client_secret", "wrong"), 401, "invalid_client", 7_000_215),
        (with("client_secret", ""), 401, "invalid_client", 7_000_216),
        (with("client_id", unknown), 400, "unauthorized_client", 700_016),
        (with("client_id", "orders-api"), 400, "unauthorized_client", 700_016),
        (with("client_id", CLIENT), 400, "unauthorized_client", 700_016),
        (with("client_id", ""), 400, "invalid_request", 900_144),
        (with("grant_type", ""), 400, "invalid_request", 900_144),
        (with("grant_type", "password"), 400, "unsupported_grant_type", 70_003),
        (with("scope", ""), 400, "invalid_request", 90_014),
        (
            with("scope", "https://ossrdbms-aad.database.windows.net"),
            400,
            "invalid_scope",
            1_002_012,
        ),
        (with("scope", "https://vault.azure.net/.default"), 400, "invalid_resource", 500_011),
    ] {
        let before = sts.token_events().len();
        let pairs: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = sts.token(&pairs).await;
        assert_eq!(answer.refusal(), (status, error.to_owned(), number), "{fields:?}");
        let text = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
        assert!(!answer.text.contains('\\') && !text.contains(&secret), "{text}");
        let events = sts.token_events();
        assert_eq!(events.len(), before + 1);
        assert_eq!(events[before].2, Some(format!("AADSTS{number}")));
    }
    // A 400 that can be repaired is not kept by MSAL for Python.
    let fields = with("client_id", unknown);
    let pairs: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(sts.token(&pairs).await.headers["retry-after"], "1");
}

#[tokio::test]
async fn an_expired_secret_is_told_apart_from_a_wrong_one() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    sts.forward(86_399);
    let client = client.to_string();
    sts.token(&asking(&client, &secret)).await.ok();
    sts.forward(1);
    let refusal = sts.token(&asking(&client, &secret)).await.refusal();
    assert_eq!(refusal, (401, "invalid_client".to_owned(), 7_000_222));
}

#[tokio::test]
async fn a_disabled_application_gets_nothing() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    sts.put("Application", "orders-api", json!({ "displayName": "x", "enabled": false })).await;
    let client = client.to_string();
    let refusal = sts.token(&asking(&client, &secret)).await.refusal();
    assert_eq!(refusal, (400, "unauthorized_client".to_owned(), 7_000_112));
    let refusal = sts.token(&asking(&client, "wrong")).await.refusal();
    assert_eq!(refusal.2, 7_000_215, "who has no credential is not told");
}

#[tokio::test]
async fn http_basic_carries_id_and_secret_form_encoded() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let percent = |text: &str| {
        text.bytes().fold(String::new(), |written, byte| format!("{written}%{byte:02x}"))
    };
    let basic = STANDARD.encode(format!("{}:{}", percent(&client.to_string()), percent(&secret)));
    let fields = [("grant_type", "client_credentials"), ("scope", DATABASE_SCOPE)];
    let request = |basic: &str| {
        Request::post("/common/oauth2/v2.0/token")
            .header("authorization", format!("Basic {basic}"))
            .body(Body::from(encoded(&fields)))
            .unwrap()
    };
    sts.ask(request(&basic)).await.ok();
    let wrong = STANDARD.encode(format!("{client}:wrong"));
    let refusal = sts.ask(request(&wrong)).await.refusal();
    assert_eq!(refusal, (401, "invalid_client".to_owned(), 7_000_215));
}

#[tokio::test]
async fn v1_takes_a_resource_and_answers_in_texts() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let client = client.to_string();
    for resource in
        ["https://ossrdbms-aad.database.windows.net", "https://ossrdbms-aad.database.windows.net/"]
    {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client.as_str()),
            ("client_secret", secret.as_str()),
            ("resource", resource),
        ];
        let answer = sts.form("/example.com/oauth2/token", &fields).await.ok();
        assert_eq!(
            (&answer["expires_in"], &answer["resource"]),
            (&json!("3599"), &json!(resource))
        );
        assert_eq!(answer["expires_on"], "1795518000");
        assert_eq!(claims(&answer["access_token"])["aud"], resource);
        sts.verified(answer["access_token"].as_str().unwrap());
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_next_is_served() {
    let sts = Sts::new().await;
    let path = "/common/oauth2/v2.0/token";
    let send = |body: Vec<u8>| Request::post(path).body(Body::from(body)).unwrap();
    let refusal = sts.ask(send(vec![b'a'; 65 * 1024])).await.refusal();
    assert_eq!(refusal, (413, "invalid_request".to_owned(), 90_013));
    let refusal = sts.ask(send(b"grant_type=%zz".to_vec())).await.refusal();
    assert_eq!(refusal, (400, "invalid_request".to_owned(), 90_013));
    let refusal = sts.ask(send(b"client_id=a&client_id=b".to_vec())).await.refusal();
    assert_eq!(refusal, (400, "invalid_request".to_owned(), 9_000_411));
    let refusal = sts.get(path).await;
    assert_eq!(refusal.headers["allow"], "POST");
    assert_eq!(refusal.refusal(), (405, "invalid_request".to_owned(), 900_561));
    let (client, secret) = sts.with_secret("orders-api").await;
    sts.token(&asking(&client.to_string(), &secret)).await.ok();
}

#[tokio::test]
async fn only_who_has_proved_it_is_the_actor_of_a_record() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let client = client.to_string();
    sts.token(&asking(&client, "wrong")).await;
    let mut fields = asking(&client, &secret);
    fields.retain(|(name, _)| *name != "scope");
    sts.token(&fields).await;
    let actors: Vec<_> = sts
        .events()
        .into_iter()
        .filter_map(|event| match event {
            EventBody::Token { actor, .. } => Some((actor.name, actor.id.is_some())),
            _ => None,
        })
        .collect();
    let name = "orders-api".to_owned();
    assert_eq!(actors, [(name.clone(), false), (name, true)]);
}
