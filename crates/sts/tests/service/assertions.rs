//! Client credentials by certificate, in each form that a client library sends (measured on unmodified ones).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use model::ApplicationId;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
};
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
        let (key, pair) = Self::key();
        let certificate = parameters("orders-api").self_signed(&pair).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().to_vec(), key }
    }

    /// One that an authority issued, with these parameters.
    fn issued(parameters: &CertificateParams, by: &Issuer<'_, rcgen::KeyPair>) -> Self {
        let (key, pair) = Self::key();
        let certificate = parameters.signed_by(&pair, by).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().to_vec(), key }
    }

    fn key() -> (RsaKeyPair, rcgen::KeyPair) {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let pair = rcgen::KeyPair::try_from(pkcs8.as_ref()).unwrap();
        (key, pair)
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

/// A certificate of 2026 for this common name.
fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![]).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2027, 1, 1);
    parameters
}

/// An authority: its certificate, and with what it issues others.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn root(name: &str) -> Self {
        let (parameters, key) = Self::parts(name);
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    fn below(&self, name: &str) -> Self {
        let (parameters, key) = Self::parts(name);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    fn parts(name: &str) -> (CertificateParams, rcgen::KeyPair) {
        let mut parameters = parameters(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (parameters, rcgen::KeyPair::generate().unwrap())
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
async fn a_certificate_of_a_named_issuer_and_subject_needs_no_registration() {
    let sts = Sts::new().await;
    let (root, stranger) = (Authority::root("Root"), Authority::root("Root"));
    let between = root.below("Issuing");
    let spec = json!({
        "displayName": "Orders API",
        "subjectNameIssuers":
            [{ "subjectName": "orders.example.com", "authority": root.certificate.pem() }],
    });
    sts.put("Application", "orders-api", spec).await;
    let now = sts.clock.now().seconds();
    let setting =
        Setting { client: sts.client_id("orders-api"), sts, identity: Identity::new(), now };
    let present = async |identity: &Identity, chain: &[&[u8]]| {
        let x5c: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
        let header = json!({
            "alg": "RS256", "typ": "JWT", "x5t": URL_SAFE.encode(identity.sha1()), "x5c": x5c,
        });
        let assertion = identity.sign(&RSA_PKCS1_SHA256, &header, &setting.claims());
        setting.present(&assertion).await
    };
    let ours = parameters("orders.example.com");
    let by_name = {
        let mut parameters = parameters("something else");
        parameters.subject_alt_names =
            CertificateParams::new(vec!["Orders.Example.com".to_owned()])
                .unwrap()
                .subject_alt_names;
        parameters
    };
    let middle: &[u8] = between.certificate.der();
    let top: &[u8] = root.certificate.der();
    for parameters in [&ours, &by_name] {
        // A renewed one is another one, of the same name.
        for _ in 0..2 {
            let leaf = Identity::issued(parameters, &between.issuer);
            present(&leaf, &[&leaf.der, middle]).await.ok();
            present(&leaf, &[&leaf.der, middle, top]).await.ok();
        }
    }
    let direct = Identity::issued(&ours, &root.issuer);
    present(&direct, &[&direct.der]).await.ok();

    let mut over = parameters("orders.example.com");
    over.not_after = rcgen::date_time_ymd(2026, 11, 1);
    let mut server = parameters("orders.example.com");
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = Identity::issued(&ours, &between.issuer);
    let other = Identity::issued(&parameters("other.example.com"), &between.issuer);
    let foreign = Identity::issued(&ours, &stranger.issuer);
    let expired = Identity::issued(&over, &root.issuer);
    let serving = Identity::issued(&server, &root.issuer);
    let made_up = Identity::new();
    let sub_authority = Identity::issued(&ours, &between.issuer);
    let long: Vec<&[u8]> = std::iter::repeat_n(leaf.der.as_slice(), 7).collect();
    for (identity, chain, case) in [
        (&leaf, vec![leaf.der.as_slice()], "the issuing authority is left out"),
        (&leaf, vec![], "an empty chain"),
        (&leaf, long, "a chain that is too long"),
        (&other, vec![&other.der, middle], "another name"),
        (&foreign, vec![&foreign.der, stranger.certificate.der()], "an authority of that name"),
        (&expired, vec![&expired.der], "a certificate that is over"),
        (&serving, vec![&serving.der], "a certificate for servers"),
        (&made_up, vec![&leaf.der, middle], "somebody else's chain"),
        (&made_up, vec![&made_up.der, middle], "a certificate that nobody issued"),
        (&sub_authority, vec![middle, top], "an authority as the leaf"),
    ] {
        let answer = present(identity, &chain).await;
        assert_eq!(answer.refusal(), (401, "invalid_client".to_owned(), 700_027), "{case}");
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
