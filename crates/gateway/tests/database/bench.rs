//! A throw-away server, enrolled, with a store, keys, an audit log and the provisioner: all but the data path.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::Grant;
use audit::Log;
use control::keyring::WhoseAuthority;
use control::{Caller, Control, Keyring, LiveSessions, Verb};
use gateway::enroll::{self, EnrollInput};
use gateway::provision::Provisioner;
use keys::{ClientLeaf, MasterKey};
use model::event::{Event, EventBody};
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::kind::server::{DatabaseServer, Product};
use model::{Document, Kind, Refusal, Resource, ServerName, SessionId, Snapshot};
use runtime::tls::Identity;
use runtime::{Clock, Shutdown, Tasks};
use serde_json::{Value, json};
use store::Store;
use tokio_postgres::NoTls;

use crate::database::{Database, Stack};
use crate::session::{Client, Said, Session, said};

/// The server has time for what it must do, and a test that waits in vain says what for.
const WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Bench {
    pub(crate) database: Database,
    pub(crate) control: Control,
    pub(crate) provisioner: Provisioner,
    keyring: Keyring,
    clock: Clock,
    tasks: Tasks,
    addresses: Vec<IpAddr>,
    looks: AtomicU32,
    folder: tempfile::TempDir,
}

/// From which the gateway dials.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) fn server_name() -> ServerName {
    ServerName::new("orders").unwrap()
}

pub(crate) fn resource(kind: Kind, name: &str, spec: &Value) -> Resource {
    let value = json!({
        "apiVersion": "portcullis.dev/v1", "kind": kind.name(), "metadata": {"name": name}, "spec": spec,
    });
    Resource::from_value(kind, value).unwrap()
}

impl Bench {
    pub(crate) async fn start(product: Product, stack: Stack) -> Self {
        Self::start_at(product, stack, &[HERE]).await
    }

    /// One whose gateway dials from these addresses.
    pub(crate) async fn start_at(product: Product, stack: Stack, addresses: &[IpAddr]) -> Self {
        let database = Database::start(product);
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let store = Store::open(&folder.path().join("store.db"), clock.clone()).unwrap();
        let master = MasterKey::create(&folder.path().join("master.key")).unwrap();
        let keyring = Keyring::open(&store, master, &clock).await.unwrap();
        let (log, _) = Log::open(audit::Options {
            directory: folder.path().join("audit"),
            gateway: "gw".to_owned(),
            key: keyring.audit_key(),
            clock: clock.clone(),
            sync_interval: Duration::from_millis(10),
            checkpoint_sink: None,
            known: None,
        })
        .unwrap();
        let parts = control::Parts { store, log, clock: clock.clone(), live: LiveSessions::new() };
        let control = Control::new(parts);
        keyring.attach(&control);
        let tasks = Tasks::new(Shutdown::new());
        seed(&control, directory(&database, stack)).await;
        enrol(&database, (&control, &keyring), addresses).await;
        database.take_enrolment_into_force();
        let addresses = addresses.to_vec();
        let provisioner = Provisioner::new(
            control.clone(),
            keyring.clone(),
            (clock.clone(), tasks.clone()),
            &addresses,
        );
        Self {
            database,
            control,
            provisioner,
            keyring,
            clock,
            tasks,
            addresses,
            looks: AtomicU32::new(0),
            folder,
        }
    }

