//! What is secret lies nowhere in clear: not in the store, not in the audit log.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use serde_json::json;

use crate::fixture::{CLIENT, DATABASE_SCOPE, DEV, DEVICE_GRANT, Machine, Sts};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_tenant_that_forbids_secrets_accepts_none_and_says_so_only_to_those_who_know_one() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let client = client.to_string();
    let ask = async |secret: &str| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client.as_str()),
            ("client_secret", secret),
            ("scope", DATABASE_SCOPE),
        ];
        sts.token(&fields).await
    };
    ask(&secret).await.ok();
    let tenant = json!({
        "displayName": "Example", "domains": ["example.com"], "clientSecrets": "forbidden",
    });
    sts.put("Tenant", "example.com", tenant).await;
    let refused = |number| (401, "invalid_client".to_owned(), number);
    assert_eq!(ask(&secret).await.refusal(), refused(7_000_231));
    assert_eq!(ask("wrong").await.refusal(), refused(7_000_215));
    let recorded: Vec<_> = sts.token_events().into_iter().map(|event| event.2).collect();
    let code = |text: &str| Some(text.to_owned());
    assert_eq!(recorded, [None, code("AADSTS7000231"), code("AADSTS7000215")]);
}

#[tokio::test]
async fn no_secret_is_written_in_clear() {
    let sts = Sts::new().await;
    let pass = sts.pass(DEV).await;
    let mut machine = Machine::blank(&sts, DEV);
    let enrolled = machine.enrol(&pass).await.ok();
    machine.seed =
        keys::totp::from_base32(enrolled["totpSeed"].as_str().unwrap()).unwrap().expose().clone();
    let signed_in = machine.tokens().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let workload = sts
        .token(&[
            ("grant_type", "client_credentials"),
            ("client_id", &client.to_string()),
            ("client_secret", &secret),
            ("scope", DATABASE_SCOPE),
        ])
        .await
        .ok();
    let scope = format!("{DATABASE_SCOPE} offline_access");
    let fields = [("client_id", CLIENT), ("scope", scope.as_str())];
    let begun = sts.form("/common/oauth2/v2.0/devicecode", &fields).await.ok();
    machine.decide(begun["user_code"].as_str().unwrap(), true).await.ok();
    let device_code = begun["device_code"].as_str().unwrap();
    let redeem =
        [("grant_type", DEVICE_GRANT), ("client_id", CLIENT), ("device_code", device_code)];
    let device = sts.token(&redeem).await.ok();
    let token = json!({ "token": workload["access_token"] });
    let handle = sts.json("/signin/v1/handle", &token).await.ok();

    let text = |value: &serde_json::Value| value.as_str().unwrap().as_bytes().to_vec();
    let mut secrets = vec![
        ("pass", pass.into_bytes()),
        ("client secret", secret.into_bytes()),
        ("TOTP seed", machine.seed.clone()),
        ("TOTP seed in base32", BASE32_NOPAD.encode(&machine.seed).into_bytes()),
        ("device code", device_code.split('.').nth(1).unwrap().as_bytes().to_vec()),
        ("handle", text(&handle["handle"])),
    ];
    for (whose, answer) in [("person", &signed_in), ("workload", &workload), ("device", &device)] {
        secrets.push((whose, text(&answer["access_token"])));
        if answer["refresh_token"].is_string() {
            secrets.push((whose, text(&answer["refresh_token"])));
        }
    }
    let files = files(sts.folder());
    let written = |text: &[u8]| {
        let holds = |file: &&PathBuf| {
            fs::read(file).unwrap().windows(text.len()).any(|window| window == text)
        };
        files.iter().find(holds)
    };
    assert!(written(DEV.as_bytes()).is_some(), "what is not secret is found");
    for (what, secret) in &secrets {
        assert_eq!(written(secret), None, "the {what}");
    }
}
