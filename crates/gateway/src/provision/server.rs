//! One protected server, as the provisioner knows it: its standing connection, whose turn it is, what is pending.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::Control;
use model::kind::server::DatabaseServer;
use model::{DatabaseRoleName, Document, Refusal, Revision, ServerName, Snapshot, code};
use runtime::Shutdown;
use tokio::sync::Notify;

use super::connection::{Connection, Dialler, Trouble};
use super::endings::Endings;

/// One protected server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: ServerName,
    pub(crate) control: Control,
    pub(crate) dialler: Dialler,
    /// The document as last seen: a deleted server's users are withdrawn with it.
    document: Mutex<Option<Arc<Document<DatabaseServer>>>>,
    standing: tokio::sync::Mutex<Option<Standing>>,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The revision of each database role that the server is known to have taken on.
    pub(super) roles: tokio::sync::Mutex<BTreeMap<DatabaseRoleName, Revision>>,
    /// Roles that give less than they did: sessions that began before are still to be ended.
    pub(super) narrowed: Mutex<BTreeSet<DatabaseRoleName>>,
    /// Memberships that roles of ours have and that could not be taken from them: somebody else's gift.
    pub(super) stuck: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// Whose certificates each user's accounts are known to ask for, where accounts name an authority.
    signed_by: Mutex<HashMap<String, String>>,
    /// Backends that sessions want ended.
    pub(super) endings: Endings,
    /// Users that are being worked on.
    busy: Mutex<BTreeSet<String>>,
    /// What could not be brought about yet, by user.
    pending: Mutex<BTreeMap<String, String>>,
    /// Someone wants the users looked at now.
    pub(crate) users_wanted: Notify,
    /// Someone wants roles and drift looked at now.
    pub(crate) roles_wanted: Notify,
    /// The server is no longer protected, and nothing is left to do on it.
    pub(crate) over: Shutdown,
}

/// The connection that a cut needs, always open, so that users can never starve it.
#[derive(Debug)]
struct Standing {
    connection: Arc<Connection>,
    to: DatabaseServer,
}

impl Server {
    pub(crate) fn new(name: ServerName, control: Control, dialler: Dialler) -> Self {
        Self {
            name,
            control,
            dialler,
            document: Mutex::new(None),
            standing: tokio::sync::Mutex::new(None),
            turns: Mutex::new(HashMap::new()),
            roles: tokio::sync::Mutex::new(BTreeMap::new()),
            narrowed: Mutex::new(BTreeSet::new()),
            stuck: Mutex::new(BTreeMap::new()),
            signed_by: Mutex::new(HashMap::new()),
            endings: Endings::default(),
            busy: Mutex::new(BTreeSet::new()),
            pending: Mutex::new(BTreeMap::new()),
            users_wanted: Notify::new(),
            roles_wanted: Notify::new(),
            over: Shutdown::new(),
        }
    }

    /// The server's document; the last one there was when it was deleted.
    pub(crate) fn document(
        &self,
        snapshot: &Snapshot,
    ) -> Result<Arc<Document<DatabaseServer>>, Trouble> {
        let mut known = lock(&self.document);
        if let Some(current) = snapshot.servers.get(&self.name) {
            *known = Some(Arc::clone(current));
        }
        if known.is_none() {
            let former = self.control.former_server(&self.name)?;
            *known = former.map(Arc::new);
        }
        known.clone().ok_or_else(|| {
            let message = format!("the server `{}` is not known any more", self.name);
            Trouble::Refused(Refusal::new(&code::SERVER_UNKNOWN, message))
        })
    }

    /// The standing connection, opened again when it was lost or the server has moved.
    pub(crate) async fn standing(
        &self,
        server: &Document<DatabaseServer>,
    ) -> Result<Arc<Connection>, Trouble> {
        let mut standing = self.standing.lock().await;
        let signing = self.dialler.signing(server).await?;
        if let Some(Standing { connection, to }) = standing.as_ref()
            && *to == server.spec
            && connection.signing() == signing.as_deref()
            && connection.is_open().await
        {
            return Ok(Arc::clone(connection));
        }
        let opened = self.dialler.connect(server, &server.spec.maintenance_database).await?;
        let connection = Arc::new(opened);
        *standing = Some(Standing { connection: Arc::clone(&connection), to: server.spec.clone() });
        Ok(connection)
    }

    /// Whether a user's accounts are known to ask for certificates of the authority that signs now. So it is where they
    /// name none.
    pub(crate) fn is_under(&self, user: &str, signing: Option<&str>) -> bool {
        signing
            .is_none_or(|signing| lock(&self.signed_by).get(user).is_some_and(|by| by == signing))
    }

    /// Remembers whose certificates a user's accounts ask for.
    pub(crate) fn note_signing(&self, user: &str, connection: &Connection) {
        if let Some(signing) = connection.signing() {
            lock(&self.signed_by).insert(user.to_owned(), signing.to_owned());
        }
    }

    /// Work on one user waits its turn here: a login and an ending never overlap.
    pub(crate) fn turn(&self, user: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.turns);
        // Nobody waits for a turn that only this map knows.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(user.to_owned()).or_default())
    }

    /// Marks a user as being worked on; `None` when it is already.
    pub(crate) fn begin(self: &Arc<Self>, user: &str) -> Option<Busy> {
        lock(&self.busy)
            .insert(user.to_owned())
            .then(|| Busy { server: Arc::clone(self), user: user.to_owned() })
    }

    /// Remembers, or forgets, what could not be brought about for a user.
    pub(crate) fn note(&self, user: &str, outcome: Result<(), String>) {
        let mut pending = lock(&self.pending);
        match outcome {
            Ok(()) => {
                pending.remove(user);
            }
            Err(why) => {
                pending.insert(user.to_owned(), why);
            }
        }
    }

    /// What could not be brought about yet, in words.
    pub(crate) fn pending(&self) -> Vec<String> {
        let pending = lock(&self.pending);
        pending.iter().map(|(user, why)| format!("database user `{user}`: {why}")).collect()
    }
}

/// Released when dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    server: Arc<Server>,
    user: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.server.busy).remove(&self.user);
    }
}

/// A lock that is held for a moment, never across an await. A panic elsewhere does not make its content wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
