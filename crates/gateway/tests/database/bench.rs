//! A throw-away server, enrolled, with a store, keys, an audit log and the provisioner: all but the data path.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use access::Grant;
use audit::Log;
use control::{Caller, Control, Keyring, LiveSessions, Verb};
use gateway::enroll::{self, EnrollInput, Host};
use gateway::provision::Provisioner;
use keys::{ClientLeaf, MasterKey};
use model::event::{Event, EventBody};
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::kind::server::DatabaseServer;
use model::{Document, Kind, Refusal, Resource, ServerName, SessionId, Snapshot};
use runtime::{Clock, Shutdown, Tasks};
use serde_json::{Value, json};
use store::Store;
use testkit::postgres::{DirectAccess, Options, Postgres};
use tokio_postgres::{Client, NoTls};

/// The server has time for what it must do, and a test that waits in vain says what for.
const WITHIN: Duration = Duration::from_secs(20);

/// How the demo database is laid out: a schema owner, an application that owns tables of its own, a superuser's table.
const ORDERS: &str = "
CREATE ROLE orders_owner; CREATE ROLE app;
CREATE DATABASE orders OWNER orders_owner;
";
const TABLES: &str = "
GRANT CREATE, USAGE ON SCHEMA public TO app;
SET ROLE orders_owner;
CREATE TABLE orders (id serial PRIMARY KEY, total numeric NOT NULL);
INSERT INTO orders (total) SELECT n FROM generate_series(1, 100) n;
SET ROLE app;
CREATE TABLE app_log (line text);
RESET ROLE;
CREATE TABLE bosses (name text);
";

pub(crate) struct Bench {
    pub(crate) postgres: Postgres,
    pub(crate) control: Control,
    pub(crate) provisioner: Provisioner,
    keyring: Keyring,
    clock: Clock,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

/// Whether the server may have superusers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    Production,
    Test,
}

pub(crate) fn server_name() -> ServerName {
    ServerName::new("orders").unwrap()
}

pub(crate) fn host(postgres: &Postgres) -> Host {
    Host {
        data_directory: postgres.data_directory(),
        socket_directory: postgres.socket_directory(),
        os_user: postgres.os_user().to_owned(),
        superuser: Some("postgres".to_owned()),
    }
}

pub(crate) fn resource(kind: Kind, name: &str, spec: &Value) -> Resource {
    let value = json!({
        "apiVersion": "portcullis.dev/v1", "kind": kind.name(), "metadata": {"name": name}, "spec": spec,
    });
    Resource::from_value(kind, value).unwrap()
}

impl Bench {
    pub(crate) async fn start(stack: Stack) -> Self {
        let options = Options { direct_access: DirectAccess::Superuser, ..Options::default() };
        let postgres = Postgres::start_with(&options).unwrap();
        postgres.psql("postgres", ORDERS).unwrap();
        postgres.psql("orders", TABLES).unwrap();
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
        seed(&control, directory(&postgres, stack)).await;
        enrol(&postgres, &control, &keyring).await;
        let provisioner = Provisioner::new(
            control.clone(),
            keyring.clone(),
            (clock.clone(), tasks.clone()),
            &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        );
        Self { postgres, control, provisioner, keyring, clock, tasks, folder }
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
        self.provisioner =
            Provisioner::new(control, keyring, (clock, tasks), &[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
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
            notice: None,
        }
    }

    pub(crate) async fn prepare(&self, person: &str) -> Result<String, Refusal> {
        self.provisioner.prepare(&self.server(), &self.grant(person)).await
    }

    /// What the gateway does for a login.
    pub(crate) async fn login(&self, person: &str) -> Client {
        let user = self.prepare(person).await.unwrap();
        self.direct(&user).await.unwrap()
    }

    /// A connection with a certificate that the server's own authority made, whatever was prepared.
    pub(crate) async fn direct(&self, user: &str) -> Result<Client, tokio_postgres::Error> {
        let authority = self.keyring.client_authority(&server_name()).await.unwrap();
        let leaf = ClientLeaf { user, session: SessionId::random() };
        let identity = authority.issue_client(&leaf, self.clock.now()).unwrap();
        let stream = gateway::upstream::dial(&self.server(), identity).await.unwrap();
        let mut config = tokio_postgres::Config::new();
        config.user(user).dbname("orders");
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        drop(self.tasks.spawn("test-session", async move {
            // It ends with an error when the server ends it, which is what tests are about.
            drop(connection.await);
        }));
        Ok(client)
    }

    fn version(&self) -> u32 {
        self.postgres.psql("postgres", "SHOW server_version_num").unwrap().parse().unwrap()
    }

    /// Before PostgreSQL 16 every member can `SET ROLE`.
    pub(crate) fn hands_on_set_role(&self) -> bool {
        self.version() < 160_000
    }

    /// From PostgreSQL 16 on only they, and superusers, can.
    pub(crate) fn revokes_what_others_granted(&self) -> bool {
        self.version() < 160_000
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

    pub(crate) async fn until_finding(&self, finding: &str) {
        self.until(&format!("finding {finding:?}"), |snapshot| {
            snapshot.servers.get("orders").is_some_and(|server| {
                server.status.findings.iter().any(|found| found.contains(finding))
            })
        })
        .await;
    }

    /// Waits until what the superuser asks has this answer.
    pub(crate) async fn until_sql(&self, database: &str, question: &str, answer: &str) {
        let mut last = String::new();
        for _ in 0..200 {
            last = self.postgres.psql(database, question).unwrap();
            if last == answer {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("in vain for {answer:?} to {question:?}: {last:?}");
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

fn directory(postgres: &Postgres, stack: Stack) -> Vec<Resource> {
    let server = json!({
        "engine": "postgresql", "host": "127.0.0.1", "port": postgres.port(), "ca": postgres.server_ca(),
        "databases": {"only": ["orders"]}, "testStack": stack == Stack::Test,
    });
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

async fn enrol(postgres: &Postgres, control: &Control, keyring: &Keyring) {
    let authority = keyring.client_authority(&server_name()).await.unwrap();
    let snapshot = control.snapshots().load();
    let input = EnrollInput {
        server: snapshot.servers.get("orders").unwrap().as_ref().clone(),
        roles: snapshot.database_roles.iter().map(|role| role.as_ref().clone()).collect(),
        client_authority: authority.certificate_pem(),
        gateway_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        additional_authorities: Vec::new(),
        observed: Some(enroll::observe(&host(postgres), "postgres").unwrap()),
    };
    enroll::apply(&enroll::plan(&input).unwrap(), &host(postgres)).unwrap();
}

/// What the server said, as SQLSTATE.
pub(crate) fn sqlstate(error: &tokio_postgres::Error) -> String {
    error.code().map(|code| code.code().to_owned()).unwrap_or_default()
}

pub(crate) fn roles(names: &[&str]) -> BTreeSet<model::DatabaseRoleName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}
