//! Authorization code and PKCE: what a program gets, and what is refused where.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::fixture::{Answer, CLIENT, DATABASE_SCOPE, DEV, ORIGIN, OWNER, Sts, claims, encoded};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const PROGRAM: &str = "http://localhost:8400";
const SITE: &str = "https://orders.example.com/cb";
const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default openid offline_access";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()))
}

/// What a program on a person's machine asks.
fn asked(challenge: &str) -> Vec<(&str, &str)> {
    vec![
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("redirect_uri", PROGRAM),
        ("scope", SCOPE),
        ("state", "a&b=c"),
        ("nonce", "n-1"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ]
}

fn address(fields: &[(&str, &str)]) -> String {
    format!("/organizations/oauth2/v2.0/authorize?{}", encoded(fields))
}

fn with<'a>(
    mut fields: Vec<(&'a str, &'a str)>,
    name: &'a str,
    value: &'a str,
) -> Vec<(&'a str, &'a str)> {
    fields.retain(|(known, _)| *known != name);
    if !value.is_empty() {
        fields.push((name, value));
    }
    fields
}

/// A parameter of the address that the browser was sent to.
fn parameter(answer: &Answer, name: &str) -> Option<String> {
    let location = answer.headers.get("location")?.to_str().unwrap();
    let query = location.split(['?', '#']).nth(1)?;
    let encoded = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    let mut parts = encoded.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    Some(String::from_utf8(bytes).unwrap())
}

async fn redeem(sts: &Sts, fields: &[(&str, &str)]) -> Answer {
    sts.token(&[&[("grant_type", "authorization_code")], fields].concat()).await
}

fn redemption(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("client_id", CLIENT),
        ("code", code),
        ("redirect_uri", PROGRAM),
        ("code_verifier", VERIFIER),
        ("scope", SCOPE),
        ("client_info", "1"),
    ]
}

/// A code for the program, of someone who is signed in.
async fn code(browser: &mut Browser<'_>) -> String {
    let challenge = challenge();
    browser.get(&address(&asked(&challenge))).await;
    let form = browser.form("/signin/continue", "");
    let answer = browser.post(&form).await;
    parameter(&answer, "code").unwrap_or_else(|| panic!("{answer:?}"))
}

/// A web application with a secret and an address.
async fn site(sts: &Sts) -> (String, String) {
    let (_, secret) = sts.with_secret("orders-web").await;
    let spec = json!({ "displayName": "Orders", "redirectUris": [SITE] });
    sts.put("Application", "orders-web", spec).await;
    (sts.client_id("orders-web").to_string(), secret)
}

