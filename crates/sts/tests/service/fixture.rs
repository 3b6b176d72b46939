//! What the tests stand on: an installation with a person, two workloads and its token service.

use std::net::SocketAddr;
use std::time::Duration;

use access::token::{Credential, DATABASE_AUDIENCE, Expected};
use audit::{Log, Options};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use control::{Caller, Control, InitOptions, Keyring, LiveSessions, Parts};
use keys::{AuditKey, MasterKey};
use model::event::{Event, EventBody, Outcome};
use model::{ApplicationId, Lifetime, Principal, Resource, TenantId, Timestamp};
use runtime::{Clock, ManualClock, Shutdown, Tasks};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use store::Store;
use tower::ServiceExt;

pub(crate) const ORIGIN: &str = "https://sts.test:8443";
pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const DEV: &str = "dev@example.com";
pub(crate) const START: &str = "2026-11-24T10:00:00Z";
pub(crate) const CLIENT: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
pub(crate) const DATABASE_SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";
pub(crate) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// An installation in a folder of its own.
pub(crate) struct Sts {
    pub(crate) control: Control,
    pub(crate) hand: ManualClock,
    pub(crate) clock: Clock,
    router: Router,
    hosts: Router,
    owner_pass: String,
    directory: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status, OAuth error and Entra's number.
    pub(crate) fn refusal(&self) -> (u16, String, i64) {
        let body = self.json();
        let number = body["error_codes"][0].as_i64().unwrap_or_else(|| panic!("{body}"));
        (self.status.as_u16(), body["error"].as_str().unwrap().to_owned(), number)
    }

    /// Status and stable code of a problem document.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        (self.status.as_u16(), self.json()["code"].as_str().unwrap().to_owned())
    }

    /// The answer to what should succeed.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }
}

impl Sts {
    pub(crate) async fn new() -> Self {
        Self::federated(runtime::config::Federation::default()).await
    }

