//! Cancel requests: which live session a key belongs to, and the request passed on to its server.
//!
//! A key is unique among the live sessions of the gateway, drawn from the system's random source, and forgotten in the
//! step that stops forwarding. Whoever sends a wrong one spends from the budget of their address; one that comes after
//! its session's end, as drivers send them whose query was faster than they, is no guess and costs nothing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keys::KeyError;
use model::kind::server::DatabaseServer;
use model::{Document, SessionId, Timestamp};
use runtime::config::CancelFrom;
use tracing::{debug, info};

use crate::dialect::{self, CancelKey};
use crate::listener::budget::Budgets;
use crate::outcome::Client;
use crate::session::Connection;

pub(crate) mod threads;

/// Wrong keys that one address may send in a minute.
const WRONG_KEYS_MAX: u32 = 10;
/// Ended sessions whose keys are still known as theirs.
const ENDED_MAX: usize = 4_096;

/// A request to cancel what another session runs.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Who asks.
    pub connection: Connection,
    /// Kept open until the server has taken the request: libpq waits for its end.
    pub client: Client,
    /// Which session is meant.
    pub key: CancelKey,
}

/// Where a live session's cancel request goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The session.
    pub session: SessionId,
    /// The session's address.
    pub source: IpAddr,
    /// From where the key may be used.
    pub cancel_from: CancelFrom,
    /// The server.
    pub server: Arc<Document<DatabaseServer>>,
    /// The key that the server gave.
    pub upstream: CancelKey,
}

/// The keys of live sessions.
#[derive(Debug)]
pub(crate) struct Keys {
    live: Mutex<HashMap<CancelKey, Target>>,
    ended: Mutex<Ended>,
    wrong: Budgets,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            ended: Mutex::default(),
            wrong: Budgets::new(WRONG_KEYS_MAX),
        }
    }
}

/// The keys of the sessions that ended last, with their addresses.
#[derive(Debug, Default)]
struct Ended {
    known: HashSet<(CancelKey, IpAddr)>,
    order: VecDeque<(CancelKey, IpAddr)>,
}

impl Ended {
    fn remember(&mut self, key: CancelKey, source: IpAddr) {
        let entry = (key, source);
        if self.known.insert(entry.clone()) {
            self.order.push_back(entry);
        }
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// A key in the table, forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    keys: Arc<Keys>,
    /// What the client gets.
    pub key: CancelKey,
}

/// Why a request was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPassedOn {
    /// No live session has it, or it is another address's.
    #[error("no live session of this address has the key")]
    Unknown,
    /// The session that had it has ended.
    #[error("the session has ended")]
    Ended,
    /// Too many wrong ones.
    #[error("the address has sent too many wrong keys")]
    BudgetSpent,
}

impl Keys {
    /// A fresh key for the session: the server's process id (clients compare it) and random bytes of ours, as long as
    /// the protocol version of the session wants them.
    pub(crate) fn register(self: &Arc<Self>, target: Target) -> Result<Registered, KeyError> {
        loop {
            let key = target.upstream.with_random_secret()?;
            let mut live = lock(&self.live);
            if let Entry::Vacant(vacant) = live.entry(key.clone()) {
                vacant.insert(target);
                return Ok(Registered { keys: Arc::clone(self), key });
            }
        }
    }

