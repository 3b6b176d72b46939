//! The story of one connection, top to bottom, one call a step. Each step consumes the former state and returns the
//! next, so that an unauthorised connection cannot reach the relay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::event::Actor;
use model::{Principal, ServerName, SessionId, Timestamp, code};
use tokio::sync::oneshot;

use crate::claimed::Claimed;
use crate::dialect::{First, Opening};
use crate::listener::admission::Permit;
use crate::listener::{Accepted, Door};
use crate::outcome::{Denied, Stop};
use crate::relay::{Open, Relaying, Task};
use crate::{Shared, authorise, cancel, dialect, end, identify, network, tls, upstream};

/// Serves one connection from accept to close.
pub(crate) async fn serve(accepted: Accepted) {
    // Each part's memory is given back before the next begins: an idle session holds what the relay needs and no more.
    let Some((session, over)) = Box::pin(begin(accepted)).await else { return };
    if over.await.is_err() {
        tracing::error!(%session, "the relay panicked, or its thread has ended; the session is over");
    }
}

/// Up to one of the relay's threads, which also closes what it relayed; how its end is heard of. Nothing when there was
/// no session.
async fn begin(accepted: Accepted) -> Option<(SessionId, oneshot::Receiver<()>)> {
    match Box::pin(open(accepted)).await {
        Ok(open) => {
            let (relays, id) =
                (open.context.connection.gateway.relays.clone(), open.context.connection.id);
            return Some((id, relays.take(open)));
        }
        Err(Stop::Refused(refused)) => Box::pin(end::refuse(*refused)).await,
        Err(Stop::Cancel(asked)) => Box::pin(cancel::serve(*asked)).await,
        Err(Stop::Silent(why)) => {
            tracing::debug!(why, "a connection ended before it was a session");
        }
    }
    None
}

/// The story's last part, as the relay's threads tell it.
pub(crate) fn relay_and_close(open: Open) -> Task {
    let session = Relaying::new(open);
    Box::pin(async move {
        let ended = session.run().await;
        Box::pin(end::close(*ended)).await;
    })
}

async fn open(accepted: Accepted) -> Result<Open, Stop> {
    let admitted = network::admit(accepted).await?;
    let first = dialect::first(admitted).await?;
    let secured = match first {
        First::Tls(hello) => tls::accept(*hello).await?,
        First::Cancel(asked) => return Err(Stop::Cancel(asked)),
    };
    let started = dialect::start(secured).await?;
    let routed = network::route(started)?;
    let identified = identify::from_credential(routed).await?;
    let authorised = authorise::decide(identified)?;
    upstream::open(authorised).await
}

/// What every state of a connection carries along.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Names the connection in logs and in the audit log, whatever becomes of it.
    pub id: SessionId,
    /// Whose it is: the peer's address, or the one that a listed balancer named.
    pub source: IpAddr,
    /// Where it came in.
    pub door: Arc<Door>,
    /// Its gateway.
    pub gateway: Arc<Shared>,
    /// Its place among all connections.
    pub permit: Permit,
    /// What has been learned so far.
    pub known: Known,
    /// How far its opening has come.
    pub opening: Opening,
    /// When it came.
    pub accepted_at: Timestamp,
    /// It must be open by then.
    pub deadline: Timestamp,
    /// For whom it waited how long.
    pub waited: Waited,
}

/// What a refusal's audit record can say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The user name that was claimed.
    pub user: Option<Claimed>,
    /// The database that was asked for.
    pub database: Option<Claimed>,
    /// Where the route leads.
    pub server: Option<ServerName>,
    /// Who it is, once proven.
    pub principal: Option<Principal>,
}

/// Login latency, split by whom we waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waited {
    /// The client: its bytes.
    pub client: Duration,
    /// The server: provisioning, dial, its login.
    pub server: Duration,
}

impl Known {
    /// Who it is, or who they claim to be; nobody before a name was given.
    pub(crate) fn actor(&self) -> Option<Actor> {
        match (&self.principal, &self.user) {
            (Some(principal), _) => Some(Actor::from(principal)),
            (None, Some(user)) => Some(Actor::claimed(user.as_str())),
            (None, None) => None,
        }
    }
}

impl Connection {
    /// Waits for the client, at most until the connection must be open.
    pub(crate) async fn client<F: Future>(&mut self, step: F) -> Result<F::Output, Denied> {
        let before = self.gateway.clock.now();
        let outcome = tokio::time::timeout(self.deadline.since(before), step).await;
        self.waited.client += self.gateway.clock.now().since(before);
        outcome.map_err(|_| {
            Denied::new(&code::STARTUP_TIMEOUT, "the connection was not opened in time")
        })
    }

    /// Waits for the server, at most until the connection must be open.
    pub(crate) async fn server<F: Future>(&mut self, step: F) -> Result<F::Output, Denied> {
        let before = self.gateway.clock.now();
        let outcome = tokio::time::timeout(self.deadline.since(before), step).await;
        self.waited.server += self.gateway.clock.now().since(before);
        outcome.map_err(|_| {
            Denied::new(&code::UPSTREAM_UNREACHABLE, "the database server did not answer in time")
        })
    }
}
