//! The person's database user and its memberships: prepared before a session is opened, withdrawn when the last role
//! ends, and looked at again and again in between.
//!
//! Logins call [`Provisioner::prepare`]; everything else happens by itself, on every change of the snapshot, at every
//! deadline and every minute, until what is on the server is what the snapshot says.

mod adopt;
mod connection;
mod drift;
mod endings;
mod engine;
pub(crate) mod examine;
pub(crate) mod mysql;
mod names;
pub(crate) mod pg;
mod plan;
mod record;
mod relations;
mod roles;
mod seen;
mod server;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::Grant;
use control::{Control, Keyring};
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::kind::server::DatabaseServer;
use model::{
    DatabaseRoleName, Document, PrincipalId, Refusal, Revision, ServerName, Snapshot, Timestamp,
    code,
};
use runtime::{Clock, Tasks};

use connection::{Connection, Dialler, Trouble};
use plan::UserStep;
use server::{Server, lock};

/// A login waits so long for its database user.
const PREPARE_WITHIN: Duration = Duration::from_secs(10);
/// Everything is looked at this often even when nothing changes.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// What failed is tried again this soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Administers the login users of every protected server. Copies are handles to the same.
#[derive(Clone, Debug)]
pub struct Provisioner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    control: Control,
    dialler: Dialler,
    servers: Mutex<BTreeMap<ServerName, Arc<Server>>>,
}

impl Provisioner {
    /// Starts to bring every server to what the snapshot says, now and after every change. The gateway dials from these
    /// addresses.
    pub fn new(
        control: Control,
        keyring: Keyring,
        (clock, tasks): (Clock, Tasks),
        addresses: &[IpAddr],
    ) -> Self {
        let dialler = Dialler { keyring, clock, tasks, addresses: addresses.into() };
        let shared = Shared { control, dialler, servers: Mutex::new(BTreeMap::new()) };
        let provisioner = Self { shared: Arc::new(shared) };
        let watching = provisioner.clone();
        detach(provisioner.shared.dialler.tasks.spawn("provisioner", async move {
            watching.watch().await;
        }));
        provisioner
    }

