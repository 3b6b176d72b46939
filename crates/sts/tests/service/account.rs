//! One's own keys and sessions, and devices that one lets in.

use serde_json::{Value, json};

use crate::browser::{Browser, Passkey};
use crate::fixture::{CLIENT, DEV, DEVICE_GRANT, Machine, OWNER, Sts};

const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default offline_access openid";

async fn device(sts: &Sts) -> Value {
    let fields = [("client_id", CLIENT), ("scope", SCOPE)];
    sts.form("/organizations/oauth2/v2.0/devicecode", &fields).await.ok()
}

async fn poll(sts: &Sts, begun: &Value) -> crate::fixture::Answer {
    let code = begun["device_code"].as_str().unwrap();
    sts.forward(6);
    sts.token(&[("grant_type", DEVICE_GRANT), ("client_id", CLIENT), ("device_code", code)]).await
}

#[tokio::test]
async fn keys_are_added_named_and_removed_and_the_last_one_stays() {
    let sts = Sts::new().await;
    let (mut browser, key) = Browser::enrolled(&sts, DEV).await;
    browser.get("/account").await;
    let mut second = Passkey::new();
    let added = browser.add(&mut second).await;
    assert!(added.text.contains("The passkey was added."), "{}", added.text);
    let renamed = browser.form("/account/passkeys/name", "").with("name", "<b>Blue</b> key");
    let answer = browser.post(&renamed).await;
    assert!(answer.text.contains("value=\"&lt;b&gt;Blue&lt;/b&gt; key\""), "{}", answer.text);
    let mut twin = Passkey::new();
    twin.id = key.id;
    let refused = browser.add(&mut twin).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("PC2062"));
    browser.get("/account").await;
    let remove = browser.form("/account/passkeys/remove", "");
    assert!(browser.post(&remove).await.text.contains("was removed"));
    let last = browser.form("/account/passkeys/remove", "");
    let refused = browser.post(&last).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("PC2061"), "{}", refused.text);
    let steps: Vec<_> = sts.sign_in_events().into_iter().skip(3).map(|e| (e.0, e.2)).collect();
    let ok = |step: &str| (step.to_owned(), None);
    let no = |step: &str, code: &str| (step.to_owned(), Some(code.to_owned()));
    assert_eq!(
        steps,
        [
            ok("addPasskey"),
            ok("namePasskey"),
            no("addPasskey", "PC2062"),
            ok("removePasskey"),
            no("removePasskey", "PC2061"),
        ]
    );
}

#[tokio::test]
async fn a_removed_passkey_ends_what_it_opened() {
    let sts = Sts::new().await;
    let (mut stolen, mut key) = Browser::enrolled(&sts, DEV).await;
    let mut own = Browser::new(&sts);
    own.get("/account").await;
    let pass = own.use_pass(DEV).await;
    assert!(pass.text.contains("Set up your sign-in"), "recovery is the same");
    let mut second = Passkey::new();
    own.add(&mut second).await;
    assert_eq!(own.sign_in(&mut second).await.status, 303);
    own.get("/account").await;
    let first = own.form("/account/passkeys/remove", "");
    own.post(&first).await;
    assert!(stolen.get("/account").await.text.contains("to your account"));
    assert_eq!(stolen.sign_in(&mut key).await.status, 401);
    assert!(own.get("/account").await.text.contains("Your account"));
}

#[tokio::test]
async fn keys_are_changed_only_soon_after_a_sign_in() {
    let sts = Sts::new().await;
    let (mut browser, mut key) = Browser::enrolled(&sts, DEV).await;
    sts.forward(16 * 60);
    browser.get("/account").await;
    let mut second = Passkey::new();
    let asked = browser.add(&mut second).await;
    assert!(asked.text.contains("Sign in once more"), "{}", asked.text);
    assert_eq!(browser.sign_in(&mut key).await.status, 303);
    browser.get("/account").await;
    assert!(browser.add(&mut second).await.text.contains("The passkey was added."));
}

