//! Federated credentials: other issuers' tokens, and issuers that are away, rotate or lie.

use model::ApplicationId;
use model::event::{EventBody, Outcome};
use runtime::config::{Federation, TrustedIssuer};
use serde_json::{Value, json};
use testkit::issuer::{Behaviour, Issuer};

use crate::fixture::{Answer, DATABASE_SCOPE, Sts, claims};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SUBJECT: &str = "system:serviceaccount:shop:orders";
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// An installation, an issuer that its operator lets it reach, and a managed identity that trusts one of its subjects.
struct Setting {
    sts: Sts,
    issuer: Issuer,
    client: ApplicationId,
    _folder: tempfile::TempDir,
}

impl Setting {
    async fn new() -> Self {
        Self::with(|trusted| trusted).await
    }

    async fn with(change: impl FnOnce(TrustedIssuer) -> TrustedIssuer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::start(folder.path()).unwrap();
        let trusted = TrustedIssuer {
            issuer: issuer.url.clone(),
            networks: vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
            ca: Some(issuer.ca()),
            keys: None,
        };
        let issuers = vec![change(trusted)];
        let sts = Sts::federated(Federation { issuers, ..Federation::default() }).await;
        let credential = json!({ "name": "cluster", "issuer": issuer.url, "subject": SUBJECT });
        let client = identity(&sts, &[credential]).await;
        Self { sts, issuer, client, _folder: folder }
    }

    fn claims(&self) -> Value {
        let now = self.sts.clock.now().seconds();
        json!({
            "iss": self.issuer.url, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now,
            "exp": now + 3600, "jti": "t-1", "kubernetes.io": { "namespace": "shop" },
        })
    }

    fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[name] = value;
        self.issuer.sign(&claims).unwrap()
    }

    fn token(&self) -> String {
        self.issuer.sign(&self.claims()).unwrap()
    }

    async fn present(&self, assertion: &str) -> Answer {
        present(&self.sts, self.client, assertion).await
    }
}

/// A managed identity with these credentials; its client id.
async fn identity(sts: &Sts, credentials: &[Value]) -> ApplicationId {
    let spec = json!({ "displayName": "Orders", "federatedCredentials": credentials });
    sts.put("ManagedIdentity", "orders-job", spec).await;
    let state = sts.control.snapshots().load();
    state.managed_identities.get("orders-job").unwrap().status.client_id.unwrap()
}

async fn present(sts: &Sts, client: ApplicationId, assertion: &str) -> Answer {
    let client = client.to_string();
    sts.token(&[
        ("grant_type", "client_credentials"),
        ("client_id", &client),
        ("scope", DATABASE_SCOPE),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ])
    .await
}

fn refused(number: i64) -> (u16, String, i64) {
    (401, "invalid_client".to_owned(), number)
}

fn away() -> (u16, String, i64) {
    (400, "temporarily_unavailable".to_owned(), 50_166)
}

#[tokio::test]
async fn a_clusters_token_is_exchanged_as_often_as_it_is_shown_and_the_record_says_whose_it_was() {
    let setting = Setting::new().await;
    let token = setting.token();
    for _ in 0..2 {
        let answer = setting.present(&token).await.ok();
        let ours = &answer["access_token"];
        setting.sts.verified(ours.as_str().unwrap());
        let claims = claims(ours);
        assert_eq!((&claims["idtyp"], &claims["appidacr"]), (&json!("app"), &json!("2")));
        let tenant = setting.sts.tenant();
        let within = "Microsoft.ManagedIdentity/userAssignedIdentities/orders-job";
        let id = format!("/subscriptions/{tenant}/resourcegroups/portcullis/providers/{within}");
        assert_eq!(claims["xms_mirid"], id);
    }
    assert_eq!(setting.issuer.keys_asked(), 1);
    // The audience as text, as other issuers write it.
    setting.present(&setting.with_claim("aud", json!(AUDIENCE))).await.ok();
    let credentials: Vec<_> = setting
        .sts
        .events()
        .into_iter()
        .filter_map(|event| match event {
            EventBody::Token { credential, outcome: Outcome::Succeeded, actor, .. } => {
                Some((actor.name, credential.unwrap()))
            }
            _ => None,
        })
        .collect();
    let expected =
        ("orders-job".to_owned(), format!("federated cluster: {} {SUBJECT}", setting.issuer.url));
    assert_eq!(credentials, vec![expected; 3]);
}