#[tokio::test]
async fn a_program_is_signed_in_by_code_and_pkce_and_renews_its_tokens() {
    let sts = Sts::new().await;
    let (_, mut key) = Browser::enrolled(&sts, DEV).await;
    let mut browser = Browser::new(&sts);
    let challenge = challenge();
    let fields = with(asked(&challenge), "client_info", "1");
    let page = browser.get(&address(&fields)).await;
    assert!(page.text.contains("Azure CLI and SDKs") && page.text.contains("on this computer"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' http://localhost:8400"), "{policy}");
    let answer = browser.sign_in(&mut key).await;
    assert!(
        answer.headers["location"].to_str().unwrap().starts_with("http://localhost:8400?code=")
    );
    assert_eq!(parameter(&answer, "state").as_deref(), Some("a&b=c"));
    let issuer = format!("{ORIGIN}/{}/v2.0", sts.tenant());
    assert_eq!(parameter(&answer, "iss"), Some(issuer));
    assert!(parameter(&answer, "client_info").is_some());
    let code = parameter(&answer, "code").unwrap();
    let tokens = redeem(&sts, &redemption(&code)).await.ok();
    let credential = sts.verified(tokens["access_token"].as_str().unwrap());
    assert_eq!(credential.methods, ["fido", "pop", "mfa"]);
    let identity = claims(&tokens["id_token"]);
    assert_eq!((&identity["nonce"], &identity["aud"]), (&json!("n-1"), &json!(CLIENT)));
    assert_eq!(identity["preferred_username"], DEV);
    let renewed = sts
        .token(&[
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT),
            ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
            ("scope", "api://portcullis/.default"),
        ])
        .await
        .ok();
    assert_eq!(claims(&renewed["access_token"])["sid"], identity["sid"]);
    let refresh = renewed["refresh_token"].as_str().unwrap();
    let unsaid =
        [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", refresh)];
    let unsaid = sts.token(&unsaid).await.ok();
    let audience = &claims(&unsaid["access_token"])["aud"];
    assert_eq!(audience, "https://ossrdbms-aad.database.windows.net", "as it was asked for first");
    let grants: Vec<_> = sts.token_events().into_iter().map(|event| event.0).collect();
    assert_eq!(grants, ["authorization_code", "refresh_token", "refresh_token"]);
    assert!(sts.sign_in_events().contains(&("authorize".to_owned(), DEV.to_owned(), None)));
}

#[tokio::test]
async fn whoever_is_signed_in_says_yes_to_a_program_and_a_web_application_is_answered_at_once() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let challenge = challenge();
    let page = browser.get(&address(&asked(&challenge))).await;
    assert!(page.text.contains(&format!("Go on as {DEV}")), "{}", page.text);
    let (client, secret) = site(&sts).await;
    let fields = with(with(asked(&challenge), "client_id", &client), "redirect_uri", SITE);
    let answer = browser.get(&address(&fields)).await;
    let code = parameter(&answer, "code").unwrap();
    let fields = [
        ("client_id", client.as_str()),
        ("client_secret", &secret),
        ("code", &code),
        ("redirect_uri", SITE),
        ("code_verifier", VERIFIER),
    ];
    let tokens = redeem(&sts, &fields).await.ok();
    assert_eq!(claims(&tokens["access_token"])["appidacr"], "1");
    assert_eq!(claims(&tokens["access_token"])["aud"], "https://ossrdbms-aad.database.windows.net");
}

#[tokio::test]
async fn a_code_that_comes_back_ends_everything_that_it_gave() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let code = code(&mut browser).await;
    let tokens = redeem(&sts, &redemption(&code)).await.ok();
    let token = tokens["access_token"].as_str().unwrap();
    sts.verified(token);
    for _ in 0..2 {
        let again = redeem(&sts, &redemption(&code)).await;
        assert_eq!(again.refusal(), (400, "invalid_grant".to_owned(), 54_005));
    }
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", refresh),
        ("scope", DATABASE_SCOPE),
    ];
    assert_eq!(sts.token(&fields).await.refusal().2, 50_173);
    let credential = sts.credential(token);
    let state = sts.control.snapshots().load();
    assert!(access::token::revoked(&credential, &state), "the access token too");
    assert_eq!(sts.alerts(), [(DEV.to_owned(), "authorizationCodeReused".to_owned())], "once");
    assert_eq!(state.revocations.len(), 1);
    let refused = sts.token_events().into_iter().filter(|event| event.2.is_some());
    let codes: Vec<_> = refused.filter_map(|event| event.2).collect();
    assert_eq!(codes, ["AADSTS54005", "AADSTS54005", "AADSTS50173"]);
    // What the browser gave to others goes on.
    assert!(browser.get("/account").await.text.contains("Your account"));
}

