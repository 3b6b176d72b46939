//! Client credentials by certificate, in each form that a client library sends (measured on unmodified ones).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use model::ApplicationId;
use serde_json::{Value, json};

use crate::fixture::{Answer, DATABASE_SCOPE, ORIGIN, Sts, claims};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A workload's certificate and key.
struct Identity {
    pem: String,
    der: Vec<u8>,
    key: RsaKeyPair,
}

impl Identity {
    fn new() -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let pair = rcgen::KeyPair::try_from(pkcs8.as_ref()).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = parameters.self_signed(&pair).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().to_vec(), key }
    }

    fn sign(&self, algorithm: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(algorithm, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sha1(&self) -> Vec<u8> {
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref().to_vec()
    }

    fn sha256(&self) -> Vec<u8> {
        digest(&SHA256, &self.der).as_ref().to_vec()
    }
}

struct Setting {
    sts: Sts,
    identity: Identity,
    client: ApplicationId,
    now: i64,
}

impl Setting {
    async fn new() -> Self {
        let (sts, identity) = (Sts::new().await, Identity::new());
        let client = sts.application("orders-api", &[&identity.pem]).await;
        let now = sts.clock.now().seconds();
        Self { sts, identity, client, now }
    }

    fn claims(&self) -> Value {
        json!({
            "aud": format!("{ORIGIN}/{}/oauth2/v2.0/token", self.sts.tenant()),
            "iss": self.client, "sub": self.client, "jti": uuid::Uuid::new_v4(),
            "iat": self.now, "nbf": self.now, "exp": self.now + 600,
        })
    }

    fn changed(&self, claim: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[claim] = value;
        claims
    }

    fn usual(&self, claims: &Value) -> String {
        let thumbprint = URL_SAFE_NO_PAD.encode(self.identity.sha256());
        let header = json!({ "typ": "JWT", "alg": "PS256", "x5t#S256": thumbprint });
        self.identity.sign(&RSA_PSS_SHA256, &header, claims)
    }

    async fn present(&self, assertion: &str) -> Answer {
        let client = self.client.to_string();
        self.sts
            .token(&[
                ("grant_type", "client_credentials"),
                ("client_id", &client),
                ("scope", DATABASE_SCOPE),
                ("client_assertion_type", TYPE),
                ("client_assertion", assertion),
            ])
            .await
    }
}

#[tokio::test]
async fn every_librarys_form_of_assertion_is_accepted() {
    let setting = Setting::new().await;
    let identity = &setting.identity;
    let now = setting.now;
    let seconds = |whole: i64| json!(format!("{whole}.7328525").parse::<f64>().unwrap());
    let mut python = setting.claims();
    python["exp"] = seconds(now + 600);
    python["iat"] = seconds(now);
    python.as_object_mut().unwrap().remove("nbf");
    let x5t = URL_SAFE.encode(identity.sha1());
    let with_chain = json!({
        "alg": "RS256", "typ": "JWT", "x5t": x5t, "x5c": [STANDARD.encode(&identity.der)],
    });
    let padded = URL_SAFE.encode(identity.sha256());
    let unpadded = URL_SAFE_NO_PAD.encode(identity.sha256());
    let standard = STANDARD.encode(identity.sha1());
    let forms = [
        (
            identity.sign(
                &RSA_PKCS1_SHA256,
                &json!({ "alg": "RS256", "typ": "JWT", "x5t": x5t }),
                &python,
            ),
            "Python",
        ),
        (identity.sign(&RSA_PKCS1_SHA256, &with_chain, &setting.claims()), "Python with chain"),
        (
            identity.sign(
                &RSA_PSS_SHA256,
                &json!({ "typ": "JWT", "alg": "PS256", "x5t#S256": padded }),
                &setting.changed("exp", json!(now + 1800)),
            ),
            "Python aio",
        ),
        (
            identity.sign(
                &RSA_PSS_SHA256,
                &json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": unpadded }),
                &setting.changed("nbf", json!(now + 1)),
            ),
            "Node",
        ),
        (
            identity.sign(
                &RSA_PKCS1_SHA256,
                &json!({ "alg": "RS256", "typ": "JWT", "x5t": standard }),
                &setting.changed("exp", json!(now + 300)),
            ),
            "Rust",
        ),
    ];
    for (assertion, library) in forms {
        let answer = setting.present(&assertion).await;
        assert_eq!(answer.status, 200, "{library}: {}", answer.text);
        let token = &answer.json()["access_token"];
        setting.sts.verified(token.as_str().unwrap());
        assert_eq!(claims(token)["appidacr"], "2");
    }
    for audience in ["oauth2/token", "v2.0"] {
        let audience = json!(format!("{ORIGIN}/{}/{audience}", setting.sts.tenant()));
        setting.present(&setting.usual(&setting.changed("aud", audience))).await.ok();
    }
    let as_asked = json!(format!("{ORIGIN}/organizations/oauth2/v2.0/token"));
    setting.present(&setting.usual(&setting.changed("aud", as_asked))).await.ok();
}

#[tokio::test]
async fn what_is_wrong_with_an_assertion_is_said_with_entras_number() {
    let setting = Setting::new().await;
    let now = setting.now;
    let stranger = Identity::new();
    let unregistered = {
        let header = json!({ "alg": "RS256", "x5t": URL_SAFE.encode(stranger.sha1()) });
        stranger.sign(&RSA_PKCS1_SHA256, &header, &setting.claims())
    };
    let forged = {
        let header = json!({ "alg": "RS256", "x5t": URL_SAFE.encode(setting.identity.sha1()) });
        stranger.sign(&RSA_PKCS1_SHA256, &header, &setting.claims())
    };
    let unsigned = {
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", encode(json!({ "alg": "none" })), encode(setting.claims()))
    };
    let usual = |claim: &str, value: Value| setting.usual(&setting.changed(claim, value));
    let other = "00000000-0000-4000-8000-000000000001";
    for (assertion, number, case) in [
        (unregistered, 700_027, "a certificate that is not registered"),
        (forged, 700_027, "another key under a registered thumbprint"),
        (unsigned, 700_027, "no signature"),
        ("not.a.token".to_owned(), 50_027, "no token at all"),
        (usual("exp", json!(now - 301)), 700_024, "expired for more than the skew"),
        (usual("nbf", json!(now + 301)), 700_024, "not valid yet by more than the skew"),
        (usual("exp", json!(now + 86_401)), 700_024, "a life of more than a day"),
        (
            usual("aud", json!("https://login.microsoftonline.com/x/v2.0")),
            700_023,
            "another audience",
        ),
        (usual("sub", json!(other)), 700_021, "another subject"),
        (
            usual("iss", json!("https://kubernetes.default.svc")),
            700_211,
            "another issuer: federation",
        ),
    ] {
        let answer = setting.present(&assertion).await;
        assert_eq!(answer.refusal(), (401, "invalid_client".to_owned(), number), "{case}");
    }
    for (claim, value) in [("exp", now - 299), ("nbf", now + 299)] {
        setting.present(&usual(claim, json!(value))).await.ok();
    }
}

#[tokio::test]
async fn an_assertion_counts_once_even_when_two_present_it_at_the_same_moment() {
    let setting = Setting::new().await;
    let assertion = setting.usual(&setting.claims());
    let (one, two) = tokio::join!(setting.present(&assertion), setting.present(&assertion));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    let again = setting.present(&assertion).await;
    assert_eq!(again.refusal(), (401, "invalid_client".to_owned(), 7_002_131));
    // Until it is dead for good, skew included.
    setting.sts.forward(600 + 299);
    assert_eq!(setting.present(&assertion).await.refusal().2, 7_002_131);
    setting.sts.forward(1);
    assert_eq!(setting.present(&assertion).await.refusal().2, 700_024);
    let outcomes: Vec<_> = setting.sts.token_events().into_iter().map(|event| event.2).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_none()).count(), 1);
    assert_eq!(outcomes.len(), 5);
}

#[tokio::test]
async fn an_assertion_begins_one_device_sign_in_and_no_more() {
    let setting = Setting::new().await;
    let assertion = setting.usual(&setting.claims());
    let client = setting.client.to_string();
    let fields = [
        ("client_id", client.as_str()),
        ("scope", DATABASE_SCOPE),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    let path = "/organizations/oauth2/v2.0/devicecode";
    setting.sts.form(path, &fields).await.ok();
    assert_eq!(setting.sts.form(path, &fields).await.refusal().2, 7_002_131);
    assert_eq!(setting.present(&assertion).await.refusal().2, 7_002_131);
}

#[tokio::test]
async fn a_refused_scope_does_not_use_an_assertion_up() {
    let setting = Setting::new().await;
    let assertion = setting.usual(&setting.claims());
    let client = setting.client.to_string();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", client.as_str()),
        ("scope", "https://vault.azure.net/.default"),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    assert_eq!(setting.sts.token(&fields).await.refusal().2, 500_011);
    setting.present(&assertion).await.ok();
}
