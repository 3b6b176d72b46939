//! Refresh tokens: rotated, per person and client, and dead when they should be.

use serde_json::{Value, json};

use crate::fixture::{Answer, CLIENT, DATABASE_SCOPE, DEV, Machine, Sts, claims};

async fn refresh(sts: &Sts, token: &Value, scope: &str) -> Answer {
    let token = token.as_str().unwrap();
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", token),
        ("scope", scope),
        ("client_info", "1"),
    ];
    sts.token(&fields).await
}

#[tokio::test]
async fn a_refresh_token_is_good_for_any_resource_and_is_replaced_at_every_use() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let first = machine.tokens().await;
    let second = refresh(&sts, &first["refresh_token"], DATABASE_SCOPE).await.ok();
    let credential = sts.verified(second["access_token"].as_str().unwrap());
    assert_eq!(credential.methods, ["swk", "otp", "mfa"]);
    let third = refresh(&sts, &second["refresh_token"], "api://portcullis/.default").await.ok();
    assert_eq!(claims(&third["access_token"])["aud"], "api://portcullis");
    let sid = |answer: &Value| claims(&answer["access_token"])["sid"].clone();
    assert_eq!((sid(&second), sid(&third)), (sid(&first), sid(&first)));
    let tokens = [&first, &second, &third].map(|answer| answer["refresh_token"].clone());
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
}

#[tokio::test]
async fn a_second_use_shows_that_a_token_was_copied_and_ends_the_family() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let first = machine.tokens().await;
    let second = refresh(&sts, &first["refresh_token"], DATABASE_SCOPE).await.ok();
    let reused = refresh(&sts, &first["refresh_token"], DATABASE_SCOPE).await;
    assert_eq!(reused.refusal(), (400, "invalid_grant".to_owned(), 50_173));
    let heir = refresh(&sts, &second["refresh_token"], DATABASE_SCOPE).await;
    assert_eq!(heir.refusal(), (400, "invalid_grant".to_owned(), 50_173));
    assert_eq!(heir.json()["suberror"], "bad_token");
    let other = machine.tokens().await;
    refresh(&sts, &other["refresh_token"], DATABASE_SCOPE).await.ok();
    let refused = sts.token_events().into_iter().filter(|event| event.2.is_some());
    assert_eq!(refused.map(|event| event.1).next(), Some(DEV.to_owned()), "and says whose");
}

#[tokio::test]
async fn of_two_who_present_it_at_the_same_moment_one_is_served() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let first = machine.tokens().await;
    let token = &first["refresh_token"];
    let (one, two) =
        tokio::join!(refresh(&sts, token, DATABASE_SCOPE), refresh(&sts, token, DATABASE_SCOPE));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[tokio::test]
async fn a_refresh_token_lives_twelve_hours_from_the_sign_in_however_often_it_is_used() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let mut token = machine.tokens().await["refresh_token"].clone();
    for _ in 0..11 {
        sts.forward(60 * 60);
        token = refresh(&sts, &token, DATABASE_SCOPE).await.ok()["refresh_token"].clone();
    }
    sts.forward(60 * 60);
    let late = refresh(&sts, &token, DATABASE_SCOPE).await;
    assert_eq!(late.refusal(), (400, "invalid_grant".to_owned(), 700_082));
    assert_eq!(late.json()["suberror"], "token_expired");
}

#[tokio::test]
async fn a_refresh_token_ends_with_the_person() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let token = machine.tokens().await["refresh_token"].clone();
    let disabled = json!({ "displayName": "Dev", "enabled": false });
    sts.put("User", DEV, disabled).await;
    let refusal = refresh(&sts, &token, DATABASE_SCOPE).await.refusal();
    assert_eq!((refusal.0, refusal.1.as_str()), (400, "invalid_grant"));
    sts.put("User", DEV, json!({ "displayName": "Dev" })).await;
    let refusal = refresh(&sts, &token, DATABASE_SCOPE).await.refusal();
    assert_eq!(refusal, (400, "invalid_grant".to_owned(), 50_173), "and does not come back");
}

#[tokio::test]
async fn a_refresh_token_ends_when_all_tokens_are_revoked() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let token = machine.tokens().await["refresh_token"].clone();
    sts.forward(1);
    let person = sts.control.snapshots().load().users.get(DEV).unwrap().uid();
    let everything = control::Revoke::Principal(model::PrincipalId(person));
    sts.control.revoke_tokens(&sts.owner(), everything, None).await.unwrap();
    let refusal = refresh(&sts, &token, DATABASE_SCOPE).await.refusal();
    assert_eq!(refusal, (400, "invalid_grant".to_owned(), 50_173));
    machine.tokens().await;
}

#[tokio::test]
async fn a_refresh_token_is_its_clients_and_what_is_none_is_refused() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let token = machine.tokens().await["refresh_token"].clone();
    let (client, secret) = sts.with_secret("orders-api").await;
    let client = client.to_string();
    let stolen = sts
        .token(&[
            ("grant_type", "refresh_token"),
            ("client_id", &client),
            ("client_secret", &secret),
            ("refresh_token", token.as_str().unwrap()),
            ("scope", DATABASE_SCOPE),
        ])
        .await;
    assert_eq!(stolen.refusal(), (400, "invalid_grant".to_owned(), 700_007));
    let malformed = refresh(&sts, &json!("pcr_x"), DATABASE_SCOPE).await;
    assert_eq!(malformed.refusal(), (400, "invalid_grant".to_owned(), 9_002_313));
    let unknown = refresh(&sts, &json!(format!("pcr_{}", "A".repeat(64))), DATABASE_SCOPE).await;
    assert_eq!(unknown.refusal(), (400, "invalid_grant".to_owned(), 50_173));
    let scope = "https://vault.azure.net/.default";
    assert_eq!(refresh(&sts, &token, scope).await.refusal().2, 500_011);
    refresh(&sts, &token, DATABASE_SCOPE).await.ok();
}