    /// One whose operator has configured other issuers.
    pub(crate) async fn federated(federation: runtime::config::Federation) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(at(START));
        let store = Store::open(&directory.path().join("store.db"), clock.clone()).unwrap();
        let keyring = Keyring::open(&store, MasterKey::generate().unwrap(), &clock).await.unwrap();
        let options = Options {
            directory: directory.path().join("audit"),
            gateway: "test".to_owned(),
            key: AuditKey::generate().unwrap(),
            clock: clock.clone(),
            sync_interval: Duration::from_millis(10),
            checkpoint_sink: None,
            known: None,
        };
        let (log, _) = Log::open(options).unwrap();
        let parts = Parts {
            store: store.clone(),
            log: log.clone(),
            clock: clock.clone(),
            live: LiveSessions::new(),
        };
        let control = Control::new(parts);
        let first = InitOptions {
            tenant: "Example".to_owned(),
            domain: "example.com".to_owned(),
            owner: OWNER.parse().unwrap(),
        };
        let owner_pass = control.init(first).await.unwrap().pass.expose().clone();
        let state = sts::State {
            control: control.clone(),
            log,
            keyring,
            clock: clock.clone(),
            origin: ORIGIN.to_owned(),
            lifetimes: runtime::config::Token::default(),
            federation,
            hosts: Some("https://hosts.test:8444".to_owned()),
            tasks: Tasks::new(Shutdown::new()),
        };
        let sts::Doors { origin: router, hosts } = sts::doors(state).unwrap();
        let sts = Self { control, hand, clock, router, hosts, owner_pass, directory };
        sts.put("User", DEV, json!({ "displayName": "Dev" })).await;
        sts
    }

    pub(crate) fn owner(&self) -> Caller {
        let state = self.control.snapshots().load();
        let owner = state.users.get(OWNER).unwrap();
        let role = owner.spec.control_role;
        Caller { principal: Principal::user(owner), role, source: None }
    }

    pub(crate) async fn put(&self, kind: &str, name: &str, spec: Value) -> Resource {
        let document = json!({
            "apiVersion": "portcullis.dev/v1", "kind": kind, "metadata": { "name": name },
            "spec": spec,
        });
        let resource = Resource::read(document).unwrap();
        self.control.put(&self.owner(), resource).await.unwrap().value
    }

    /// An application; its client id.
    pub(crate) async fn application(&self, name: &str, certificates: &[&str]) -> ApplicationId {
        let spec = json!({ "displayName": name, "certificates": certificates });
        self.put("Application", name, spec).await;
        self.client_id(name)
    }

    pub(crate) fn client_id(&self, name: &str) -> ApplicationId {
        let state = self.control.snapshots().load();
        let application = state.applications.get(name).unwrap();
        application.status.client_id.or(application.spec.client_id).unwrap()
    }

    /// An application with a secret that lives a day.
    pub(crate) async fn with_secret(&self, name: &str) -> (ApplicationId, String) {
        let client = self.application(name, &[]).await;
        let day = Lifetime::from_seconds(86_400);
        let name = name.parse().unwrap();
        let made = self.control.add_client_secret(&self.owner(), name, day).await.unwrap();
        (client, made.1.expose().clone())
    }

    pub(crate) async fn pass(&self, user: &str) -> String {
        if user == OWNER {
            return self.owner_pass.clone();
        }
        let issued = self.control.issue_pass(&self.owner(), user.parse().unwrap()).await;
        issued.unwrap().0.expose().clone()
    }

    pub(crate) fn tenant(&self) -> TenantId {
        TenantId(self.control.snapshots().load().tenant().unwrap().uid())
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        self.ask_at(&self.router, request).await
    }

    /// At the address of hosts, over a connection that showed this certificate.
    pub(crate) async fn ask_as_host(
        &self,
        certificate: Option<&str>,
        path: &str,
        body: &Value,
    ) -> Answer {
        let mut request = Request::post(path).body(Body::from(body.to_string())).unwrap();
        if let Some(pem) = certificate {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            request.extensions_mut().insert(sts::ShownCertificate(der.to_vec()));
        }
        self.ask_at(&self.hosts, request).await
    }

    async fn ask_at(&self, router: &Router, request: Request<Body>) -> Answer {
        let mut request = request;
        let peer: SocketAddr = "192.0.2.7:1234".parse().unwrap();
        if request.extensions().get::<ConnectInfo<SocketAddr>>().is_none() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let response = router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(encoded(fields)))
            .unwrap();
        self.ask(request).await
    }

    /// To the v2.0 token endpoint.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        self.form("/organizations/oauth2/v2.0/token", fields).await
    }

    pub(crate) async fn json(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.ask(request).await
    }

    /// What the gateway would make of a database token.
    pub(crate) fn verified(&self, token: &str) -> Credential {
        let credential = self.credential(token);
        assert!(!access::token::revoked(&credential, &self.control.snapshots().load()));
        credential
    }

    /// The same, whether or not it was revoked.
    pub(crate) fn credential(&self, token: &str) -> Credential {
        let (issuer, tenant) = (format!("{ORIGIN}/{}/v2.0", self.tenant()), self.tenant());
        let expected = Expected { issuer: &issuer, tenant, audience: DATABASE_AUDIENCE };
        let snapshot = self.control.snapshots().load();
        access::token::verify(token, &expected, &snapshot, self.clock.now()).unwrap()
    }

    /// Store and audit log.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(crate) fn forward(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
    }

    /// Everything in the audit log.
    pub(crate) fn events(&self) -> Vec<EventBody> {
        let reader = audit::read::Reader::open(&self.directory.path().join("audit"), 1).unwrap();
        reader.map(|event| event.unwrap()).map(|event: Event| event.body).collect()
    }

    /// Grant, actor, and code when refused, of every token event.
    pub(crate) fn token_events(&self) -> Vec<(String, String, Option<String>)> {
        let events = self.events().into_iter().filter_map(|event| match event {
            EventBody::Token { grant, actor, outcome, .. } => {
                Some((grant, actor.name, code(&outcome)))
            }
            _ => None,
        });
        events.collect()
    }

    /// Whose, and which, of every alert.
    pub(crate) fn alerts(&self) -> Vec<(String, String)> {
        let alerts = self.events().into_iter().filter_map(|event| match event {
            EventBody::Alert { actor, alert, .. } => Some((actor.name, alert)),
            _ => None,
        });
        alerts.collect()
    }

    /// Step, actor, and code when refused, of every sign-in event.
    pub(crate) fn sign_in_events(&self) -> Vec<(String, String, Option<String>)> {
        let events = self.events().into_iter().filter_map(|event| match event {
            EventBody::SignIn { step, actor, outcome, .. } => {
                Some((step, actor.name, code(&outcome)))
            }
            _ => None,
        });
        events.collect()
    }
}