    /// Makes the login user a member of exactly the granted roles, creating it when it is not there. Returns at once
    /// when that is recorded already.
    pub async fn prepare(
        &self,
        server: &Document<DatabaseServer>,
        grant: &Grant,
    ) -> Result<String, Refusal> {
        let name = server_name(server)?;
        let document = names::document(&name, &grant.database_user);
        let worked_on = self.server(&name);
        let signing = self.shared.dialler.signing(server).await.map_err(Trouble::refusal)?;
        if users::is_prepared(&self.shared.control.snapshots().load(), &document, grant)?
            && worked_on.is_under(&grant.database_user, signing.as_deref())
        {
            return Ok(grant.database_user.clone());
        }
        let wanted = (server.clone(), grant.clone());
        // A login that gives up waiting leaves nothing half done on the server.
        let preparing = self.shared.dialler.tasks.spawn("prepare-user", async move {
            Box::pin(worked_on.prepare(&wanted.0, &wanted.1)).await
        });
        let prepared = match tokio::time::timeout(PREPARE_WITHIN, preparing).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(_)) | Err(_) => Err(Trouble::Late("prepare a user")),
        };
        match prepared {
            Ok(()) => Ok(grant.database_user.clone()),
            Err(trouble) => {
                tracing::warn!(server = %name, user = grant.database_user, %trouble, "a database user could not be prepared");
                Err(trouble.refusal())
            }
        }
    }

    /// Looks at the principal's user now. The snapshot says what must happen to it.
    pub fn withdraw(&self, server: &ServerName, _principal: PrincipalId) {
        self.server(server).users_wanted.notify_one();
    }

    /// Ends one backend, if it is this user's; whether there was one.
    pub async fn terminate(
        &self,
        server: &ServerName,
        user: &str,
        pid: u32,
    ) -> Result<bool, Refusal> {
        let connection = self.standing(server).await?;
        let known = self.server(server);
        known.endings.end(&connection, user, pid).await.map_err(Trouble::refusal)
    }

    /// The control plane that it works for.
    pub(crate) fn control(&self) -> &Control {
        &self.shared.control
    }

    async fn standing(&self, server: &ServerName) -> Result<Arc<Connection>, Refusal> {
        let server = self.server(server);
        let document = server.document(&self.shared.control.snapshots().load());
        let document = document.map_err(Trouble::refusal)?;
        server.standing(&document).await.map_err(Trouble::refusal)
    }

    /// The server as we know it; its loops begin with the first question about it.
    fn server(&self, name: &ServerName) -> Arc<Server> {
        let mut servers = lock(&self.shared.servers);
        if let Some(known) = servers.get(name) {
            return Arc::clone(known);
        }
        let Shared { control, dialler, .. } = &*self.shared;
        let server = Arc::new(Server::new(name.clone(), control.clone(), dialler.clone()));
        servers.insert(name.clone(), Arc::clone(&server));
        let users = Arc::clone(&server);
        detach(dialler.tasks.spawn("database-users", async move { watch_users(users).await }));
        let roles = Arc::clone(&server);
        detach(dialler.tasks.spawn("database-roles", async move { watch_roles(roles).await }));
        let relations = relations::watch(Arc::clone(&server));
        detach(dialler.tasks.spawn("relation-names", relations));
        server
    }

    /// Begins with every server that there is, and with each that comes.
    async fn watch(&self) {
        let mut changes = self.shared.control.snapshots().subscribe();
        loop {
            let snapshot = Arc::clone(&changes.borrow_and_update());
            for server in snapshot.servers.iter() {
                if let Ok(name) = server_name(server) {
                    self.server(&name);
                }
            }
            // Of servers that are no longer protected too, until their last user is withdrawn.
            for user in snapshot.database_users.iter().filter(|user| is_open(user)) {
                self.server(&user.spec.server);
            }
            self.forget_deleted(&snapshot);
            tokio::select! {
                // Cancel-safe: a change that is not seen now is seen the next time.
                changed = changes.changed() => if changed.is_err() { return },
                () = self.shared.dialler.tasks.shutdown().requested() => return,
            }
        }
    }
}

impl Provisioner {
    /// A server that is no longer protected is let go when all its users are disabled.
    fn forget_deleted(&self, snapshot: &Snapshot) {
        lock(&self.shared.servers).retain(|name, server| {
            let kept =
                snapshot.servers.get(name).is_some() || plan::users_of(name, snapshot).any(is_open);
            if !kept {
                server.over.request();
            }
            kept
        });
    }
}

fn is_open(user: &Document<DatabaseUser>) -> bool {
    user.status.state != DatabaseUserState::Disabled
}

/// Tasks end with the shutdown; nobody waits for one of them in particular.
fn detach<T>(task: tokio::task::JoinHandle<T>) {
    drop(task);
}

fn server_name(server: &Document<DatabaseServer>) -> Result<ServerName, Refusal> {
    ServerName::new(server.name())
        .map_err(|error| Refusal::new(&code::SERVER_UNKNOWN, error.to_string()))
}

/// Users: at every change of the snapshot, at every deadline, when asked, and soon again when something failed.
async fn watch_users(server: Arc<Server>) {
    let clock = server.dialler.clock.clone();
    let shutdown = server.dialler.tasks.shutdown().clone();
    let mut changes = server.control.snapshots().subscribe();
    loop {
        let snapshot = Arc::clone(&changes.borrow_and_update());
        begin_due(&server, &snapshot, clock.now());
        let next = next_look(&server, &snapshot, clock.now());
        tokio::select! {
            // Cancel-safe, all of them: what is not seen now is seen the next time.
            changed = changes.changed() => if changed.is_err() { return },
            () = server.users_wanted.notified() => {}
            () = clock.sleep_until(next) => {}
            () = shutdown.requested() => return,
            () = server.over.requested() => return,
        }
    }
}