#[tokio::test]
async fn a_session_is_ended_from_another_browser_with_everything_that_came_of_it() {
    let sts = Sts::new().await;
    let (mut lost, mut key) = Browser::enrolled(&sts, DEV).await;
    let query = crate::fixture::encoded(&[
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("redirect_uri", "http://localhost:8400"),
        ("scope", SCOPE),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ]);
    lost.get(&format!("/common/oauth2/v2.0/authorize?{query}")).await;
    let form = lost.form("/signin/continue", "");
    let answer = lost.post(&form).await;
    let location = answer.headers["location"].to_str().unwrap();
    let code = location.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let tokens = sts
        .token(&[
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code", code),
            ("redirect_uri", "http://localhost:8400"),
            ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ])
        .await
        .ok();
    let access = tokens["access_token"].as_str().unwrap();
    sts.verified(access);
    let mut own = Browser::new(&sts);
    own.get("/account").await;
    own.sign_in(&mut key).await;
    let account = own.get("/account").await;
    assert!(account.text.contains("Azure CLI and SDKs"), "{}", account.text);
    assert!(account.text.contains("this one") && account.text.contains("Firefox on Linux"));
    let session = lost.cookies["__Host-portcullis-session"].clone();
    assert!(!account.text.contains(&session));
    let rows: Vec<&str> = account.text.split("<tr>").collect();
    let other = rows.iter().find(|row| row.contains("Azure CLI")).unwrap();
    let id = other.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let end = own.form("/account/sessions/end", id);
    assert!(own.post(&end).await.text.contains("The session was ended."));
    assert!(lost.get("/account").await.text.contains("to your account"));
    let state = sts.control.snapshots().load();
    assert!(access::token::revoked(&sts.credential(access), &state));
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
        ("scope", SCOPE),
    ];
    assert_eq!(sts.token(&refresh).await.refusal().2, 50_173);
}

#[tokio::test]
async fn nobody_ends_the_session_or_touches_the_key_of_someone_else() {
    let sts = Sts::new().await;
    let (mut dev, _) = Browser::enrolled(&sts, DEV).await;
    let (mut owner, _) = Browser::enrolled(&sts, OWNER).await;
    dev.get("/account").await;
    owner.get("/account").await;
    let value = |browser: &Browser<'_>, action: &str| browser.form(action, "").fields["id"].clone();
    for action in ["/account/sessions/end", "/account/passkeys/remove", "/account/passkeys/name"] {
        let id = value(&dev, action);
        owner.get("/account").await;
        let form = owner.form(action, "").with("id", &id).with("name", "mine");
        assert_eq!(owner.post(&form).await.status, 404, "{action}");
    }
    assert!(dev.get("/account").await.text.contains("Your account"));
}

#[tokio::test]
async fn a_device_is_let_in_by_whoever_has_just_signed_in_and_seen_what_asks() {
    let sts = Sts::new().await;
    let begun = device(&sts).await;
    let user_code = begun["user_code"].as_str().unwrap();
    let (mut browser, mut key) = Browser::enrolled(&sts, DEV).await;
    let mut elsewhere = Browser::new(&sts);
    let page = elsewhere.get("/device").await;
    assert!(page.text.contains("to approve a device"), "sign in first: {}", page.text);
    assert!(!page.text.contains("Azure CLI"), "and nothing is shown before");
    sts.forward(16 * 60);
    let again = device(&sts).await;
    let stale = browser.get(&format!("/device?user_code={user_code}")).await;
    assert!(stale.text.contains("in the last 15 minutes"), "{}", stale.text);
    let on = browser.sign_in(&mut key).await;
    let location = on.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("/device?user_code={user_code}"));
    browser.get(&location).await;
    let form = browser.form("/device", "");
    assert_eq!(form.fields["user_code"], user_code);
    let late = browser.post(&form).await;
    assert_eq!(late.status, 404, "its quarter of an hour is over");
    let user_code = again["user_code"].as_str().unwrap().to_lowercase();
    let form = browser.form("/device", "").with("user_code", &user_code);
    let shown = browser.post(&form).await;
    for told in ["Azure CLI and SDKs", CLIENT, "192.0.2.7", DEV, SCOPE] {
        assert!(shown.text.contains(told), "{told}: {}", shown.text);
    }
    assert_eq!(poll(&sts, &again).await.refusal().1, "authorization_pending");
    let yes = browser.form("/device/decide", "value=\"yes\"");
    assert!(browser.post(&yes).await.text.contains("The program is signed in"));
    let tokens = poll(&sts, &again).await.ok();
    let credential = sts.verified(tokens["access_token"].as_str().unwrap());
    assert_eq!(credential.methods, ["fido", "pop", "mfa"]);
    assert_eq!(browser.post(&yes).await.status, 409, "a decision is made once");
    let events = sts.sign_in_events();
    assert!(events.contains(&("deviceApprove".to_owned(), DEV.to_owned(), None)));
}

