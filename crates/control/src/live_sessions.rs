//! The sessions that are open now: the gateway registers each, the control plane lists and cuts them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::event::Actor;
use model::{
    ActivationId, DatabaseRoleName, Principal, PrincipalId, ServerName, SessionId, Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::sightings::Sightings;

/// Longer statements are shown by their beginning; the audit log has all of them.
const STATEMENT_BYTES_MAX: usize = 1024;
/// No login takes so long: an order to cut stands for those that had begun by then.
const ORDER_STANDS_FOR: Duration = Duration::from_hours(1);

/// A session as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub principal: Principal,
    /// From where.
    pub source: IpAddr,
    /// To which server.
    pub server: ServerName,
    /// To which of its databases.
    pub database: String,
    /// Under which name there.
    pub database_user: String,
    /// With which roles it was opened.
    pub roles: BTreeSet<DatabaseRoleName>,
    /// Under which activations.
    pub activations: Vec<ActivationId>,
    /// Since when: the client's connection was accepted.
    pub since: Timestamp,
    /// Until when at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The statement that runs, or the last one that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// What it does.
    pub state: SessionState,
}

/// What a session does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionState {
    /// Waits for its client.
    #[default]
    Idle,
    /// Runs a statement.
    Active,
    /// Waits for its client, with a transaction open.
    IdleInTransaction,
    /// Is being cut.
    Ending,
}

/// Why a session is cut by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// By whom.
    pub by: Actor,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When it was ordered: the moment from which it is measured.
    pub at: Timestamp,
}

/// Which sessions are to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// One.
    Session(SessionId),
    /// Every one of a principal.
    Principal(PrincipalId),
    /// Every one on a server.
    Server(ServerName),
}

impl Cutting {
    fn concerns(&self, session: &SessionInfo) -> bool {
        match self {
            Self::Session(id) => session.id == *id,
            Self::Principal(id) => session.principal.id == *id,
            Self::Server(name) => session.server == *name,
        }
    }
}

/// All of them. Copies are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct LiveSessions {
    state: Arc<Mutex<State>>,
    sightings: Sightings,
    /// Told whenever the last one has ended.
    emptied: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<SessionId, Entry>,
    /// Orders that also hold for logins that were under way when they were given.
    orders: Vec<(Cutting, Cut)>,
}

#[derive(Debug)]
struct Entry {
    info: Arc<Mutex<SessionInfo>>,
    cut: watch::Sender<Option<Cut>>,
}

/// The gateway's end of one session. Dropped, the session is no longer listed.
#[derive(Debug)]
pub struct LiveSession {
    id: SessionId,
    sessions: LiveSessions,
    info: Arc<Mutex<SessionInfo>>,
    cut: watch::Receiver<Option<Cut>>,
}

impl LiveSessions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists a session until the returned value is dropped. An order to cut that was given while it was being opened
    /// stands for it.
    pub fn register(&self, info: SessionInfo) -> LiveSession {
        let id = info.id;
        let mut state = self.lock();
        let standing = state
            .orders
            .iter()
            .find(|(which, order)| info.since <= order.at && which.concerns(&info))
            .map(|(_, order)| order.clone());
        let info = Arc::new(Mutex::new(info));
        let (cut, ordered) = watch::channel(standing);
        let entry = Entry { info: Arc::clone(&info), cut };
        state.sessions.insert(id, entry);
        drop(state);
        LiveSession { id, sessions: self.clone(), info, cut: ordered }
    }

    /// Every session, the oldest first.
    pub fn list(&self) -> Vec<SessionInfo> {
        let entries: Vec<Arc<Mutex<SessionInfo>>> =
            self.lock().sessions.values().map(|entry| Arc::clone(&entry.info)).collect();
        let mut sessions: Vec<SessionInfo> =
            entries.iter().map(|info| info_of(info).clone()).collect();
        sessions.sort_by_key(|session| (session.since, session.id));
        sessions
    }

    /// One session.
    pub fn get(&self, id: SessionId) -> Option<SessionInfo> {
        let info = self.lock().sessions.get(&id).map(|entry| Arc::clone(&entry.info))?;
        let session = info_of(&info).clone();
        Some(session)
    }

    /// The tables that sessions got rows from.
    pub fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lock().sessions.is_empty()
    }

    /// Returns when there are none. Cancel-safe.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Orders sessions to be cut, those that are open and those that are being opened. The open ones that were told;
    /// of several orders the first stands.
    pub fn cut(&self, which: Cutting, order: &Cut) -> Vec<SessionId> {
        let mut state = self.lock();
        let concerned = |entry: &Entry| which.concerns(&info_of(&entry.info));
        let mut told = Vec::new();
        for (id, entry) in state.sessions.iter().filter(|(_, entry)| concerned(entry)) {
            entry.cut.send_if_modified(|standing| {
                let first = standing.is_none();
                standing.get_or_insert_with(|| order.clone());
                first
            });
            told.push(*id);
        }
        let over = order.at.minus(ORDER_STANDS_FOR);
        state.orders.retain(|(_, former)| former.at > over);
        if !matches!(which, Cutting::Session(_)) {
            state.orders.push((which, order.clone()));
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn info_of(info: &Mutex<SessionInfo>) -> MutexGuard<'_, SessionInfo> {
    info.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveSession {
    /// Its id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns when the session is ordered to be cut. Cancel-safe.
    pub async fn cut(&mut self) -> Cut {
        loop {
            let standing = self.cut.borrow_and_update().clone();
            if let Some(order) = standing {
                return order;
            }
            // The sender lives as long as the entry, which lives as long as `self`.
            if self.cut.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Holds the order to cut once there is one: for a relay that waits on many things at once.
    pub fn orders(&self) -> watch::Receiver<Option<Cut>> {
        self.cut.clone()
    }

    /// The standing order to cut, without waiting.
    pub fn cut_ordered(&self) -> Option<Cut> {
        self.cut.borrow().clone()
    }

    /// A statement begins. Costs one uncontended lock and no allocation once the text's buffer has grown.
    pub fn statement(&self, text: &str) {
        let mut info = info_of(&self.info);
        info.state = SessionState::Active;
        let shown = info.statement.get_or_insert_default();
        shown.clear();
        shown.push_str(beginning(text));
    }

    /// Rows came from these tables. Asks a lock that all sessions share: for what this session has not told before.
    pub fn relations(&self, oids: &[u32]) {
        let info = info_of(&self.info);
        self.sessions.sightings.note(&info.server, &info.database, oids);
    }

    /// The session does something else now.
    pub fn state(&self, state: SessionState) {
        info_of(&self.info).state = state;
    }

    /// Its deadline moved.
    pub fn until(&self, until: Option<Timestamp>) {
        info_of(&self.info).until = until;
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        let mut state = self.sessions.lock();
        state.sessions.remove(&self.id);
        let empty = state.sessions.is_empty();
        drop(state);
        if empty {
            self.sessions.emptied.notify_waiters();
        }
    }
}

fn beginning(text: &str) -> &str {
    let end = text.floor_char_boundary(STATEMENT_BYTES_MAX);
    text.get(..end).unwrap_or(text)
}
