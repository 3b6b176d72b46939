//! The device code flow, from the device's and from the person's side.

use serde_json::{Value, json};

use crate::fixture::{
    Answer, CLIENT, DATABASE_SCOPE, DEV, DEVICE_GRANT, Machine, ORIGIN, Sts, claims,
};

const SCOPE: &str =
    "https://ossrdbms-aad.database.windows.net/.default offline_access openid profile";

async fn begin(sts: &Sts) -> Value {
    let fields = [("client_id", CLIENT), ("scope", SCOPE)];
    sts.form("/organizations/oauth2/v2.0/devicecode", &fields).await.ok()
}

async fn poll(sts: &Sts, begun: &Value) -> Answer {
    let code = begun["device_code"].as_str().unwrap();
    // As Python sends it: under both names, without a scope.
    let fields = [
        ("grant_type", DEVICE_GRANT),
        ("client_id", CLIENT),
        ("device_code", code),
        ("code", code),
    ];
    sts.token(&fields).await
}

fn error(answer: &Answer) -> String {
    answer.refusal().1
}

#[tokio::test]
async fn a_device_waits_is_approved_and_gets_its_tokens_once() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let begun = begin(&sts).await;
    let user_code = begun["user_code"].as_str().unwrap();
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(900), &json!(5)));
    assert_eq!(begun["verification_uri"], format!("{ORIGIN}/device"));
    assert_eq!(
        begun["message"],
        format!(
            "To sign in, use a web browser to open the page {ORIGIN}/device and enter the code \
             {user_code} to authenticate."
        )
    );
    assert_eq!(error(&poll(&sts, &begun).await), "authorization_pending");
    let (start, end) = user_code.split_at(4);
    let typed = format!("{}-{end}", start.to_lowercase());
    assert_eq!(machine.decide(&typed, true).await.ok(), json!({ "outcome": "approved" }));
    let answer = poll(&sts, &begun).await.ok();
    let credential = sts.verified(answer["access_token"].as_str().unwrap());
    assert_eq!(credential.methods, ["swk", "otp", "mfa"]);
    assert_eq!(claims(&answer["id_token"])["preferred_username"], DEV);
    assert_eq!(claims(&answer["id_token"])["aud"], CLIENT);
    assert!(answer["scope"].as_str().unwrap().contains(DATABASE_SCOPE));
    assert!(answer["refresh_token"].is_string() && answer["client_info"].is_string());
    let again = poll(&sts, &begun).await;
    assert_eq!(again.refusal(), (400, "invalid_grant".to_owned(), 54_005));
    let steps: Vec<_> = sts.sign_in_events().into_iter().map(|event| event.0).collect();
    for step in ["deviceRequest", "deviceCode", "deviceApprove"] {
        assert!(steps.contains(&step.to_owned()), "{steps:?}");
    }
    let waiting = sts.token_events().into_iter().filter(|event| event.2.is_some()).count();
    assert_eq!(waiting, 1, "waiting is no event, a second use is");
}

#[tokio::test]
async fn nodes_grant_name_is_known_too() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let begun = begin(&sts).await;
    let code = begun["device_code"].as_str().unwrap();
    let fields = [
        ("grant_type", "device_code"),
        ("client_id", CLIENT),
        ("device_code", code),
        ("scope", SCOPE),
    ];
    assert_eq!(error(&sts.token(&fields).await), "authorization_pending");
    machine.decide(begun["user_code"].as_str().unwrap(), true).await.ok();
    sts.token(&fields).await.ok();
}

#[tokio::test]
async fn the_person_sees_which_client_asks_from_where_before_deciding() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let begun = begin(&sts).await;
    let body = machine.proof(&machine.code(), json!({ "userCode": begun["user_code"] })).await;
    let shown = sts.json("/signin/v1/device", &body).await.ok();
    assert_eq!(shown["client"], "Azure CLI and SDKs (public client)");
    assert_eq!(shown["clientId"], CLIENT);
    assert_eq!(shown["address"], "192.0.2.7");
    assert_eq!(shown["scope"], SCOPE);
    assert_eq!(error(&poll(&sts, &begun).await), "authorization_pending");
    // The ticket is for a look of two minutes.
    sts.forward(120);
    let late = json!({ "ticket": shown["ticket"], "approve": true });
    assert_eq!(sts.json("/signin/v1/device", &late).await.problem(), (401, "PC2021".to_owned()));
    let forged = json!({ "ticket": "e30.AAAA", "approve": true });
    assert_eq!(sts.json("/signin/v1/device", &forged).await.problem().0, 401);
}