#[tokio::test]
async fn what_matches_no_credential_is_refused_with_entras_number_before_anyone_is_asked() {
    let setting = Setting::new().await;
    let url = &setting.issuer.url;
    for (claim, value, number) in [
        ("iss", json!(format!("{url}/")), 700_211),
        ("iss", json!(url.to_uppercase()), 700_211),
        ("iss", json!("https://issuer.example.com"), 700_211),
        ("sub", json!(SUBJECT.to_uppercase()), 700_213),
        ("sub", json!("system:serviceaccount:shop:other"), 700_213),
        ("sub", json!(["system:serviceaccount:shop:orders"]), 700_213),
        ("sub", Value::Null, 700_213),
        ("aud", json!("api://azureadtokenexchange"), 700_212),
        ("aud", json!(["api://other", "x"]), 700_212),
        ("aud", json!({ "a": AUDIENCE }), 700_212),
        ("aud", json!([]), 700_212),
    ] {
        let answer = setting.present(&setting.with_claim(claim, value.clone())).await;
        assert_eq!(answer.refusal(), refused(number), "{claim}: {value}");
    }
    assert_eq!(setting.issuer.keys_asked(), 0);
    let events = setting.sts.token_events();
    assert_eq!(events.len(), 11);
    assert!(events.iter().all(|(_, actor, _)| actor == "orders-job"));
    assert_eq!(events[0].2.as_deref(), Some("AADSTS700211"));
    assert_eq!(events[10].2.as_deref(), Some("AADSTS700212"));
}

#[tokio::test]
async fn a_credential_is_its_workloads_alone() {
    let setting = Setting::new().await;
    let other = setting.sts.application("orders-api", &[]).await;
    let answer = present(&setting.sts, other, &setting.token()).await;
    assert_eq!(answer.refusal(), refused(700_211));
    let spec = json!({
        "displayName": "Orders", "enabled": false,
        "federatedCredentials":
            [{ "name": "cluster", "issuer": setting.issuer.url, "subject": SUBJECT }],
    });
    setting.sts.put("ManagedIdentity", "orders-job", spec).await;
    let answer = setting.present(&setting.token()).await;
    assert_eq!(answer.refusal(), (400, "unauthorized_client".to_owned(), 7_000_112));
}

#[tokio::test]
async fn what_the_issuer_did_not_sign_so_and_now_does_not_count() {
    let setting = Setting::new().await;
    let now = setting.sts.clock.now().seconds();
    let claims = setting.claims().to_string();
    let kid = setting.issuer.kid();
    let signed_as = |header: Value| setting.issuer.sign_as(&header, &claims).unwrap();
    let stranger_folder = tempfile::tempdir().unwrap();
    let stranger = Issuer::start(stranger_folder.path()).unwrap();
    let header = json!({ "alg": "RS256", "kid": kid });
    let same_kid = stranger.sign_as(&header, &claims).unwrap();
    let own_key = json!({
        "alg": "RS256", "kid": stranger.kid(), "jwk": stranger.key_set()["keys"][0],
        "jku": format!("{}/keys", stranger.url), "x5u": format!("{}/keys", stranger.url),
    });
    let twice = claims.replacen('{', &format!("{{\"sub\":\"{SUBJECT}\","), 1);
    let deep = format!("{}{}", "[".repeat(4_000), "]".repeat(4_000));
    let bomb = claims.replacen('{', &format!("{{\"x\":{deep},"), 1);
    let unsigned = {
        let token = signed_as(json!({ "alg": "none" }));
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };
    for (assertion, number, case) in [
        (same_kid, 50_013, "another issuer's signature under the same key id"),
        (stranger.sign_as(&own_key, &claims).unwrap(), 50_013, "keys named by the sender"),
        (unsigned, 50_013, "no signature"),
        (signed_as(json!({ "alg": "HS256", "kid": kid })), 50_013, "a secret's algorithm"),
        (signed_as(json!({ "alg": "PS256", "kid": kid })), 50_013, "another algorithm of the key"),
        (
            signed_as(json!({ "alg": "RS256", "kid": "../../etc/passwd" })),
            50_013,
            "a made-up key id",
        ),
        (
            signed_as(json!({ "alg": "RS256", "kid": kid, "crit": ["b64"], "b64": false })),
            50_027,
            "a critical extension",
        ),
        (setting.issuer.sign_as(&header, &twice).unwrap(), 50_027, "a claim twice"),
        (setting.issuer.sign_as(&header, &bomb).unwrap(), 50_027, "claims that nest too deep"),
        (setting.with_claim("x", json!("x".repeat(13_000))), 50_027, "too long"),
        ("a.b.c".to_owned(), 50_027, "no token"),
        (setting.with_claim("exp", json!(now - 301)), 700_024, "expired"),
        (setting.with_claim("exp", json!("soon")), 700_024, "an end that is no number"),
        (setting.with_claim("exp", Value::Null), 700_024, "no end"),
        (setting.with_claim("nbf", json!(now + 400)), 700_024, "not valid yet"),
        (setting.with_claim("iat", json!(now + 400)), 700_024, "issued in the future"),
        (setting.with_claim("iat", json!(now - 86_400 - 301)), 700_024, "shown after its window"),
    ] {
        assert_eq!(setting.present(&assertion).await.refusal(), refused(number), "{case}");
        setting.sts.forward(1); // refusals of one address have a budget
    }
    let endless = {
        let mut claims = setting.claims();
        claims.as_object_mut().unwrap().remove("iat");
        claims["exp"] = json!(now + 2 * 86_400);
        setting.issuer.sign(&claims).unwrap()
    };
    assert_eq!(setting.present(&endless).await.refusal(), refused(700_024));
    let recorded: Vec<_> = setting.sts.token_events().into_iter().filter_map(|it| it.2).collect();
    assert_eq!(recorded.len(), 18);
    setting.present(&setting.with_claim("exp", json!(now - 200))).await.ok();
    setting.present(&setting.with_claim("nbf", json!(now + 299))).await.ok();
}

