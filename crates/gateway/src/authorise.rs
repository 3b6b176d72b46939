//! 5 The decision, kept with its inputs, and the bounds on sessions.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use access::{Decision, Grant, Request};
use model::kind::server::DatabaseServer;
use model::{Document, PrincipalId, ServerName, code};

use crate::Shared;
use crate::dialect::Started;
use crate::identify::Identified;
use crate::outcome::{Denied, Stop};
use crate::verify;

/// Of a server's connections, for the gateway's own work.
const RESERVED_CONNECTIONS: u32 = 3;

/// A connection that may become a session.
#[derive(Debug)]
pub(crate) struct Authorised {
    /// What the client said.
    pub started: Started,
    /// Where it goes.
    pub server: Arc<Document<DatabaseServer>>,
    /// What was asked, so that it can be asked again.
    pub request: Request,
    /// What was granted.
    pub grant: Box<Grant>,
    /// Its place among the sessions of the server and of the principal.
    pub seat: Seat,
}

/// Decides, and takes a seat.
pub(crate) fn decide(identified: Identified) -> Result<Authorised, Stop> {
    let Identified { started, server, credential } = identified;
    match decided(&started, &server, credential) {
        Ok((request, grant, seat)) => Ok(Authorised { started, server, request, grant, seat }),
        Err(denied) => Err(Stop::refused(started.connection, started.client, denied)),
    }
}

fn decided(
    started: &Started,
    server: &Document<DatabaseServer>,
    credential: access::token::Credential,
) -> Result<(Request, Box<Grant>, Seat), Denied> {
    let (connection, startup) = (&started.connection, &started.startup);
    let request = Request {
        principal: credential.principal,
        credential,
        server: server_name(server)?,
        database: startup.database.clone(),
        user: startup.user.clone(),
        source: connection.source,
        replication: startup.replication,
        opened_with: None,
    };
    let grant = grant(&request, &connection.gateway)?;
    let bounds = &server.spec.sessions;
    let per_server_max = per_server_max(bounds.per_server_max, server.status.connections_max);
    let seat = connection.gateway.seats.take(
        (request.server.clone(), request.principal),
        (per_server_max, bounds.per_principal_max),
    )?;
    Ok((request, grant, seat))
}

/// Sessions never take the connections with which the gateway ends access: the one that stands, one into a database,
/// and one to open either anew.
fn per_server_max(asked: Option<u32>, connections_max: Option<u32>) -> Option<u32> {
    let left = connections_max.map(|max| max.saturating_sub(RESERVED_CONNECTIONS));
    asked.into_iter().chain(left).min()
}

/// The decision on what is known now. Without fresh knowledge there is none (docs/architecture.md, "State").
pub(crate) fn grant(request: &Request, gateway: &Shared) -> Result<Box<Grant>, Denied> {
    let (snapshot, now) = (gateway.snapshots.load(), gateway.clock.now());
    let verified_at = gateway.snapshots.verified_at();
    if let Some((refusal, _)) = verify::stale(verified_at, gateway.limits.staleness_login_max, now)
    {
        return Err(refusal.into());
    }
    match access::decide(request, &snapshot, now) {
        Decision::Allow(grant) => Ok(grant),
        Decision::Deny(refusal) => Err(refusal.into()),
    }
}

fn server_name(server: &Document<DatabaseServer>) -> Result<ServerName, Denied> {
    ServerName::new(server.name()).map_err(|error| {
        Denied::new(&code::INTERNAL, "the server's name cannot be used").because(error)
    })
}

/// Sessions of each server and of each principal on it.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    servers: HashMap<ServerName, u32>,
    principals: HashMap<(ServerName, PrincipalId), u32>,
}

/// A seat, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    of: (ServerName, PrincipalId),
}

impl Seats {
    /// One more session, unless it is one too many of the server or of the principal. The gateway's own connections
    /// are not counted: sessions can never take the place that a cut needs.
    fn take(
        self: &Arc<Self>,
        of: (ServerName, PrincipalId),
        (per_server_max, per_principal_max): (Option<u32>, Option<u32>),
    ) -> Result<Seat, Denied> {
        let mut taken = self.lock();
        let full = |held: Option<&u32>, max: Option<u32>| {
            max.filter(|max| held.copied().unwrap_or_default() >= *max)
        };
        if let Some(max) = full(taken.servers.get(&of.0), per_server_max) {
            let message = format!("`{}` takes at most {max} sessions at a time", of.0);
            return Err(Denied::new(&code::TOO_MANY_CONNECTIONS, message));
        }
        if let Some(max) = full(taken.principals.get(&of), per_principal_max) {
            let message =
                format!("`{}` takes at most {max} sessions of one principal at a time", of.0);
            return Err(Denied::new(&code::TOO_MANY_CONNECTIONS, message));
        }
        *taken.servers.entry(of.0.clone()).or_default() += 1;
        *taken.principals.entry(of.clone()).or_default() += 1;
        drop(taken);
        Ok(Seat { seats: Arc::clone(self), of })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        release(&mut taken.servers, &self.of.0);
        release(&mut taken.principals, &self.of);
    }
}

fn release<K: Hash + Eq>(held: &mut HashMap<K, u32>, key: &K) {
    let left = held.get_mut(key).map(|count| {
        *count = count.saturating_sub(1);
        *count
    });
    if left == Some(0) {
        held.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_leave_the_gateways_own_connections_alone_whatever_was_asked_for() {
        assert_eq!(per_server_max(None, None), None);
        assert_eq!(per_server_max(Some(5), None), Some(5));
        assert_eq!(per_server_max(Some(500), Some(97)), Some(94));
        assert_eq!(per_server_max(Some(5), Some(97)), Some(5));
        assert_eq!(per_server_max(None, Some(2)), Some(0));
    }

    #[test]
    fn seats_are_bounded_by_server_and_by_principal_and_given_back() {
        let seats = Arc::new(Seats::default());
        let server = ServerName::new("orders").unwrap();
        let (ada, bob) = (PrincipalId::random(), PrincipalId::random());
        let take = |principal| seats.take((server.clone(), principal), (Some(2), Some(1)));
        let first = take(ada).unwrap();
        assert_eq!(
            take(ada).unwrap_err().refusal.message,
            "`orders` takes at most 1 sessions of one principal at a time"
        );
        let second = take(bob).unwrap();
        assert_eq!(
            take(PrincipalId::random()).unwrap_err().refusal.message,
            "`orders` takes at most 2 sessions at a time"
        );
        drop((first, second));
        assert!(seats.lock().servers.is_empty() && seats.lock().principals.is_empty());
    }
}
