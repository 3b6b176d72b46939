//! An installation with an owner, an approver, an auditor and a developer, and its API.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Adopt, DatabaseServers, Entrance, Future};
use audit::{Log, Options};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use control::{Caller, Control, InitOptions, Keyring, LiveSessions, Manifest, SessionInfo};
use keys::MasterKey;
use model::finding::{self, Finding};
use model::kind::server::DatabaseServer;
use model::{Refusal, ServerName, SessionId, TenantId, Timestamp};
use runtime::{Clock, ManualClock, Shutdown, Tasks, metrics};
use serde_json::{Value, json};
use store::Store;
use tower::ServiceExt;

pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const APPROVER: &str = "approver@example.com";
pub(crate) const AUDITOR: &str = "auditor@example.com";
pub(crate) const DEV: &str = "dev@example.com";
pub(crate) const CONTROL: &str = "api://portcullis";

/// What the gateway was asked to adopt.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeServers(pub(crate) Arc<Mutex<Vec<String>>>);

impl DatabaseServers for FakeServers {
    fn enrollment<'a>(&'a self, server: &'a ServerName) -> Future<'a, Result<Value, Refusal>> {
        Box::pin(async move { Ok(json!({ "server": server })) })
    }

    fn adopt<'a>(
        &'a self,
        caller: &'a Caller,
        server: &'a ServerName,
        adopt: Adopt,
    ) -> Future<'a, Result<Value, Refusal>> {
        Box::pin(async move {
            let asked = format!("{}: {server}/{}", caller.principal.name, adopt.user);
            self.0.lock().unwrap().push(asked);
            Ok(json!({}))
        })
    }

    fn entrance(&self, server: &DatabaseServer) -> Option<Entrance> {
        let listed = server.listeners.contains("postgresql");
        listed.then(|| Entrance { host: "gateway.test".to_owned(), port: 6432 })
    }

    fn examine(&self) -> Future<'_, Vec<Finding>> {
        Box::pin(async { vec![finding::PUBLIC_CONNECT.found("orders", "database `postgres`")] })
    }
}

pub(crate) struct Installation {
    pub(crate) router: Router,
    pub(crate) control: Control,
    pub(crate) keyring: Keyring,
    pub(crate) live: LiveSessions,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) servers: FakeServers,
    pub(crate) tenant: TenantId,
    pub(crate) log: Log,
    _folder: tempfile::TempDir,
}

impl Installation {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual("2026-11-24T10:00:00Z".parse().unwrap());
        let store = Store::open(&folder.path().join("store.db"), clock.clone()).unwrap();
        let master = MasterKey::create(&folder.path().join("master.key")).unwrap();
        let keyring = Keyring::open(&store, master, &clock).await.unwrap();
        let (log, _) = Log::open(Options {
            directory: folder.path().join("audit"),
            gateway: "test".to_owned(),
            key: keyring.audit_key(),
            clock: clock.clone(),
            sync_interval: Duration::from_millis(10),
            checkpoint_sink: None,
            known: None,
        })
        .unwrap();
        let live = LiveSessions::new();
        let control = Control::new(control::Parts {
            store: store.clone(),
            log: log.clone(),
            clock: clock.clone(),
            live: live.clone(),
        });
        keyring.attach(&control);
        let first = InitOptions {
            tenant: "Example".to_owned(),
            domain: "example.com".to_owned(),
            owner: OWNER.parse().unwrap(),
        };
        let tenant = control.init(first).await.unwrap().tenant;
        control.seed(directory()).await.unwrap().unwrap();
        let servers = FakeServers::default();
        let router = api::router(api::Parts {
            control: control.clone(),
            keyring: keyring.clone(),
            snapshots: store.snapshots(),
            log: log.clone(),
            clock: clock.clone(),
            live: live.clone(),
            servers: Arc::new(servers.clone()),
            issuer: issuer(tenant),
            tenant,
            metrics: metrics::Registry::new(),
            tasks: Tasks::new(Shutdown::new()),
        })
        .fallback(api::no_such_route);
        let parts = (router, control, keyring, live);
        Self::of(parts, (clock, hand), (servers, tenant, log), folder)
    }

    fn of(
        (router, control, keyring, live): (Router, Control, Keyring, LiveSessions),
        (clock, hand): (Clock, ManualClock),
        (servers, tenant, log): (FakeServers, TenantId, Log),
        folder: tempfile::TempDir,
    ) -> Self {
        Self { router, control, keyring, live, clock, hand, servers, tenant, log, _folder: folder }
    }

    /// A token as the token service makes it.
    pub(crate) fn token(&self, user: &str, audience: &str) -> String {
        let state = self.control.snapshots().load();
        let principal = state.principal_named(user).unwrap();
        let now = self.clock.now().seconds();
        let claims = json!({
            "iss": issuer(self.tenant), "tid": self.tenant, "aud": audience, "oid": principal.id,
            "iat": now, "nbf": now, "exp": now + 3600, "jti": model::TokenId::random(),
        });
        self.keyring.signer().unwrap().sign_rs256(&claims).unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let kind =
            response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status, kind: kind.unwrap_or_default(), text }
    }

    pub(crate) async fn ask(&self, user: &str, method: &str, path: &str, body: Value) -> Answer {
        self.send(request(method, path, Some(&self.token(user, CONTROL)), &body)).await
    }

    /// A session as the gateway registers it.
    pub(crate) fn session(&self, user: &str) -> control::LiveSession {
        let state = self.control.snapshots().load();
        self.live.register(SessionInfo {
            id: SessionId::random(),
            principal: state.principal_named(user).unwrap(),
            source: IpAddr::from([127, 0, 0, 1]),
            server: "orders".parse().unwrap(),
            database: "orders".to_owned(),
            database_user: user.to_owned(),
            roles: BTreeSet::default(),
            activations: Vec::new(),
            since: self.clock.now(),
            until: None,
            statement: Some("select 1".to_owned()),
            state: control::SessionState::Active,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        assert_eq!(self.kind, "application/problem+json", "{self:?}");
        (self.status.as_u16(), self.json()["code"].as_str().unwrap().to_owned())
    }

    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Request<Body> {
    let peer = SocketAddr::from(([192, 0, 2, 7], 50_000));
    let mut request = Request::builder().method(method).uri(path).extension(ConnectInfo(peer));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request.body(body).unwrap()
}

pub(crate) fn issuer(tenant: TenantId) -> String {
    format!("https://localhost:8443/{tenant}/v2.0")
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn directory() -> Vec<Manifest> {
    let document = |kind: &str, name: &str, spec: Value| {
        Manifest::read(json!({
            "apiVersion": "portcullis.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap()
    };
    let person = |name: &str, role: &str| {
        document("User", name, json!({"displayName": name, "controlRole": role}))
    };
    vec![
        person(APPROVER, "approver"),
        person(AUDITOR, "auditor"),
        person(DEV, "user"),
        document("Group", "orders-readers", json!({})),
        document(
            "AccessRules",
            "orders-readers",
            json!({"group": "orders-readers", "durationMax": "30m", "approvers": [APPROVER]}),
        ),
        document(
            "Eligibility",
            "dev-orders-readers",
            json!({"user": DEV, "group": "orders-readers"}),
        ),
        document("Application", "orders-api", json!({"displayName": "Orders API"})),
    ]
}