    /// What a superuser is told around the gateway.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.database.sql(database, sql).unwrap()
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.control.snapshots().load()
    }

    pub(crate) fn now(&self) -> model::Timestamp {
        self.clock.now()
    }

    pub(crate) fn server(&self) -> Arc<Document<DatabaseServer>> {
        Arc::clone(self.snapshot().servers.get("orders").unwrap())
    }

    pub(crate) async fn put(&self, resource: Resource) {
        seed(&self.control, vec![resource]).await;
    }

    pub(crate) async fn delete(&self, kind: Kind, name: &str) {
        let name = name.to_owned();
        let deletion = self.control.system(Verb::Seed, "test", move |writing| {
            writing.delete(kind, &name)?;
            Ok::<(), Refusal>(())
        });
        deletion.await.unwrap();
    }

    /// Gives a person, or takes from them, standing membership of `orders-<role>`.
    pub(crate) async fn members(&self, role: &str, people: &[&str]) {
        self.put(resource(Kind::Group, &format!("orders-{role}"), &json!({"members": people})))
            .await;
    }

    pub(crate) async fn person(&self, name: &str) {
        self.put(resource(Kind::User, name, &json!({"displayName": name}))).await;
    }

    pub(crate) fn caller(&self, person: &str) -> Caller {
        let snapshot = self.snapshot();
        let document = snapshot.users.get(person).unwrap();
        let principal = model::Principal::user(document);
        Caller { principal, role: document.spec.control_role, source: None }
    }

    pub(crate) fn stop_provisioner(&mut self) {
        self.tasks.shutdown().request();
        self.tasks = Tasks::new(Shutdown::new());
    }

    /// As when the gateway starts anew: it knows what the store says.
    pub(crate) fn start_provisioner(&mut self) {
        let (control, keyring) = (self.control.clone(), self.keyring.clone());
        let (clock, tasks) = (self.clock.clone(), self.tasks.clone());
        self.provisioner = Provisioner::new(control, keyring, (clock, tasks), &self.addresses);
    }

    /// One step of a rotation of the authority whose certificates the server trusts, and the enrolment after it.
    pub(crate) async fn rotate_client_authority(&self, owner: &str) {
        let caller = self.caller(owner);
        self.keyring
            .rotate_authority(&caller, &WhoseAuthority::Server(server_name()))
            .await
            .unwrap();
    }

    /// What an operator does on the server's host, once more.
    pub(crate) async fn enrol_again(&self) {
        enrol(&self.database, (&self.control, &self.keyring), &self.addresses).await;
    }

    /// The gateway starts anew and dials from other addresses.
    pub(crate) async fn move_to(&mut self, addresses: &[IpAddr]) {
        self.stop_provisioner();
        self.addresses = addresses.to_vec();
        self.enrol_again().await;
        self.start_provisioner();
    }

    /// What `access::decide` would grant the person now.
    pub(crate) fn grant(&self, person: &str) -> Grant {
        let snapshot = self.snapshot();
        let document = snapshot.users.get(person).unwrap();
        let principal = model::Principal::user(document);
        let held = access::membership::active_roles(
            principal.id,
            &server_name(),
            &snapshot,
            self.clock.now(),
        );
        Grant {
            database_user: access::database_user::name_for(&principal, &server_name(), &snapshot),
            roles: held.into_iter().map(|held| held.role).collect(),
            principal,
            activations: Vec::new(),
            until: None,
            again_at: None,
            policies: vec![],
            notice: None,
        }
    }

    pub(crate) async fn prepare(&self, person: &str) -> Result<String, Refusal> {
        self.provisioner.prepare(&self.server(), &self.grant(person)).await
    }

    /// What the gateway does for a login.
    pub(crate) async fn login(&self, person: &str) -> Session {
        let user = self.prepare(person).await.unwrap();
        self.direct(&user).await.unwrap()
    }

    /// A connection with a certificate that the server's own authority made, whatever was prepared.
    pub(crate) async fn direct(&self, user: &str) -> Result<Session, Said> {
        let authority = self.keyring.client_authority(&server_name()).await.unwrap();
        let leaf = ClientLeaf { user, session: SessionId::random() };
        let identity = authority.issue_client(&leaf, self.clock.now()).unwrap();
        let Some(place) = self.database.of_mysqls_family() else {
            return self.direct_to_postgres(user, identity).await;
        };
        let open = || Client::open(place, (user, &identity), self.folder.path());
        let opened = tokio::task::block_in_place(open)?;
        Ok(Session::MySql(Arc::new(Mutex::new(opened))))
    }

    /// Every way to come in as a user but with its certificate, and what the server says to each.
    #[cfg(feature = "newest-mysql")]
    pub(crate) async fn without_the_certificate_of(&self, user: &str) -> Vec<(&'static str, Said)> {
        let ours = self.keyring.client_authority(&server_name()).await.unwrap();
        let other = ServerName::new("other").unwrap();
        let another = self.keyring.client_authority(&other).await.unwrap();
        let place = self.database.of_mysqls_family().unwrap();
        let shows = |authority: &keys::Authority, name: &str| {
            let leaf = ClientLeaf { user: name, session: SessionId::random() };
            let identity = authority.issue_client(&leaf, self.clock.now()).unwrap();
            Client::open(place, (user, &identity), self.folder.path()).err().unwrap()
        };
        tokio::task::block_in_place(|| {
            vec![
                ("another's certificate", shows(&ours, "eve@example.com")),
                ("another server's authority", shows(&another, user)),
                ("no certificate", crate::session::refused(place, user, &["--ssl"])),
                ("a password", crate::session::refused(place, user, &["--ssl", "-psecret"])),
                ("no TLS", crate::session::refused(place, user, &["--skip-ssl"])),
            ]
        })
    }

    /// Nothing is found but superusers of the server's own that open with nothing, as a throw-away one's do.
    #[cfg(feature = "newest-mysql")]
    pub(crate) fn quiet_but_for_its_superusers(&self) -> bool {
        let findings = &self.server().status.findings;
        findings.iter().all(|finding| finding.starts_with("login user `root@localhost`"))
    }

    async fn direct_to_postgres(&self, user: &str, identity: Identity) -> Result<Session, Said> {
        let stream = gateway::upstream::dial(&self.server(), identity).await.unwrap();
        let mut config = tokio_postgres::Config::new();
        config.user(user).dbname("orders");
        let opened = config.connect_raw(stream, NoTls).await;
        let (client, connection) = opened.map_err(|error| said(&error))?;
        drop(self.tasks.spawn("test-session", async move {
            // It ends with an error when the server ends it, which is what tests are about.
            drop(connection.await);
        }));
        Ok(Session::PostgreSql(client))
    }

    /// Before PostgreSQL 16 every member can `SET ROLE`, and everyone takes away what others granted; nobody elsewhere.
    pub(crate) fn is_postgres_before_16(&self) -> bool {
        match &self.database {
            Database::PostgreSql(_) => {
                let version = self.sql("postgres", "SHOW server_version_num");
                version.parse::<u32>().unwrap() < 160_000
            }
            Database::MariaDb(_) | Database::MySql(_) => false,
        }
    }

    /// Whether a session may take one of its roles on, and leave the others off.
    pub(crate) fn may_set_role(&self) -> bool {
        self.is_postgres_before_16() || matches!(self.database, Database::MySql(_))
    }

    pub(crate) fn user(&self, user: &str) -> Option<Arc<Document<DatabaseUser>>> {
        self.snapshot().database_users.get(format!("orders~{user}")).cloned()
    }

    /// Waits until the snapshot says so.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Snapshot) -> bool) {
        let mut changes = self.control.snapshots().subscribe();
        let waiting = async {
            while !holds(&self.snapshot()) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WITHIN, waiting).await.unwrap_or_else(|_| {
            let snapshot = self.snapshot();
            let findings = snapshot.servers.get("orders").map(|server| &server.status.findings);
            panic!("in vain for {what}; findings: {findings:?}")
        });
    }

    pub(crate) async fn until_state(&self, user: &str, state: DatabaseUserState) {
        let name = format!("orders~{user}");
        self.until(&format!("{user} to be {state:?}"), |snapshot| {
            snapshot.database_users.get(&name).is_some_and(|user| user.status.state == state)
        })
        .await;
    }

    pub(crate) async fn until_disabled(&self, user: &str) {
        self.until_state(user, DatabaseUserState::Disabled).await;
    }

    pub(crate) async fn until_revoking(&self, user: &str) {
        self.until_state(user, DatabaseUserState::Revoking).await;
    }

    /// Waits until a session gets an answer.
    pub(crate) async fn until_answered(&self, session: &Session, sql: &str) {
        for _ in 0..200 {
            if session.run(sql).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        session.run(sql).await.unwrap();
    }

    /// Waits until a session is refused something, or gone.
    pub(crate) async fn until_refused(&self, session: &Session, sql: &str) {
        for _ in 0..200 {
            match session.run(sql).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(said) if said.is_denied() || said.is_cut() => return,
                // What it would do has been done already.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("`{sql}` is still not refused");
    }

    /// Anything that changes makes the provisioner look again: here somebody new, who reads.
    pub(crate) async fn look_again(&self) {
        let person = format!("looker{}@example.com", self.looks.fetch_add(1, Ordering::Relaxed));
        self.person(&person).await;
        self.put(resource(Kind::Group, "lookers", &json!({"members": [person]}))).await;
        let reads = json!({"principal": {"group": "lookers"}, "role": "orders.reader"});
        self.put(resource(Kind::RoleAssignment, "lookers", &reads)).await;
        self.prepare(&person).await.unwrap();
    }

    /// How often the audit log has been told of a drift.
    pub(crate) fn told_of_drift(&self, wanted: &str) -> usize {
        let is_it = |event: &EventBody| matches!(event, EventBody::Drift { finding, .. } if finding.contains(wanted));
        self.events().iter().filter(|event| is_it(event)).count()
    }

    /// Waits until a finding was reported. What a look has mended stands in the status until the next look only.
    pub(crate) async fn until_finding(&self, finding: &str) {
        self.until(&format!("finding {finding:?}"), |snapshot| {
            let stands = snapshot.servers.get("orders").is_some_and(|server| {
                server.status.findings.iter().any(|found| found.contains(finding))
            });
            stands || self.told_of_drift(finding) > 0
        })
        .await;
    }

    /// Waits until what the superuser asks has this answer.
    pub(crate) async fn until_sql(&self, database: &str, question: &str, answer: &str) {
        self.until_told(question, |server| server.sql(database, question).unwrap(), answer).await;
    }

    /// Waits until the server says so.
    pub(crate) async fn until_told(
        &self,
        what: &str,
        ask: impl Fn(&Database) -> String,
        answer: &str,
    ) {
        let mut last = String::new();
        for _ in 0..200 {
            last = ask(&self.database);
            if last == answer {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("in vain for {answer:?} to {what:?}: {last:?}");
    }

    pub(crate) fn events(&self) -> Vec<EventBody> {
        let folder: PathBuf = self.folder.path().join("audit");
        let reader = audit::read::Reader::open(&folder, 0).unwrap();
        reader
            .map(|event| {
                let Event { body, .. } = event.unwrap();
                body
            })
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.shutdown().request();
    }
}

async fn seed(control: &Control, resources: Vec<Resource>) {
    let seeding = control.system(Verb::Seed, "test", move |writing| {
        for resource in resources {
            writing.put_resource(resource)?;
        }
        Ok::<(), Refusal>(())
    });
    seeding.await.unwrap();
}

fn directory(database: &Database, stack: Stack) -> Vec<Resource> {
    let server = database.spec(stack);
    let mut all = vec![resource(Kind::DatabaseServer, "orders", &server)];
    let mut roles = vec!["reader", "writer", "admin"];
    if stack == Stack::Test {
        roles.push("superuser");
    }
    for role in roles {
        let name = format!("orders.{role}");
        let spec = json!({"server": "orders", "privileges": role, "databases": ["orders"]});
        all.push(resource(Kind::DatabaseRole, &name, &spec));
        all.push(resource(Kind::Group, &format!("orders-{role}"), &json!({})));
        let spec = json!({"principal": {"group": format!("orders-{role}")}, "role": name});
        all.push(resource(Kind::RoleAssignment, &name, &spec));
    }
    all
}

/// What an operator does on the server's host.
pub(crate) async fn enrol(
    database: &Database,
    (control, keyring): (&Control, &Keyring),
    addresses: &[IpAddr],
) {
    let authority = keyring.client_authority(&server_name()).await.unwrap();
    let snapshot = control.snapshots().load();
    let server = snapshot.servers.get("orders").unwrap().as_ref().clone();
    let published = server.status.client_authority.clone();
    let input = EnrollInput {
        observed: Some(enroll::observe(&database.host(), &server).unwrap()),
        server,
        roles: snapshot.database_roles.iter().map(|role| role.as_ref().clone()).collect(),
        client_authority: published.unwrap_or_else(|| authority.certificate_pem()),
        gateway_addresses: addresses.to_vec(),
        additional_authorities: Vec::new(),
    };
    enroll::apply(&enroll::plan(&input).unwrap(), &database.host()).unwrap();
}

pub(crate) fn roles(names: &[&str]) -> BTreeSet<model::DatabaseRoleName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}