fn code(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Succeeded => None,
        Outcome::Refused { code, .. } => Some(code.clone()),
    }
}

/// A person's machine.
pub(crate) struct Machine<'a> {
    pub(crate) sts: &'a Sts,
    pub(crate) user: String,
    key: EcdsaKeyPair,
    pub(crate) seed: Vec<u8>,
}

impl<'a> Machine<'a> {
    /// Enrols with a fresh pass.
    pub(crate) async fn enrolled(sts: &'a Sts, user: &str) -> Self {
        let pass = sts.pass(user).await;
        let mut machine = Self::blank(sts, user);
        let answer = machine.enrol(&pass).await.ok();
        let seed = answer["totpSeed"].as_str().unwrap();
        machine.seed = keys::totp::from_base32(seed).unwrap().expose().clone();
        machine
    }

    /// A key that nobody knows.
    pub(crate) fn blank(sts: &'a Sts, user: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { sts, user: user.to_owned(), key, seed: vec![7; 20] }
    }

    pub(crate) async fn enrol(&self, pass: &str) -> Answer {
        let public_key = STANDARD.encode(spki(self.key.public_key().as_ref()));
        let body = json!({ "user": self.user, "pass": pass, "publicKey": public_key });
        self.sts.json("/signin/v1/enrol", &body).await
    }

    pub(crate) async fn challenge(&self) -> String {
        let answer = self.sts.json("/signin/v1/challenge", &json!({ "user": self.user })).await;
        answer.ok()["challenge"].as_str().unwrap().to_owned()
    }

    pub(crate) fn sign(&self, challenge: &str) -> String {
        let signature = self.key.sign(&SystemRandom::new(), challenge.as_bytes()).unwrap();
        URL_SAFE_NO_PAD.encode(signature.as_ref())
    }

    pub(crate) fn code(&self) -> String {
        keys::totp::code(&self.seed, self.sts.clock.now())
    }

    /// Both factors over a fresh challenge, with something added.
    pub(crate) async fn proof(&self, code: &str, more: Value) -> Value {
        let challenge = self.challenge().await;
        let signature = self.sign(&challenge);
        let mut body = json!({
            "user": self.user, "challenge": challenge, "signature": signature, "code": code,
        });
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    }

    pub(crate) async fn sign_in(&self, code: &str, scope: Option<&str>) -> Answer {
        let body = self.proof(code, json!({ "scope": scope })).await;
        self.sts.json("/signin/v1/token", &body).await
    }

    /// Signs in with a code that has not been used.
    pub(crate) async fn tokens(&self) -> Value {
        self.sts.forward(31);
        self.sign_in(&self.code(), None).await.ok()
    }

    /// Signs in and says yes or no to a device.
    pub(crate) async fn decide(&self, user_code: &str, approve: bool) -> Answer {
        self.sts.forward(31);
        let body = self.proof(&self.code(), json!({ "userCode": user_code })).await;
        let shown = self.sts.json("/signin/v1/device", &body).await.ok();
        let body = json!({ "ticket": shown["ticket"], "approve": approve });
        self.sts.json("/signin/v1/device", &body).await
    }
}

/// SubjectPublicKeyInfo of a P-256 point (RFC 5480).
pub(crate) fn spki(point: &[u8]) -> Vec<u8> {
    let prefix = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    [&prefix, point].concat()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    let percent = |text: &str| {
        text.bytes().fold(String::new(), |written, byte| format!("{written}%{byte:02X}"))
    };
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    pairs.join("&")
}

/// The claims of a JWT, unverified.
pub(crate) fn claims(jwt: &Value) -> Value {
    let payload = jwt.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