#[tokio::test]
async fn a_code_is_bound_to_its_client_address_verifier_and_minute() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let (client, secret) = site(&sts).await;
    let code = code(&mut browser).await;
    let other = "A".repeat(43);
    let base = || redemption(&code);
    let stolen = with(with(base(), "client_id", &client), "client_secret", &secret);
    for (fields, number) in [
        (with(base(), "redirect_uri", "http://localhost:8401"), 500_112),
        (with(base(), "code_verifier", &other), 501_481),
        (with(base(), "code_verifier", &challenge()), 501_481),
        (with(base(), "code_verifier", ""), 50_148),
        (stolen, 70_000),
        (with(base(), "code", "pcc_unknown"), 70_008),
        (with(base(), "code", ""), 900_144),
    ] {
        assert_eq!(redeem(&sts, &fields).await.refusal().2, number);
    }
    sts.forward(60);
    assert_eq!(redeem(&sts, &base()).await.refusal(), (400, "invalid_grant".to_owned(), 70_008));
    assert_eq!(sts.token_events().len(), 8, "each is on record");
}

#[tokio::test]
async fn pkce_is_needed_is_never_plain_and_is_not_taken_out_on_the_way() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let challenge = challenge();
    let plain = with(asked(&challenge), "code_challenge_method", "plain");
    let unsaid = with(asked(&challenge), "code_challenge_method", "");
    let short = with(asked(&challenge), "code_challenge", "abc");
    let without = with(with(asked(&challenge), "code_challenge", ""), "code_challenge_method", "");
    for (fields, number) in
        [(plain, "501491"), (unsaid, "501491"), (short, "501491"), (without.clone(), "9002325")]
    {
        let answer = browser.get(&address(&fields)).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_request"));
        let description = parameter(&answer, "error_description").unwrap();
        assert!(description.starts_with(&format!("AADSTS{number}: ")), "{description}");
        assert_eq!(parameter(&answer, "state").as_deref(), Some("a&b=c"));
    }
    // A server may go without, but then nobody can bring a verifier (RFC 9700 §4.8.2).
    let (client, secret) = site(&sts).await;
    let fields = with(with(without, "client_id", &client), "redirect_uri", SITE);
    let answer = browser.get(&address(&fields)).await;
    let code = parameter(&answer, "code").unwrap();
    let fields = [
        ("client_id", client.as_str()),
        ("client_secret", &secret),
        ("code", &code),
        ("redirect_uri", SITE),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(redeem(&sts, &fields).await.refusal().2, 501_481);
    let refused = sts.sign_in_events().into_iter().filter(|event| event.2.is_some()).count();
    assert_eq!(refused, 4);
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_the_clients() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let (client, _) = site(&sts).await;
    let challenge = challenge();
    let site = with(asked(&challenge), "client_id", &client);
    for (fields, number) in [
        (with(asked(&challenge), "redirect_uri", "https://evil.test/"), "50011"),
        (with(asked(&challenge), "redirect_uri", "http://localhost.evil.test:8400/"), "50011"),
        (with(asked(&challenge), "redirect_uri", "http://localhost:8400@evil.test/"), "50011"),
        (with(asked(&challenge), "redirect_uri", ""), "900144"),
        (with(site.clone(), "redirect_uri", "https://orders.example.com/cb/evil"), "50011"),
        (with(site.clone(), "redirect_uri", "https://orders.example.com/cb?evil"), "50011"),
        (with(site.clone(), "redirect_uri", "https://orders.example.com.evil.test/cb"), "50011"),
        (with(site.clone(), "redirect_uri", PROGRAM), "50011"),
        (with(asked(&challenge), "client_id", "demo"), "700016"),
        (with(asked(&challenge), "client_id", &sts.tenant().to_string()), "700016"),
    ] {
        let answer = browser.get(&address(&fields)).await;
        assert!(!answer.headers.contains_key("location"), "{fields:?}");
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains(&format!("AADSTS{number}")), "{}", answer.text);
        assert!(!answer.text.contains("href=\"http") && !answer.text.contains("action=\"http"));
    }
    let twice = format!("{}&redirect_uri=https%3A%2F%2Fevil.test", address(&asked(&challenge)));
    assert_eq!(browser.get(&twice).await.status, 400);
    let disabled = json!({ "displayName": "Orders", "redirectUris": [SITE], "enabled": false });
    sts.put("Application", "orders-web", disabled).await;
    let answer = browser.get(&address(&with(site, "redirect_uri", SITE))).await;
    assert!(answer.text.contains("AADSTS7000112"));
    let refused = sts.sign_in_events().into_iter().filter(|event| event.2.is_some()).count();
    assert_eq!(refused, 12, "each is on record");
}

