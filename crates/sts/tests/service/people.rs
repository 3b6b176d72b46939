//! Enrolment and sign-in of people.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::fixture::{DATABASE_SCOPE, DEV, Machine, OWNER, Sts, claims};

#[tokio::test]
async fn a_pass_enrols_once_and_then_both_factors_sign_in() {
    let sts = Sts::new().await;
    let pass = sts.pass(DEV).await;
    let mut machine = Machine::blank(&sts, DEV);
    let enrolled = machine.enrol(&pass).await.ok();
    let seed = enrolled["totpSeed"].as_str().unwrap();
    let uri = enrolled["totpUri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/Portcullis:dev%40example.com?secret="), "{uri}");
    assert!(uri.contains(seed));
    machine.seed = keys::totp::from_base32(seed).unwrap().expose().clone();
    assert_eq!(machine.enrol(&pass).await.problem(), (401, "PC2021".to_owned()), "once");

    let answer = machine.sign_in(&machine.code(), None).await.ok();
    let access = claims(&answer["access_token"]);
    assert_eq!(access["aud"], "api://portcullis");
    assert_eq!(access["amr"], json!(["swk", "otp", "mfa"]));
    assert_eq!((&access["upn"], &access["preferred_username"]), (&json!(DEV), &json!(DEV)));
    assert_eq!(access["idtyp"], "user");
    let identity = claims(&answer["id_token"]);
    assert_eq!((&identity["oid"], &identity["sid"]), (&access["oid"], &access["sid"]));
    assert!(answer["refresh_token"].as_str().unwrap().starts_with("pcr_"));
    let succeeded = |step: &str| (step.to_owned(), DEV.to_owned(), None);
    let refused = ("enrol".to_owned(), DEV.to_owned(), Some("PC2021".to_owned()));
    let mut events = sts.sign_in_events();
    events.retain(|(step, _, _)| step != "issuePass");
    assert_eq!(events, [succeeded("enrol"), refused, succeeded("signIn")]);
    assert_eq!(sts.token_events(), [succeeded("signIn")]);
}

#[tokio::test]
async fn a_database_token_comes_straight_from_the_sign_in_when_asked_for() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let answer = machine.sign_in(&machine.code(), Some(DATABASE_SCOPE)).await.ok();
    let credential = sts.verified(answer["access_token"].as_str().unwrap());
    assert_eq!(credential.methods, ["swk", "otp", "mfa"]);
}

#[tokio::test]
async fn one_factor_alone_does_not_sign_in_and_answers_do_not_tell_which_was_wrong() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let thief = Machine::blank(&sts, DEV);
    let unknown = Machine::blank(&sts, "nobody@example.com");
    let unenrolled = Machine::blank(&sts, OWNER);
    let mut answers = Vec::new();
    for (machine, code) in [
        (&machine, "000000".to_owned()),
        (&machine, String::new()),
        (&thief, machine.code()),
        (&unknown, "000000".to_owned()),
        (&unenrolled, "000000".to_owned()),
    ] {
        let answer = machine.sign_in(&code, None).await;
        assert_eq!(answer.problem(), (401, "PC2021".to_owned()));
        answers.push(answer.json());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let names: Vec<_> = sts.sign_in_events().into_iter().map(|event| event.1).collect();
    assert!(names.contains(&"nobody@example.com".to_owned()));
    machine.sign_in(&machine.code(), None).await.ok();
}

#[tokio::test]
async fn a_challenge_counts_once_for_its_user_within_two_minutes() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let other = Machine::enrolled(&sts, OWNER).await;
    let ask = async |challenge: &str, machine: &Machine<'_>| {
        let body = json!({
            "user": machine.user, "challenge": challenge, "signature": machine.sign(challenge),
            "code": machine.code(),
        });
        sts.json("/signin/v1/token", &body).await
    };
    let challenge = machine.challenge().await;
    assert_eq!(ask(&challenge, &other).await.problem().0, 401, "another user's");
    ask(&challenge, &machine).await.ok();
    sts.forward(31);
    assert_eq!(ask(&challenge, &machine).await.problem().0, 401, "used before");
    let challenge = machine.challenge().await;
    sts.forward(119);
    ask(&challenge, &machine).await.ok();
    let challenge = machine.challenge().await;
    sts.forward(120);
    assert_eq!(ask(&challenge, &machine).await.problem().0, 401, "two minutes later");
}