    /// Which live session the key belongs to, when it may be used from there.
    pub(crate) fn find(
        &self,
        key: &CancelKey,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Target, NotPassedOn> {
        if !self.wrong.has_left(source, now) {
            return Err(NotPassedOn::BudgetSpent);
        }
        // The table hashes the whole key with a secret of the process, so that time tells nothing about its bytes.
        let may = |target: &&Target| match target.cancel_from {
            CancelFrom::SameAddress => target.source == source,
            CancelFrom::AnyAddress => true,
        };
        let target = lock(&self.live).get(key).filter(may).cloned();
        if let Some(target) = target {
            return Ok(target);
        }
        if lock(&self.ended).known.contains(&(key.clone(), source)) {
            return Err(NotPassedOn::Ended);
        }
        self.wrong.spend(source, now);
        Err(NotPassedOn::Unknown)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let removed = lock(&self.keys.live).remove(&self.key);
        if let Some(target) = removed {
            lock(&self.keys.ended).remember(self.key.clone(), target.source);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes the request on and ends the connection. Nothing is ever answered.
pub(crate) async fn serve(asked: Asked) {
    let Asked { connection, client, key } = asked;
    let (gateway, source) = (&connection.gateway, connection.source);
    match gateway.cancel_keys.find(&key, source, gateway.clock.now()) {
        Err(error) => debug!(%source, %error, "cancel request not passed on"),
        Ok(target) => pass_on(&connection, &target).await,
    }
    client.close().await;
}

async fn pass_on(connection: &Connection, target: &Target) {
    let snapshot = connection.gateway.snapshots.load();
    if let Err(refusal) =
        access::network::server_allows(&target.server, connection.source, &snapshot)
    {
        info!(session = %target.session, source = %connection.source, code = refusal.code.id, "cancel request refused");
        return;
    }
    match dialect::cancel_upstream(&target.server, &target.upstream).await {
        Ok(()) => {
            info!(session = %target.session, source = %connection.source, "cancel request passed on");
        }
        Err(error) => {
            info!(session = %target.session, %error, "cancel request did not reach the server");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(source: &str) -> Target {
        Target {
            session: SessionId::random(),
            source: source.parse().unwrap(),
            cancel_from: CancelFrom::SameAddress,
            server: Arc::new(crate::upstream::tests::server("127.0.0.1", 5432)),
            upstream: CancelKey { pid: 4711, secret: vec![1, 2, 3, 4] },
        }
    }

    #[test]
    fn a_key_is_found_from_its_own_address_until_its_session_stops() {
        let (keys, now) = (Arc::new(Keys::default()), Timestamp::EPOCH);
        let target = target("192.0.2.1");
        let registered = keys.register(target.clone()).unwrap();
        assert_eq!((registered.key.pid, registered.key.secret.len()), (4711, 4));
        assert_ne!(registered.key, target.upstream);
        let found = |source: &str| {
            keys.find(&registered.key, source.parse().unwrap(), now).map(|found| found.session)
        };
        assert_eq!(found("192.0.2.1"), Ok(target.session));
        assert_eq!(found("192.0.2.2"), Err(NotPassedOn::Unknown));
        let key = registered.key.clone();
        drop(registered);
        assert_eq!(keys.find(&key, target.source, now).unwrap_err(), NotPassedOn::Ended);
    }

    #[test]
    fn requests_that_come_after_their_sessions_end_spend_nothing_of_the_budget() {
        let (keys, now) = (Arc::new(Keys::default()), Timestamp::EPOCH);
        let target = target("192.0.2.1");
        let late = keys.register(target.clone()).unwrap().key.clone();
        let live = keys.register(target.clone()).unwrap();
        for _ in 0..2 * WRONG_KEYS_MAX {
            assert_eq!(keys.find(&late, target.source, now).unwrap_err(), NotPassedOn::Ended);
        }
        assert!(keys.find(&live.key, target.source, now).is_ok());
        // From elsewhere it is as wrong as any.
        let elsewhere = "192.0.2.2".parse().unwrap();
        assert_eq!(keys.find(&late, elsewhere, now).unwrap_err(), NotPassedOn::Unknown);
    }

    #[test]
    fn only_so_many_ended_sessions_are_remembered() {
        let mut ended = Ended::default();
        let key = |pid| CancelKey { pid, secret: vec![0; 4] };
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        let count = u32::try_from(ENDED_MAX).unwrap() + 1;
        for pid in 0..count {
            ended.remember(key(pid), source);
        }
        assert_eq!((ended.known.len(), ended.order.len()), (ENDED_MAX, ENDED_MAX));
        assert!(!ended.known.contains(&(key(0), source)));
        assert!(ended.known.contains(&(key(count - 1), source)));
    }

    #[test]
    fn a_listener_can_let_keys_be_used_from_any_address() {
        let keys = Arc::new(Keys::default());
        let target = Target { cancel_from: CancelFrom::AnyAddress, ..target("192.0.2.1") };
        let registered = keys.register(target).unwrap();
        let elsewhere = "198.51.100.1".parse().unwrap();
        assert!(keys.find(&registered.key, elsewhere, Timestamp::EPOCH).is_ok());
    }

    #[test]
    fn wrong_keys_spend_the_budget_of_their_address_for_a_minute() {
        let (keys, now) = (Arc::new(Keys::default()), Timestamp::EPOCH);
        let target = target("192.0.2.1");
        let registered = keys.register(target.clone()).unwrap();
        let wrong = target.upstream.clone();
        for _ in 0..WRONG_KEYS_MAX {
            assert_eq!(keys.find(&wrong, target.source, now).unwrap_err(), NotPassedOn::Unknown);
        }
        assert_eq!(
            keys.find(&registered.key, target.source, now).unwrap_err(),
            NotPassedOn::BudgetSpent
        );
        let later = now.plus(std::time::Duration::from_mins(1));
        assert!(keys.find(&registered.key, target.source, later).is_ok());
    }

    #[test]
    fn a_key_is_as_long_as_the_protocol_version_wants_it() {
        let keys = Arc::new(Keys::default());
        let mut target = target("192.0.2.1");
        target.upstream.secret = vec![7; 32];
        assert_eq!(keys.register(target).unwrap().key.secret.len(), 32);
    }
}