#[tokio::test]
async fn no_is_no_and_a_decision_is_made_once() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let begun = begin(&sts).await;
    let user_code = begun["user_code"].as_str().unwrap();
    assert_eq!(machine.decide(user_code, false).await.ok(), json!({ "outcome": "denied" }));
    assert_eq!(
        poll(&sts, &begun).await.refusal(),
        (400, "authorization_declined".to_owned(), 70_018)
    );
    sts.forward(31);
    let body = machine.proof(&machine.code(), json!({ "userCode": user_code })).await;
    let again = sts.json("/signin/v1/device", &body).await;
    assert_eq!(again.problem(), (409, "PC2016".to_owned()));
}

#[tokio::test]
async fn a_code_dies_after_fifteen_minutes_on_both_sides() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let begun = begin(&sts).await;
    sts.forward(900);
    assert_eq!(poll(&sts, &begun).await.refusal(), (400, "expired_token".to_owned(), 70_020));
    let body = machine.proof(&machine.code(), json!({ "userCode": begun["user_code"] })).await;
    let answer = sts.json("/signin/v1/device", &body).await;
    assert_eq!(answer.problem(), (404, "PC2003".to_owned()));
}

#[tokio::test]
async fn polling_too_fast_is_slowed_down() {
    let sts = Sts::new().await;
    let begun = begin(&sts).await;
    assert_eq!(error(&poll(&sts, &begun).await), "authorization_pending");
    sts.forward(1);
    assert_eq!(poll(&sts, &begun).await.refusal(), (400, "slow_down".to_owned(), 70_016));
    sts.forward(6);
    assert_eq!(error(&poll(&sts, &begun).await), "authorization_pending");
}

#[tokio::test]
async fn a_device_code_is_the_devices_and_its_clients() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let begun = begin(&sts).await;
    let user_code = begun["user_code"].as_str().unwrap();
    machine.decide(user_code, true).await.ok();
    let guessed = json!({ "device_code": format!("{user_code}.AAAA") });
    assert_eq!(error(&poll(&sts, &guessed).await), "bad_verification_code");
    let client = client.to_string();
    let stolen = sts
        .token(&[
            ("grant_type", DEVICE_GRANT),
            ("client_id", &client),
            ("client_secret", &secret),
            ("device_code", begun["device_code"].as_str().unwrap()),
        ])
        .await;
    assert_eq!(error(&stolen), "bad_verification_code");
    poll(&sts, &begun).await.ok();
}

#[tokio::test]
async fn approval_ends_with_the_person_and_with_a_new_enrolment() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let begun = begin(&sts).await;
    machine.decide(begun["user_code"].as_str().unwrap(), true).await.ok();
    sts.forward(1);
    let _anew = Machine::enrolled(&sts, DEV).await;
    assert_eq!(error(&poll(&sts, &begun).await), "invalid_grant");

    let machine = Machine::enrolled(&sts, DEV).await;
    let begun = begin(&sts).await;
    machine.decide(begun["user_code"].as_str().unwrap(), true).await.ok();
    sts.put("User", DEV, json!({ "displayName": "Dev", "enabled": false })).await;
    assert_eq!(poll(&sts, &begun).await.refusal(), (400, "invalid_grant".to_owned(), 50_057));
}

#[tokio::test]
async fn only_a_client_that_exists_may_ask_and_only_for_what_exists() {
    let sts = Sts::new().await;
    let (confidential, _) = sts.with_secret("orders-api").await;
    let confidential = confidential.to_string();
    let path = "/organizations/oauth2/v2.0/devicecode";
    for (client, scope, number) in [
        ("00000000-0000-4000-8000-000000000001", SCOPE, 700_016),
        (confidential.as_str(), SCOPE, 7_000_216),
        (CLIENT, "https://vault.azure.net/.default", 500_011),
        (CLIENT, "", 90_014),
    ] {
        let refusal = sts.form(path, &[("client_id", client), ("scope", scope)]).await.refusal();
        assert_eq!(refusal.2, number, "{client} {scope}");
    }
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let fields = [("client_id", CLIENT), ("scope", DATABASE_SCOPE)];
    let begun = sts.form("/common/oauth2/v2.0/devicecode", &fields).await.ok();
    machine.decide(begun["user_code"].as_str().unwrap(), true).await.ok();
    let answer = poll(&sts, &begun).await.ok();
    assert!(answer.get("refresh_token").is_none());
}