#[tokio::test]
async fn prompt_hint_and_age_decide_who_is_asked() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let (client, _) = site(&sts).await;
    let challenge = challenge();
    let site = with(with(asked(&challenge), "client_id", &client), "redirect_uri", SITE);
    let mut nobody = Browser::new(&sts);
    let silent = address(&with(site.clone(), "prompt", "none"));
    let error = |answer: &Answer| parameter(answer, "error");
    assert_eq!(error(&nobody.get(&silent).await).as_deref(), Some("login_required"));
    assert!(parameter(&browser.get(&silent).await, "code").is_some());
    let program = address(&with(asked(&challenge), "prompt", "none"));
    assert_eq!(error(&browser.get(&program).await).as_deref(), Some("interaction_required"));
    for (name, value, text) in [
        ("prompt", "login", "Sign in"),
        ("prompt", "select_account", "Is this you?"),
        ("login_hint", OWNER, OWNER),
    ] {
        let page = browser.get(&address(&with(site.clone(), name, value))).await;
        assert_eq!(page.status, 200, "{name}={value}: {:?}", page.headers);
        assert!(page.text.contains(text), "{}", page.text);
    }
    sts.forward(100);
    let young = address(&with(site.clone(), "max_age", "60"));
    assert!(browser.get(&young).await.text.contains("<h1>Sign in</h1>"));
    let old = address(&with(site.clone(), "max_age", "1000"));
    assert!(parameter(&browser.get(&old).await, "code").is_some());
    for (name, value) in [
        ("prompt", "create"),
        ("max_age", "soon"),
        ("response_mode", "web_message"),
        ("response_type", "token"),
        ("scope", "https://vault.azure.net/.default"),
        ("claims", "{"),
    ] {
        let answer = browser.get(&address(&with(site.clone(), name, value))).await;
        assert!(error(&answer).is_some(), "{name}={value}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_answer_travels_in_the_query_the_fragment_or_a_form() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let (client, _) = site(&sts).await;
    let challenge = challenge();
    let site = with(with(asked(&challenge), "client_id", &client), "redirect_uri", SITE);
    for (mode, start) in [
        ("query", "https://orders.example.com/cb?code=pcc_"),
        ("fragment", "https://orders.example.com/cb#code=pcc_"),
    ] {
        let answer = browser.get(&address(&with(site.clone(), "response_mode", mode))).await;
        let location = answer.headers["location"].to_str().unwrap();
        assert!(location.starts_with(start), "{location}");
    }
    let page = browser.get(&address(&with(site.clone(), "response_mode", "form_post"))).await;
    let form = browser.form(SITE, "data-post");
    assert!(form.fields["code"].starts_with("pcc_") && form.fields["state"] == "a&b=c");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://orders.example.com"), "{policy}");
    // What another site posts comes without our cookies and is sent on.
    let sent_on = sts.form("/organizations/oauth2/v2.0/authorize", &site).await;
    assert_eq!(sent_on.status, 303);
    let location = sent_on.headers["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("/organizations/oauth2/v2.0/authorize?"), "{location}");
    assert!(parameter(&browser.get(&location).await, "code").is_some());
}

#[tokio::test]
async fn a_person_who_says_no_is_obeyed() {
    let sts = Sts::new().await;
    let mut browser = Browser::new(&sts);
    let challenge = challenge();
    browser.get(&address(&asked(&challenge))).await;
    let form = browser.form("/signin/cancel", "");
    let answer = browser.post(&form).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("access_denied"));
    let description = parameter(&answer, "error_description").unwrap();
    assert!(description.starts_with("AADSTS65004"), "{description}");
}

#[tokio::test]
async fn a_claims_challenge_is_met_by_a_sign_in_of_the_kind_that_it_names() {
    let sts = Sts::new().await;
    let (mut browser, mut key) = Browser::enrolled(&sts, DEV).await;
    let code = code(&mut browser).await;
    let tokens = redeem(&sts, &redemption(&code)).await.ok();
    assert!(claims(&tokens["access_token"]).get("acrs").is_none());
    sts.forward(16 * 60);
    let asks =
        r#"{"access_token":{"acrs":{"essential":true,"value":"c2"},"xms_cc":{"values":["CP1"]}}}"#;
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
        ("scope", DATABASE_SCOPE),
        ("claims", asks),
    ];
    let refused = sts.token(&fields).await;
    assert_eq!(refused.refusal(), (400, "interaction_required".to_owned(), 50_076));
    let passed_on: Value =
        serde_json::from_str(refused.json()["claims"].as_str().unwrap()).unwrap();
    assert_eq!(passed_on["access_token"]["acrs"]["value"], "c2");
    let challenge = challenge();
    let page = browser.get(&address(&with(asked(&challenge), "claims", asks))).await;
    assert!(page.text.contains("<h1>Sign in</h1>"), "the session is too old: {}", page.text);
    let answer = browser.sign_in(&mut key).await;
    let code = parameter(&answer, "code").unwrap();
    let tokens = redeem(&sts, &redemption(&code)).await.ok();
    let access = claims(&tokens["access_token"]);
    assert_eq!((&access["acrs"], &access["xms_cc"]), (&json!(["c2"]), &json!(["CP1"])));
}

