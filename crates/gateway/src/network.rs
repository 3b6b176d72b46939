//! 2 Network rules, in two steps with one function behind both: before a byte is read, and again once the route is
//! known and before a credential is asked for. Cancel requests take the second step too.

use std::sync::Arc;
use std::time::Duration;

use model::kind::server::DatabaseServer;
use model::{Document, Refusal, code};
use runtime::config::Protocol;

use crate::dialect::{self, First, Started};
use crate::listener::{self, Accepted};
use crate::outcome::Stop;
use crate::tls;

/// How long a connection that reaches no server, or finds no place, may take to be told so.
const TURN_AWAY_WITHIN: Duration = Duration::from_secs(2);

/// A connection whose server is known, and which may reach it.
#[derive(Debug)]
pub(crate) struct Routed {
    /// What the client said.
    pub started: Started,
    /// Where it goes.
    pub server: Arc<Document<DatabaseServer>>,
}

/// Whether any server behind the listener may be reached from the peer. A listed balancer is asked for its peer first.
pub(crate) async fn admit(accepted: Accepted) -> Result<Accepted, Stop> {
    let accepted = listener::unwrap_proxy(accepted).await?;
    let connection = &accepted.connection;
    let snapshot = connection.gateway.snapshots.load();
    let listener = &connection.door.name;
    let full = connection.permit.full();
    match access::network::listener_allows(listener, connection.source, &snapshot) {
        Ok(()) => match full {
            None => Ok(accepted),
            Some(full) => {
                let refusal = Refusal::new(&code::TOO_MANY_CONNECTIONS, full.to_string());
                Err(turn_away(accepted, refusal, Cancels::Served).await)
            }
        },
        Err(refusal) => Err(turn_away(accepted, refusal, Cancels::Ignored).await),
    }
}

/// What becomes of a cancel request of a connection that is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancels {
    /// It reaches no server.
    Ignored,
    /// It needs no place, and may be what makes one.
    Served,
}

/// The verdict stands before a byte is read. Clients show a reason only when it comes inside TLS, so they are let that
/// far, shortly, and no further: nothing that they say is looked at.
async fn turn_away(mut accepted: Accepted, refusal: Refusal, cancels: Cancels) -> Stop {
    let connection = &mut accepted.connection;
    // MySQL's servers say such a thing in place of their greeting.
    if connection.door.protocol == Protocol::MySql {
        return Stop::refused_plain(accepted.connection, accepted.stream, refusal);
    }
    connection.deadline = connection.gateway.clock.now().plus(TURN_AWAY_WITHIN);
    let hello = match dialect::first(accepted).await {
        Ok(First::Tls(hello)) => hello,
        Ok(First::Cancel(asked)) if cancels == Cancels::Served => return Stop::Cancel(asked),
        Ok(First::Cancel(_)) => {
            return Stop::Silent("a cancel request from an address that reaches no server");
        }
        Err(Stop::Refused(mut refused)) => {
            refused.connection.known = crate::session::Known::default();
            refused.denied = refusal.into();
            return Stop::Refused(refused);
        }
        Err(stop) => return stop,
    };
    match tls::accept(*hello).await {
        Ok(secured) => Stop::refused(secured.connection, secured.client, refusal),
        Err(stop) => stop,
    }
}

/// Finds the server and asks its own rules.
pub(crate) fn route(mut started: Started) -> Result<Routed, Stop> {
    match routed(&started) {
        Ok(server) => {
            started.connection.known.server = model::ServerName::new(server.name()).ok();
            Ok(Routed { started, server })
        }
        Err(refusal) => Err(Stop::refused(started.connection, started.client, refusal)),
    }
}

fn routed(started: &Started) -> Result<Arc<Document<DatabaseServer>>, Refusal> {
    let connection = &started.connection;
    if connection.gateway.shutdown.is_requested() {
        let message = "the gateway is stopping and opens no more sessions";
        return Err(Refusal::new(&code::DRAINING, message));
    }
    let snapshot = connection.gateway.snapshots.load();
    let asked = access::route::Asked {
        listener: &connection.door.name,
        server_name: started.server_name.as_deref(),
        database: &started.startup.database,
    };
    let server = access::route::route(&asked, &snapshot)?;
    if Protocol::of(server.spec.engine) != connection.door.protocol {
        let message = format!(
            "the server `{}` does not speak the protocol of the listener `{}`",
            server.name(),
            connection.door.name
        );
        let hint = "name a listener of the server's own protocol in its `listeners`";
        return Err(Refusal::new(&code::SERVER_UNKNOWN, message).hint(hint));
    }
    access::network::server_allows(&server, connection.source, &snapshot)?;
    Ok(server)
}