#[tokio::test]
async fn a_code_counts_once_and_its_second_use_has_a_code_of_its_own() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let code = machine.code();
    machine.sign_in(&code, None).await.ok();
    for _ in 0..6 {
        let again = machine.sign_in(&code, None).await;
        assert_eq!(again.problem(), (401, "PC2026".to_owned()), "and it never locks");
    }
    sts.forward(30);
    machine.sign_in(&machine.code(), None).await.ok();
}

#[tokio::test]
async fn five_wrong_codes_lock_for_fifteen_minutes_and_only_the_key_can_do_that() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let thief = Machine::blank(&sts, DEV);
    for _ in 0..10 {
        assert_eq!(thief.sign_in("000000", None).await.problem().0, 401);
    }
    for attempt in 1..=4 {
        let answer = machine.sign_in("000000", None).await;
        assert_eq!(answer.problem(), (401, "PC2021".to_owned()), "{attempt}");
    }
    assert_eq!(machine.sign_in("000000", None).await.problem(), (429, "PC2022".to_owned()));
    let locked = machine.sign_in(&machine.code(), None).await;
    assert_eq!(locked.problem(), (429, "PC2022".to_owned()), "a right code does not help");
    sts.forward(15 * 60 - 1);
    assert_eq!(machine.sign_in(&machine.code(), None).await.problem().0, 429);
    sts.forward(1);
    machine.sign_in(&machine.code(), None).await.ok();
}

#[tokio::test]
async fn four_wrong_codes_and_a_right_one_begin_the_count_anew() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    for _ in 0..3 {
        sts.forward(31);
        for _ in 0..4 {
            assert_eq!(machine.sign_in("000000", None).await.problem().0, 401);
        }
        machine.sign_in(&machine.code(), None).await.ok();
    }
}

#[tokio::test]
async fn a_pass_dies_after_five_wrong_tries_after_an_hour_and_with_its_successor() {
    let sts = Sts::new().await;
    let machine = Machine::blank(&sts, DEV);
    let pass = sts.pass(DEV).await;
    for _ in 0..5 {
        assert_eq!(machine.enrol("wrong").await.problem(), (401, "PC2021".to_owned()));
    }
    assert_eq!(machine.enrol(&pass).await.problem().0, 401, "five wrong tries");
    let pass = sts.pass(DEV).await;
    let next = sts.pass(DEV).await;
    assert_eq!(machine.enrol(&pass).await.problem().0, 401, "its successor");
    machine.enrol(&next).await.ok();
    let pass = sts.pass(DEV).await;
    sts.forward(60 * 60);
    assert_eq!(machine.enrol(&pass).await.problem().0, 401, "an hour");
}

#[tokio::test]
async fn a_pass_is_for_its_user_only_and_an_unknown_user_is_not_told_apart() {
    let sts = Sts::new().await;
    let pass = sts.pass(DEV).await;
    let mut answers = Vec::new();
    for user in [OWNER, "nobody@example.com"] {
        let answer = Machine::blank(&sts, user).enrol(&pass).await;
        assert_eq!(answer.problem(), (401, "PC2021".to_owned()));
        answers.push(answer.json());
    }
    assert_eq!(answers[0], answers[1]);
    Machine::blank(&sts, DEV).enrol(&pass).await.ok();
}