#[tokio::test]
async fn a_program_gives_back_what_it_holds_and_only_that() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let (client, secret) = site(&sts).await;
    let code = code(&mut browser).await;
    let tokens = redeem(&sts, &redemption(&code)).await.ok();
    let (access, refresh) =
        (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let userinfo = async || {
        let request = axum::http::Request::get("/oidc/userinfo")
            .header("authorization", format!("Bearer {access}"))
            .body(axum::body::Body::empty())
            .unwrap();
        sts.ask(request).await
    };
    assert_eq!(userinfo().await.ok()["preferred_username"], DEV);
    let path = "/organizations/oauth2/v2.0/revoke";
    let stranger = [("client_id", client.as_str()), ("client_secret", &secret), ("token", refresh)];
    sts.form(path, &stranger).await.ok();
    assert_eq!(userinfo().await.status, 200, "a stranger's wish changes nothing");
    let unknown = [("client_id", CLIENT), ("token", "x")];
    sts.form(path, &unknown).await.ok();
    let own = [("client_id", CLIENT), ("token", refresh), ("token_type_hint", "refresh_token")];
    sts.form(path, &own).await.ok();
    let gone = userinfo().await;
    assert_eq!(gone.status, 401, "the whole sign-in has ended");
    assert_eq!(gone.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    assert_eq!(sts.form(path, &[("client_id", CLIENT)]).await.refusal().2, 900_144);
}

#[tokio::test]
async fn a_secret_in_the_address_is_refused_and_on_record() {
    let sts = Sts::new().await;
    for (path, method) in [
        ("/common/oauth2/v2.0/token?client_secret=hunter2", "POST"),
        ("/common/oauth2/v2.0/token?code=pcc_x&code_verifier=y", "POST"),
        ("/common/oauth2/v2.0/authorize?client_id=x&client%5Fsecret=hunter2", "GET"),
        ("/oidc/userinfo?access_token=x", "GET"),
    ] {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .body(axum::body::Body::empty())
            .unwrap();
        let refused = sts.ask(request).await;
        assert_eq!(refused.refusal(), (400, "invalid_request".to_owned(), 9_000_412), "{path}");
        assert!(!refused.text.contains("hunter2"));
    }
    let events = sts.sign_in_events();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.2.as_deref() == Some("AADSTS9000412")));
}
