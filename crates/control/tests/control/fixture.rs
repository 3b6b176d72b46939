//! What the tests stand on: an installation with four people, a workload, a server and the rules between them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use access::activation::Ask;
use audit::{Log, Options};
use control::{Caller, Control, InitOptions, LiveSessions, Manifest, Parts};
use keys::AuditKey;
use model::document::API_VERSION;
use model::event::{Event, EventBody};
use model::kind::activation::Activation;
use model::{ActivationId, ControlRole, Document, Principal, Resource, Timestamp, code::Code};
use model::{Lifetime, Refusal};
use runtime::{Clock, ManualClock};
use serde_json::{Value, json};
use store::Store;

pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const APPROVER: &str = "approver@example.com";
pub(crate) const AUDITOR: &str = "auditor@example.com";
pub(crate) const DEV: &str = "dev@example.com";
pub(crate) const START: &str = "2026-11-24T10:00:00Z";

pub(crate) const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// An installation in a directory of its own.
pub(crate) struct Plane {
    pub(crate) control: Control,
    pub(crate) hand: ManualClock,
    pub(crate) directory: PathBuf,
    pub(crate) log: Log,
    key: AuditKey,
    own: Option<tempfile::TempDir>,
}

impl Plane {
    /// Nothing but a store and a log.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plane = Self::within(directory.path());
        Self { own: Some(directory), ..plane }
    }

    /// The same in a folder that is someone else's.
    pub(crate) fn within(folder: &Path) -> Self {
        let key = AuditKey::generate().unwrap();
        let (control, log, hand) = open(folder, &key, at(START));
        Self { control, hand, directory: folder.to_owned(), log, key, own: None }
    }

    /// With an owner and the example directory.
    pub(crate) async fn new() -> Self {
        let plane = Self::empty();
        plane.control.init(first()).await.unwrap();
        plane.control.seed(directory_files()).await.unwrap().unwrap();
        plane
    }

    /// The process stops and starts again at this time.
    pub(crate) fn restart(self, now: Timestamp) -> Self {
        let Self { control, directory, log, key, own, .. } = self;
        drop((control, log));
        let (control, log, hand) = open(&directory, &key, now);
        Self { control, hand, directory, log, key, own }
    }

    pub(crate) fn audit_directory(&self) -> PathBuf {
        self.directory.join("audit")
    }

    pub(crate) fn caller(&self, name: &str) -> Caller {
        let state = self.control.snapshots().load();
        let person = state.users.get(name);
        let role = person.map_or(ControlRole::User, |user| user.spec.control_role);
        let principal = match person {
            Some(user) => Principal::user(user),
            None => Principal::application(state.applications.get(name).unwrap()),
        };
        Caller { principal, role, source: "192.0.2.7".parse().ok() }
    }

    /// Everything in the audit log.
    pub(crate) fn events(&self) -> Vec<EventBody> {
        let reader = audit::read::Reader::open(&self.audit_directory(), 1).unwrap();
        reader.map(|event| event.unwrap()).map(|event: Event| event.body).collect()
    }

    /// What the audit log got since it had so many events.
    pub(crate) fn events_after(&self, count: usize) -> Vec<EventBody> {
        self.events().split_off(count)
    }

    pub(crate) async fn request(&self, justification: &str) -> Result<ActivationId, Refusal> {
        let ask = ask(DEV, "orders-readers", justification);
        let done = self.control.request(&self.caller(DEV), ask).await?;
        Ok(id(&done.value))
    }

    pub(crate) async fn active(&self) -> ActivationId {
        let id = self.request("ticket 7").await.unwrap();
        self.control.approve(&self.caller(APPROVER), id, None).await.unwrap();
        id
    }

    pub(crate) fn activation(&self, id: ActivationId) -> Document<Activation> {
        let state = self.control.snapshots().load();
        (**state.activations.get(id.to_string()).unwrap()).clone()
    }

    pub(crate) async fn put(&self, document: Value) -> Result<Resource, Refusal> {
        let resource = Resource::read(document).unwrap();
        self.control.put(&self.caller(OWNER), resource).await.map(|done| done.value)
    }

    pub(crate) fn forward(&self, minutes: u64) {
        self.hand.advance(Duration::from_mins(minutes));
    }
}

pub(crate) fn open(
    directory: &Path,
    key: &AuditKey,
    now: Timestamp,
) -> (Control, Log, ManualClock) {
    let (clock, hand) = Clock::manual(now);
    let store = Store::open(&directory.join("store.db"), clock.clone()).unwrap();
    let options = Options {
        directory: directory.join("audit"),
        gateway: "test".to_owned(),
        key: AuditKey::from_pkcs8(key.to_pkcs8().unwrap().expose()).unwrap(),
        clock: clock.clone(),
        sync_interval: Duration::from_millis(10),
        checkpoint_sink: None,
        known: None,
    };
    let (log, _) = Log::open(options).unwrap();
    let parts = Parts { store, log: log.clone(), clock, live: LiveSessions::new() };
    (Control::new(parts), log, hand)
}

pub(crate) fn first() -> InitOptions {
    InitOptions {
        tenant: "Example".to_owned(),
        domain: "example.com".to_owned(),
        owner: OWNER.parse().unwrap(),
    }
}

pub(crate) fn document(kind: &str, name: &str, spec: Value) -> Value {
    let metadata = json!({ "name": name });
    let mut document = json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": metadata });
    document["spec"] = spec;
    document
}

pub(crate) fn manifest(kind: &str, name: &str, spec: Value) -> Manifest {
    Manifest::read(document(kind, name, spec)).unwrap()
}

pub(crate) fn directory_files() -> Vec<Manifest> {
    let person = |name: &str, role: &str| {
        manifest("User", name, json!({ "displayName": name, "controlRole": role }))
    };
    vec![
        person(APPROVER, "approver"),
        person(AUDITOR, "auditor"),
        person(DEV, "user"),
        manifest("Group", "orders-readers", json!({ "description": "Reads orders" })),
        manifest("Application", "orders-api", json!({ "displayName": "Orders API" })),
        manifest("DatabaseServer", "orders", server()),
        manifest(
            "DatabaseRole",
            "orders.reader",
            json!({ "server": "orders", "privileges": "reader" }),
        ),
        manifest(
            "RoleAssignment",
            "readers-read",
            json!({ "principal": { "group": "orders-readers" }, "role": "orders.reader" }),
        ),
        manifest("Eligibility", "dev-reads", json!({ "user": DEV, "group": "orders-readers" })),
        manifest(
            "AccessRules",
            "orders-readers",
            json!({ "group": "orders-readers", "durationMax": "30m", "approvers": [APPROVER] }),
        ),
    ]
}

pub(crate) fn server() -> Value {
    json!({
        "engine": "postgresql", "host": "db.example.com", "port": 5432, "ca": PEM,
        "databases": { "only": ["orders"] },
    })
}

pub(crate) fn ask(user: &str, group: &str, justification: &str) -> Ask {
    Ask {
        duration: Some(Lifetime::from_seconds(1800)),
        justification: Some(justification.to_owned()),
        ..Ask::new(user.parse().unwrap(), group.parse().unwrap())
    }
}

pub(crate) fn id(activation: &Document<Activation>) -> ActivationId {
    activation.name().parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The stable code of a refusal.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static Code {
    result.expect_err("it was not refused").code
}
