//! People sign in on pages: with a passkey, with their authenticator, by a pass; and nobody else does.

use axum::body::Body;
use axum::http::Request;

use crate::browser::{Browser, Passkey};
use crate::fixture::{DEV, OWNER, Sts};

const SESSION: &str = "__Host-portcullis-session";

#[tokio::test]
async fn a_pass_adds_a_passkey_and_the_passkey_signs_in() {
    let sts = Sts::new().await;
    let (mut browser, mut key) = Browser::enrolled(&sts, DEV).await;
    let account = browser.get("/account").await;
    assert!(account.text.contains("Your account") && account.text.contains(DEV));
    let steps: Vec<_> = sts.sign_in_events();
    let ok = |step: &str| (step.to_owned(), DEV.to_owned(), None);
    assert_eq!(steps, [ok("pass"), ok("addPasskey"), ok("passkey")]);
    let mut elsewhere = Browser::new(&sts);
    elsewhere.get("/account").await;
    assert_eq!(elsewhere.sign_in(&mut key).await.headers["location"], "/account");
}

#[tokio::test]
async fn a_pass_opens_nothing_but_the_page_that_adds_keys_and_counts_once() {
    let sts = Sts::new().await;
    let pass = sts.pass(DEV).await;
    let mut browser = Browser::new(&sts);
    browser.get("/account").await;
    let form = browser.form("/signin/pass", "").with("user", DEV).with("pass", &pass);
    assert!(browser.post(&form).await.text.contains("Set up your sign-in"));
    let device = browser.get("/device").await;
    assert!(device.text.contains("to approve a device"), "it must sign in: {}", device.text);
    let crafted = browser.get("/account").await;
    assert!(crafted.text.contains("Set up your sign-in"));
    for action in ["/account/passkeys/remove", "/account/authenticator/remove"] {
        let mut form = browser.form("/account/authenticator", "");
        action.clone_into(&mut form.action);
        let refused = browser.post(&form).await;
        assert_eq!(refused.status, 403, "a pass adds keys and takes none away");
        browser.get("/account").await;
    }
    let mut other = Browser::new(&sts);
    other.get("/account").await;
    let again = other.form("/signin/pass", "").with("user", DEV).with("pass", &pass);
    let refused = other.post(&again).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.contains("PC2021") && !other.cookies.contains_key(SESSION));
    sts.forward(16 * 60);
    let late = browser.get("/account").await;
    assert!(late.text.contains("to your account"), "fifteen minutes are over");
}

#[tokio::test]
async fn codes_of_an_authenticator_count_in_a_browser_that_is_known_and_nowhere_else() {
    let sts = Sts::new().await;
    let mut browser = Browser::new(&sts);
    browser.use_pass(DEV).await;
    let form = browser.form("/account/authenticator", "");
    let shown = browser.post(&form).await;
    let secret = shown.text.split("class=\"secret\">").nth(1).unwrap();
    let seed = keys::totp::from_base32(secret.split('<').next().unwrap()).unwrap();
    let code = || keys::totp::code(seed.expose(), sts.clock.now());
    let wrong = browser.form("/account/authenticator/confirm", "").with("otp", "000000");
    assert!(browser.post(&wrong).await.text.contains("PC2021"));
    let form = browser.form("/account/authenticator/confirm", "").with("otp", &code());
    let done = browser.post(&form).await;
    assert!(done.text.contains("The authenticator is set up."), "{}", done.text);
    let used = browser.form("/signin/code", "").with("user", DEV).with("otp", &code());
    assert!(browser.post(&used).await.text.contains("PC2026"), "each code counts once");
    sts.forward(31);
    let form = browser.form("/signin/code", "").with("user", DEV).with("otp", &code());
    assert_eq!(browser.post(&form).await.headers["location"], "/account");
    sts.forward(31);
    let mut stranger = Browser::new(&sts);
    stranger.get("/account").await;
    for _ in 0..6 {
        let form = stranger.form("/signin/code", "").with("user", DEV).with("otp", &code());
        let refused = stranger.post(&form).await;
        assert!(refused.text.contains("PC2021"), "a right code of a stranger: {}", refused.text);
    }
    // And they have locked nobody out.
    browser.get("/account").await;
    let logout = browser.form("/account/signout", "");
    browser.post(&logout).await;
    browser.get("/account").await;
    let form = browser.form("/signin/code", "").with("user", DEV).with("otp", &code());
    assert_eq!(browser.post(&form).await.status, 303);
}

#[tokio::test]
async fn five_wrong_codes_in_the_persons_own_browser_lock_for_a_quarter_of_an_hour() {
    let sts = Sts::new().await;
    let (mut browser, _) = Browser::enrolled(&sts, DEV).await;
    browser.get("/account").await;
    let form = browser.form("/account/authenticator", "");
    let shown = browser.post(&form).await;
    let secret = shown.text.split("class=\"secret\">").nth(1).unwrap();
    let seed = keys::totp::from_base32(secret.split('<').next().unwrap()).unwrap();
    let code = || keys::totp::code(seed.expose(), sts.clock.now());
    let form = browser.form("/account/authenticator/confirm", "").with("otp", &code());
    browser.post(&form).await;
    browser.cookies.remove(SESSION);
    browser.get("/account").await;
    for wrong in ["000000", "000001", "000002", "000003", "000004"] {
        let form = browser.form("/signin/code", "").with("user", DEV).with("otp", wrong);
        browser.post(&form).await;
    }
    assert!(browser.page.contains("PC2022"), "{}", browser.page);
    sts.forward(31);
    let form = browser.form("/signin/code", "").with("user", DEV).with("otp", &code());
    assert!(browser.post(&form).await.text.contains("PC2022"));
    sts.forward(15 * 60);
    let form = browser.form("/signin/code", "").with("user", DEV).with("otp", &code());
    assert_eq!(browser.post(&form).await.status, 303);
}