#[tokio::test]
async fn only_a_key_on_the_curve_is_enrolled() {
    let sts = Sts::new().await;
    let pass = sts.pass(DEV).await;
    for key in ["", "AAAA", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"] {
        let body = json!({ "user": DEV, "pass": pass, "publicKey": key });
        let answer = sts.json("/signin/v1/enrol", &body).await;
        assert_eq!(answer.problem(), (400, "PC2004".to_owned()));
    }
    Machine::blank(&sts, DEV).enrol(&pass).await.ok();
}

#[tokio::test]
async fn enrolling_anew_replaces_the_key_and_ends_every_token_of_the_former_one() {
    let sts = Sts::new().await;
    let lost = Machine::enrolled(&sts, DEV).await;
    let before = lost.tokens().await;
    let database = refreshed(&sts, &before).await.ok();
    sts.forward(31);
    let found = Machine::enrolled(&sts, DEV).await;
    let answer = lost.sign_in(&lost.code(), None).await;
    assert_eq!(answer.problem(), (401, "PC2021".to_owned()));
    let refusal = refreshed(&sts, &database).await.refusal();
    assert_eq!((refusal.0, refusal.1.as_str()), (400, "invalid_grant"));
    let snapshot = sts.control.snapshots().load();
    let revoked = |answer: &serde_json::Value| {
        let claims = claims(&answer["access_token"]);
        let credential = access::token::Credential {
            token: claims["jti"].as_str().unwrap().parse().unwrap(),
            principal: claims["oid"].as_str().unwrap().parse().unwrap(),
            issued_at: model::Timestamp::from_seconds(claims["iat"].as_i64().unwrap()),
            expires_at: model::Timestamp::MAX,
            server: None,
            methods: Vec::new(),
            signed_in_at: None,
            client: None,
        };
        access::token::revoked(&credential, &snapshot)
    };
    assert!(revoked(&before) && revoked(&database));
    // Within the same second as the enrolment: its tokens count.
    let after = found.sign_in(&found.code(), None).await.ok();
    assert!(!revoked(&after));
    refreshed(&sts, &after).await.ok();
}

async fn refreshed(sts: &Sts, answer: &serde_json::Value) -> crate::fixture::Answer {
    sts.token(&[
        ("grant_type", "refresh_token"),
        ("client_id", crate::fixture::CLIENT),
        ("refresh_token", answer["refresh_token"].as_str().unwrap()),
        ("scope", &format!("{DATABASE_SCOPE} offline_access")),
    ])
    .await
}

#[tokio::test]
async fn a_disabled_person_cannot_sign_in_or_enrol() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let pass = sts.pass(DEV).await;
    sts.put("User", DEV, json!({ "displayName": "Dev", "enabled": false })).await;
    let answer = machine.sign_in(&machine.code(), None).await;
    assert!([401, 403].contains(&answer.problem().0), "{}", answer.text);
    assert_eq!(machine.enrol(&pass).await.problem().0, 401);
}

#[tokio::test]
async fn a_token_names_the_groups_of_which_the_person_is_a_member_now() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    sts.put("Group", "standing", json!({ "members": [DEV] })).await;
    sts.put("Group", "other", json!({})).await;
    let standing = sts.control.snapshots().load().groups.get("standing").unwrap().uid();
    let answer = machine.tokens().await;
    assert_eq!(claims(&answer["access_token"])["groups"], json!([standing]));
    sts.put("Group", "standing", json!({})).await;
    let answer = machine.tokens().await;
    assert_eq!(claims(&answer["access_token"])["groups"], json!([]));
}