#[tokio::test]
async fn a_device_that_is_turned_away_hears_it() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let begun = device(&sts).await;
    browser.get("/device").await;
    let user_code = begun["user_code"].as_str().unwrap();
    let form = browser.form("/device", "").with("user_code", user_code);
    browser.post(&form).await;
    let no = browser.form("/device/decide", "value=\"no\"");
    assert!(browser.post(&no).await.text.contains("turned away"));
    assert_eq!(poll(&sts, &begun).await.refusal().1, "authorization_declined");
}

#[tokio::test]
async fn guesses_at_user_codes_are_on_record_under_the_persons_name_and_soon_cost_too_much() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    browser.get("/device").await;
    let mut throttled = false;
    for number in 0..80 {
        let form = browser.form("/device", "").with("user_code", &format!("BCDF{number:04}"));
        let answer = browser.post(&form).await;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "5");
            assert!(answer.text.contains("AADSTS90055"));
            throttled = true;
            break;
        }
        assert_eq!(answer.status, 404);
    }
    assert!(throttled, "eighty guesses at once are too many");
    let guesses = sts.sign_in_events().into_iter().filter(|event| event.0 == "deviceCode");
    let guesses: Vec<_> = guesses.collect();
    assert_eq!(guesses.len(), 60);
    assert!(guesses.iter().all(|it| it.1 == DEV && it.2.as_deref() == Some("PC2003")));
}

#[tokio::test]
async fn a_device_code_is_not_found_by_guessing_the_devices_own_secret() {
    let sts = Sts::new().await;
    let begun = device(&sts).await;
    let user_code = begun["user_code"].as_str().unwrap();
    for number in 0..59 {
        let guess = format!("{user_code}.guess-{number}");
        let fields =
            [("grant_type", DEVICE_GRANT), ("client_id", CLIENT), ("device_code", guess.as_str())];
        let refused = sts.token(&fields).await;
        assert_eq!(refused.refusal(), (400, "bad_verification_code".to_owned(), 70_019));
    }
    let events = sts.token_events();
    assert_eq!(events.len(), 59);
    assert!(events.iter().all(|event| event.2.as_deref() == Some("AADSTS70019")));
}

#[tokio::test]
async fn the_command_lines_sign_ins_are_shown_and_ended_too() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let tokens = machine.tokens().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    let account = browser.get("/account").await;
    assert!(account.text.contains("Command line or device"), "{}", account.text);
    assert!(account.text.contains("together with a machine of the command line"));
    let end = browser.form("/account/sessions/end", "value=\"program\"");
    assert!(browser.post(&end).await.text.contains("The session was ended."));
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
        ("scope", SCOPE),
    ];
    assert_eq!(sts.token(&fields).await.refusal().2, 50_173);
}

#[tokio::test]
async fn signing_out_is_asked_for_and_leads_back_to_registered_addresses_only() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    sts.application("orders-web", &[]).await;
    let client = sts.client_id("orders-web");
    let site = "https://orders.example.com/out";
    let spec = json!({ "displayName": "Orders", "redirectUris": [site] });
    sts.put("Application", "orders-web", spec).await;
    let path = |back: &str| {
        let fields = [
            ("client_id", client.to_string()),
            ("post_logout_redirect_uri", back.to_owned()),
            ("state", "s".to_owned()),
        ];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        format!("/common/oauth2/v2.0/logout?{}", crate::fixture::encoded(&fields))
    };
    let evil = browser.get(&path("https://evil.test/")).await;
    assert!(!evil.text.contains("evil.test"));
    browser.get(&path(site)).await;
    let form = browser.form("/account/signout", "");
    let twisted = form.clone().with("back", "https://evil.test/");
    let answer = browser.post(&form).await;
    assert_eq!(answer.headers["location"], "https://orders.example.com/out?state=s");
    assert!(browser.get("/account").await.text.contains("to your account"));
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    browser.get("/account").await;
    let form = browser.form("/account/signout", "");
    let twisted = form.with("back", &twisted.fields["back"]);
    let answer = browser.post(&twisted).await;
    assert!(!answer.headers.contains_key("location"));
}