#[tokio::test]
async fn a_signature_made_elsewhere_twice_or_by_another_key_signs_nobody_in() {
    let sts = Sts::new().await;
    let (_, mut key) = Browser::enrolled(&sts, DEV).await;
    let mut browser = Browser::new(&sts);
    browser.get("/account").await;
    let form = || browser.form("/signin/passkey", "");
    let phished = key.signed(form(), "https://sts.test.evil.example");
    let mut other = Passkey::new();
    other.id = key.id;
    other.user = key.user.clone();
    let forged = other.signed(form(), "https://sts.test:8443");
    let used = key.signed(form(), "https://sts.test:8443");
    for (form, why) in [(phished, "another origin"), (forged, "signature does not hold")] {
        let refused = browser.post(&form).await;
        assert_eq!(refused.status, 401);
        assert!(refused.text.contains(why), "{}", refused.text);
    }
    assert_eq!(browser.post(&used).await.status, 303);
    browser.cookies.remove(SESSION);
    assert_eq!(browser.post(&used).await.status, 401, "a challenge counts once");
    let refused = sts.sign_in_events().into_iter().filter(|event| event.2.is_some()).count();
    assert_eq!(refused, 3, "and each is on record");
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_raises_an_alert() {
    let sts = Sts::new().await;
    let mut browser = Browser::new(&sts);
    browser.use_pass(DEV).await;
    let mut key = Passkey::new();
    key.count = 7;
    browser.add(&mut key).await;
    assert_eq!(browser.sign_in(&mut key).await.status, 303);
    browser.cookies.remove(SESSION);
    browser.get("/account").await;
    key.count = 3;
    assert_eq!(browser.sign_in(&mut key).await.status, 401);
    let alerts: Vec<_> = sts.alerts();
    assert_eq!(alerts, [(DEV.to_owned(), "passkeyCopied".to_owned())]);
}

#[tokio::test]
async fn an_authenticator_that_did_not_look_who_touches_it_does_not_count() {
    let sts = Sts::new().await;
    let (_, mut key) = Browser::enrolled(&sts, DEV).await;
    key.flags = 0x01;
    let mut browser = Browser::new(&sts);
    browser.get("/account").await;
    let refused = browser.sign_in(&mut key).await;
    assert!(refused.text.contains("did not verify its user"), "{}", refused.text);
}

#[tokio::test]
async fn a_form_counts_in_the_browser_that_it_was_given_to_and_for_half_an_hour() {
    let sts = Sts::new().await;
    let (mut own, mut key) = Browser::enrolled(&sts, DEV).await;
    own.get("/account").await;
    let form = own.form("/account/signout", "");
    let mut other = Browser::new(&sts);
    assert_eq!(other.post(&form).await.status, 403);
    assert!(other.page.contains("PC2060"), "{}", other.page);
    assert!(other.cookies.is_empty(), "a form of another site sets no cookie");
    let crossed = Request::post("/account/signout")
        .header("sec-fetch-site", "cross-site")
        .header("cookie", own.cookie_line())
        .body(Body::from(format!("flow={}", form.fields["flow"])))
        .unwrap();
    assert_eq!(sts.ask(crossed).await.status, 403);
    assert!(own.get("/account").await.text.contains("Your account"), "nobody was signed out");
    let stale = own.form("/account/signout", "");
    sts.forward(31 * 60);
    assert_eq!(own.post(&stale).await.status, 403);
    // A page of one session does nothing in the next, even in the same browser.
    own.get("/account").await;
    let before = own.form("/account/signout", "");
    own.cookies.remove(SESSION);
    own.get("/account").await;
    assert_eq!(own.sign_in(&mut key).await.status, 303);
    assert_eq!(own.post(&before).await.status, 401);
    let refusals = sts.sign_in_events().into_iter().filter(|event| event.2.is_some());
    assert_eq!(refusals.filter(|event| event.0 == "form").count(), 3);
}

#[tokio::test]
async fn whether_a_user_exists_does_not_show() {
    let sts = Sts::new().await;
    let mut pages = Vec::new();
    for user in [OWNER, "nobody@example.com"] {
        let mut browser = Browser::new(&sts);
        browser.get("/account").await;
        let form = browser.form("/signin/pass", "").with("user", user).with("pass", "wrong");
        let refused = browser.post(&form).await;
        assert_eq!(refused.status, 401);
        let told = refused.text.split("class=\"bad\"").nth(1).unwrap();
        pages.push(told.split("</p>").next().unwrap().to_owned());
    }
    assert_eq!(pages[0], pages[1]);
}

#[tokio::test]
async fn a_disabled_person_is_signed_out_everywhere() {
    let sts = Sts::new().await;
    let (mut browser, mut key) = Browser::enrolled(&sts, DEV).await;
    let disabled = serde_json::json!({ "displayName": "Dev", "enabled": false });
    sts.put("User", DEV, disabled).await;
    assert!(browser.get("/account").await.text.contains("to your account"));
    assert_eq!(browser.sign_in(&mut key).await.status, 401);
    sts.put("User", DEV, serde_json::json!({ "displayName": "Dev" })).await;
    assert!(browser.get("/account").await.text.contains("to your account"), "and stays out");
    assert_eq!(browser.sign_in(&mut key).await.status, 303);
}