#[tokio::test]
async fn an_expression_matches_what_one_subject_cannot_say() {
    let setting = Setting::new().await;
    let expression = "claims['sub'] matches 'repo:contoso/app:ref:refs/heads/*' and claims['ref_type'] eq 'branch'";
    let credential = json!({
        "name": "workflow", "issuer": setting.issuer.url, "claimsMatchingExpression": expression,
    });
    identity(&setting.sts, &[credential]).await;
    let workflow = |sub: &str, kind: &str| {
        let mut claims = setting.claims();
        (claims["sub"], claims["ref_type"]) = (json!(sub), json!(kind));
        setting.issuer.sign(&claims).unwrap()
    };
    setting.present(&workflow("repo:contoso/app:ref:refs/heads/main", "branch")).await.ok();
    for (sub, kind) in [
        ("repo:contoso/app:ref:refs/heads/main", "tag"),
        ("repo:contoso/app2:ref:refs/heads/main", "branch"),
        ("x:repo:contoso/app:ref:refs/heads/main", "branch"),
    ] {
        assert_eq!(
            setting.present(&workflow(sub, kind)).await.refusal(),
            refused(700_213),
            "{sub}"
        );
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_seen_and_strangers_cannot_make_us_ask_often() {
    let setting = Setting::new().await;
    let former = setting.token();
    setting.present(&former).await.ok();
    setting.issuer.rotate().unwrap();
    let newer = setting.token();
    // Within the pause between two questions nothing is asked.
    assert_eq!(setting.present(&newer).await.refusal(), refused(50_013));
    assert_eq!(setting.issuer.keys_asked(), 1);
    setting.sts.forward(10);
    setting.present(&newer).await.ok();
    assert_eq!(setting.issuer.keys_asked(), 2);
    assert_eq!(setting.present(&former).await.refusal(), refused(50_013));
    let header = json!({ "alg": "RS256", "kid": "unknown" });
    let unknown = setting.issuer.sign_as(&header, &setting.claims().to_string()).unwrap();
    for _ in 0..5 {
        assert_eq!(setting.present(&unknown).await.refusal(), refused(50_013));
    }
    assert_eq!(setting.issuer.keys_asked(), 2);
    setting.sts.forward(10);
    assert_eq!(setting.present(&unknown).await.refusal(), refused(50_013));
    assert_eq!(setting.issuer.keys_asked(), 3);
    // A key that was withdrawn stops counting although nobody showed a newer one.
    setting.issuer.rotate().unwrap();
    setting.sts.forward(3_600);
    assert_eq!(setting.present(&newer).await.refusal(), refused(50_013));
}

#[tokio::test]
async fn an_issuer_that_is_away_lets_nobody_in_anew_and_its_last_keys_count_for_a_day() {
    let setting = Setting::new().await;
    setting.issuer.behave(Behaviour::Away);
    let first = setting.present(&setting.token()).await;
    assert_eq!(first.refusal(), away());
    assert_eq!(first.headers["retry-after"], "5");
    setting.issuer.behave(Behaviour::Honest);
    // Asked anew only after the pause.
    assert_eq!(setting.present(&setting.token()).await.refusal(), away());
    setting.sts.forward(10);
    setting.present(&setting.token()).await.ok();
    setting.issuer.behave(Behaviour::Away);
    setting.sts.forward(23 * 3_600);
    setting.present(&setting.token()).await.ok();
    // A key that is not known may be one that it has made since: nobody can say.
    let former = setting.issuer.kid();
    setting.issuer.rotate().unwrap();
    setting.sts.forward(10);
    assert_eq!(setting.present(&setting.token()).await.refusal(), away());
    let header = json!({ "alg": "RS256", "kid": former });
    let forged = setting.issuer.sign_as(&header, &setting.claims().to_string()).unwrap();
    assert_eq!(setting.present(&forged).await.refusal(), refused(50_013));
    setting.sts.forward(3_600);
    assert_eq!(setting.present(&forged).await.refusal(), away());
    let codes: Vec<_> =
        setting.sts.token_events().into_iter().filter_map(|event| event.2).collect();
    assert_eq!(codes.iter().filter(|code| *code == "AADSTS50166").count(), 4);
}

#[tokio::test]
async fn an_issuer_that_lies_or_sends_us_elsewhere_is_not_believed() {
    let setting = Setting::new().await;
    let metadata = "http://169.254.169.254/metadata/identity".to_owned();
    let elsewhere = TcpTrap::new();
    for (behaviour, says) in [
        (Behaviour::Claims("https://other.example.com".to_owned()), "names another issuer"),
        (Behaviour::Redirects(metadata.clone()), "with a redirect, which is not followed"),
        (Behaviour::Redirects(elsewhere.url("https")), "with a redirect, which is not followed"),
        (Behaviour::KeysAt(metadata), "the address of its keys is not one with https"),
        (Behaviour::KeysAt("https://169.254.169.254/keys".to_owned()), "its address is not public"),
        (Behaviour::KeysAt("https://[fd00:ec2::254]/keys".to_owned()), "its address is not public"),
        (Behaviour::KeysAt("https://10.0.0.1/keys".to_owned()), "its address is not public"),
        (Behaviour::KeysAt(elsewhere.url("http")), "the address of its keys is not one with https"),
        (Behaviour::KeysAt("https://a@localhost/".to_owned()), "the address of its keys"),
        (Behaviour::KeysAt("file:///etc/passwd".to_owned()), "the address of its keys"),
        (Behaviour::Endless, "too much, or broke off"),
        (Behaviour::Page, "something that is not JSON"),
        (Behaviour::NoKeys, "its keys are not usable"),
    ] {
        setting.issuer.behave(behaviour.clone());
        setting.sts.forward(10);
        let answer = setting.present(&setting.token()).await;
        assert_eq!(answer.refusal(), away(), "{behaviour:?}");
        let said = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(said.contains(says), "{behaviour:?}: {said}");
    }
    assert!(!elsewhere.was_connected_to());
    setting.issuer.behave(Behaviour::Honest);
    setting.sts.forward(10);
    setting.present(&setting.token()).await.ok();
    let codes: Vec<_> =
        setting.sts.token_events().into_iter().filter_map(|event| event.2).collect();
    assert_eq!(codes, vec!["AADSTS50166"; 13]);
}

#[tokio::test]
async fn loopback_and_strangers_certificates_are_refused_unless_the_operator_says_so() {
    for (change, says) in [
        (
            (|trusted| TrustedIssuer { networks: vec![], ..trusted }) as fn(TrustedIssuer) -> _,
            "its address is not public",
        ),
        (
            |trusted| TrustedIssuer { issuer: "https://other".to_owned(), ..trusted },
            "is not public",
        ),
        (|trusted| TrustedIssuer { ca: None, ..trusted }, "cannot be"),
        (|trusted| TrustedIssuer { ca: Some("/nowhere".into()), ..trusted }, "the operator's file"),
        (
            |trusted| TrustedIssuer { keys: Some("/nowhere".into()), ..trusted },
            "the operator's file",
        ),
    ] {
        let setting = Setting::with(change).await;
        let answer = setting.present(&setting.token()).await;
        assert_eq!(answer.refusal(), away(), "{says}");
        let said = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[tokio::test]
async fn the_operators_file_of_keys_is_used_without_a_question_and_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let keys = file.clone();
    let setting = Setting::with(move |trusted| TrustedIssuer { keys: Some(keys), ..trusted }).await;
    std::fs::write(&file, setting.issuer.key_set().to_string()).unwrap();
    setting.present(&setting.token()).await.ok();
    setting.issuer.rotate().unwrap();
    assert_eq!(setting.present(&setting.token()).await.refusal(), refused(50_013));
    std::fs::write(&file, setting.issuer.key_set().to_string()).unwrap();
    let later = std::fs::metadata(&file).unwrap().modified().unwrap();
    let changed = std::fs::File::options().write(true).open(&file).unwrap();
    changed.set_modified(later + std::time::Duration::from_secs(1)).unwrap();
    setting.present(&setting.token()).await.ok();
    assert_eq!(setting.issuer.keys_asked(), 0);
}

/// A port at which nobody should knock.
struct TcpTrap(std::net::TcpListener);

impl TcpTrap {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}/keys", self.0.local_addr().unwrap().port())
    }

    fn was_connected_to(&self) -> bool {
        self.0.accept().is_ok()
    }
}