/// Begins what is due for each user, one task a user: a server that hangs holds up nobody else's ending.
fn begin_due(server: &Arc<Server>, snapshot: &Snapshot, now: Timestamp) {
    for user in plan::users_of(&server.name, snapshot) {
        if plan::user_step(user, snapshot, now) == UserStep::Nothing {
            server.note(&user.spec.user, Ok(()));
            continue;
        }
        let Some(busy) = server.begin(&user.spec.user) else { continue };
        let (server, name, login) =
            (Arc::clone(server), user.name().to_owned(), user.spec.user.clone());
        let tasks = server.dialler.tasks.clone();
        detach(tasks.spawn("database-user", async move {
            let settled = server.settle(&name).await;
            if let Err(trouble) = &settled {
                tracing::warn!(server = %server.name, user = login, %trouble, "a database user is not settled yet");
            }
            server.note(&login, settled.map_err(|trouble| trouble.to_string()));
            drop(busy);
            server.roles_wanted.notify_one();
        }));
    }
}

/// The next deadline of a membership, or soon when something is not settled.
fn next_look(server: &Server, snapshot: &Snapshot, now: Timestamp) -> Timestamp {
    let unsettled = plan::users_of(&server.name, snapshot)
        .any(|user| plan::user_step(user, snapshot, now) != UserStep::Nothing);
    let regular = now.plus(if unsettled { RETRY_AFTER } else { LOOK_EVERY });
    let ends = plan::users_of(&server.name, snapshot).flat_map(|user| {
        access::membership::active_roles(user.spec.principal, &server.name, snapshot, now)
            .into_iter()
            .filter_map(|role| role.until)
    });
    ends.chain([regular]).min().unwrap_or(regular)
}

/// Roles and drift: when something that they depend on changes, when asked, and every minute.
async fn watch_roles(server: Arc<Server>) {
    let clock = server.dialler.clock.clone();
    let shutdown = server.dialler.tasks.shutdown().clone();
    let mut changes = server.control.snapshots().subscribe();
    let mut seen = None;
    let mut due = clock.now();
    loop {
        let snapshot = Arc::clone(&changes.borrow_and_update());
        let inputs = Inputs::of(&server, &snapshot);
        let now = clock.now();
        if seen.as_ref() != Some(&inputs) || now >= due {
            if let Err(trouble) = Box::pin(server.look(&snapshot)).await {
                tracing::warn!(server = %server.name, %trouble, "the server's roles are not settled yet");
            }
            seen = Some(inputs);
            due = clock.now().plus(LOOK_EVERY);
        }
        tokio::select! {
            // Cancel-safe, all of them: what is not seen now is seen the next time.
            changed = changes.changed() => if changed.is_err() { return },
            () = server.roles_wanted.notified() => due = clock.now(),
            () = clock.sleep_until(due) => {}
            () = shutdown.requested() => return,
            () = server.over.requested() => return,
        }
    }
}

/// What the roles on a server depend on. Statuses that we write ourselves are not in it.
#[derive(Debug, PartialEq)]
struct Inputs {
    server: Option<DatabaseServer>,
    /// Accounts may name the authority that signs.
    client_authority: Option<String>,
    roles: BTreeMap<String, Option<Revision>>,
    /// Login users and their roles: some may create objects, which others must be able to read.
    users: BTreeMap<String, BTreeSet<DatabaseRoleName>>,
}

impl Inputs {
    fn of(server: &Server, snapshot: &Snapshot) -> Self {
        let users = plan::users_of(&server.name, snapshot);
        Self {
            server: snapshot.servers.get(&server.name).map(|server| server.spec.clone()),
            client_authority: snapshot
                .servers
                .get(&server.name)
                .and_then(|server| server.status.client_authority.clone()),
            roles: plan::roles_of(&server.name, snapshot)
                .map(|role| (role.name().to_owned(), role.metadata.revision))
                .collect(),
            users: users.map(|user| (user.spec.user.clone(), user.status.roles.clone())).collect(),
        }
    }
}