#[tokio::test]
async fn a_handle_stands_for_a_database_token_and_for_nothing_else() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    let answer = machine.sign_in(&machine.code(), Some(DATABASE_SCOPE)).await.ok();
    let token = answer["access_token"].as_str().unwrap();
    let made = sts.json("/signin/v1/handle", &json!({ "token": token })).await.ok();
    let handle = made["handle"].as_str().unwrap();
    assert!(handle.starts_with("pct_") && handle.len() <= 100, "{handle}");
    let request = Request::post("/signin/v1/handle")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    assert!(sts.ask(request).await.ok()["handle"].as_str().unwrap().starts_with("pct_"));
    let unknown = json!({ "token": token, "server": "nowhere" });
    assert_eq!(sts.json("/signin/v1/handle", &unknown).await.problem(), (404, "PC1201".to_owned()));
    for (wrong, status, code) in [
        (json!({ "token": "x" }), 401, "PC1102"),
        (json!({}), 401, "PC1101"),
        (json!({ "token": machine.tokens().await["access_token"] }), 401, "PC1106"),
    ] {
        let answer = sts.json("/signin/v1/handle", &wrong).await;
        assert_eq!(answer.problem(), (status, code.to_owned()));
    }
    assert!(sts.token_events().iter().any(|event| event.0 == "handle" && event.1 == DEV));
}

#[tokio::test]
async fn what_is_not_json_or_too_long_is_refused() {
    let sts = Sts::new().await;
    for path in ["enrol", "challenge", "token", "device", "handle"] {
        let path = format!("/signin/v1/{path}");
        let answer = sts.form(&path, &[("user", DEV)]).await;
        assert_eq!(answer.problem(), (400, "PC2004".to_owned()), "{path}");
        let long = json!({ "user": "x".repeat(70_000) });
        assert_eq!(sts.json(&path, &long).await.problem(), (413, "PC2018".to_owned()), "{path}");
    }
    let name = json!({ "user": "x'); drop table users; --" });
    assert_eq!(sts.json("/signin/v1/challenge", &name).await.problem().0, 400);
}

#[tokio::test]
async fn an_unknown_user_takes_about_as_long_as_a_wrong_key() {
    let sts = Sts::new().await;
    let _enrolled = Machine::enrolled(&sts, DEV).await;
    let (thief, unknown) = (Machine::blank(&sts, DEV), Machine::blank(&sts, "nobody@example.com"));
    let (watch, mut lengths) = (runtime::Clock::system(), [Vec::new(), Vec::new()]);
    // Interleaved, so that whatever else the machine does falls on both.
    for _ in 0..25 {
        for (machine, lengths) in [&thief, &unknown].into_iter().zip(&mut lengths) {
            let body = machine.proof("000000", json!({})).await;
            let started = watch.now();
            assert_eq!(sts.json("/signin/v1/token", &body).await.problem().0, 401);
            lengths.push(watch.now().since(started));
        }
        sts.forward(5);
    }
    let [known, unknown] = lengths.map(|mut lengths| {
        lengths.sort_unstable();
        lengths[lengths.len() / 2]
    });
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((1.0 / 3.0..3.0).contains(&ratio), "{known:?} and {unknown:?}");
}

#[tokio::test]
async fn without_a_signing_key_the_answer_says_so_and_uses_nothing_up() {
    let sts = Sts::new().await;
    let machine = Machine::enrolled(&sts, DEV).await;
    // Longer than any key signs, and nothing has made the next one.
    sts.forward(91 * 24 * 3600);
    let (id, secret) = sts.with_secret("orders-api").await;
    let (code, before) = (machine.code(), sts.sign_in_events());
    let answer = machine.sign_in(&code, None).await;
    assert_eq!(answer.problem(), (503, "PC2027".to_owned()));
    let said = answer.json().to_string();
    assert!(said.contains("no key signs tokens") && said.contains("restart"), "{said}");
    let id = id.to_string();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", &secret),
        ("scope", DATABASE_SCOPE),
    ];
    let answer = sts.token(&fields).await;
    assert_eq!(answer.refusal().1, "temporarily_unavailable");
    let said = answer.json().to_string();
    assert!(said.contains("PC2027") && said.contains("restart"), "{said}");
    assert_eq!(sts.sign_in_events(), before, "nothing was tried, so nothing is used up");
}
