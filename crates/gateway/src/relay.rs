//! 7 Both directions, verified all the while.
//!
//! [`Open`] is a plain value: what the steps before have made, and all that the relay needs. Today the relay is a task
//! of the async runtime; whatever runs it later takes the same value.

use std::sync::Arc;

use control::LiveSession;
use model::kind::server::DatabaseServer;
use model::{Document, PrincipalId};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use crate::authorise::Seat;
use crate::cancel::Registered;
use crate::dialect::CancelKey;
use crate::end::LastRecord;
use crate::metrics::OpenGauge;
use crate::observe::Observer;
use crate::record::Recorder;
use crate::session::Connection;
use crate::verify::{Cause, Watch};

mod activity;
mod outbox;
mod pump;
#[cfg(test)]
mod tests;

pub(crate) use activity::{Activity, State};
pub(crate) use pump::{End, Pump, Surroundings};

/// The client's side.
pub(crate) type ClientStream = Box<server::TlsStream<TcpStream>>;
/// The server's side.
pub(crate) type UpstreamStream = Box<client::TlsStream<TcpStream>>;

/// A session that may be relayed.
#[derive(Debug)]
pub(crate) struct Open {
    /// The client.
    pub client: ClientStream,
    /// The server.
    pub upstream: UpstreamStream,
    /// Everything else.
    pub context: Context,
}

/// What an open session carries along.
#[derive(Debug)]
pub(crate) struct Context {
    /// What it was before.
    pub connection: Connection,
    /// Where it goes.
    pub server: Arc<Document<DatabaseServer>>,
    /// As whom.
    pub principal: PrincipalId,
    /// Under which name there.
    pub database_user: String,
    /// Asks again whether it may live.
    pub watch: Watch,
    /// Understands what passes.
    pub observer: Observer,
    /// Writes it down.
    pub recorder: Recorder,
    /// What happens, for whoever watches.
    pub activity: Arc<Activity>,
    /// The client's cancel key.
    pub key: Registered,
    /// The server's cancel key.
    pub upstream_key: CancelKey,
    /// What the client is told first.
    pub told: Vec<u8>,
    /// What the server said behind that already.
    pub behind: Vec<u8>,
    /// Its place in the list of sessions.
    pub live: Arc<LiveSession>,
    /// Written when it ends, however it ends.
    pub last_record: LastRecord,
    /// Given back when it ends.
    pub held: Held,
}

/// What a session gives back when it ends.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its place among sessions.
    pub _seat: Seat,
    /// Counts it as open.
    pub _gauge: OpenGauge,
}

/// A session that is no longer relayed, and has not been closed.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Both sides, and what they have not taken.
    pub pump: Pump<ClientStream, UpstreamStream>,
    /// Why.
    pub why: Why,
    /// What it was before.
    pub connection: Connection,
    /// Where it went.
    pub server: Arc<Document<DatabaseServer>>,
    /// As whom.
    pub principal: PrincipalId,
    /// Under which name there.
    pub database_user: String,
    /// How its backend is cancelled.
    pub upstream_key: CancelKey,
    /// Its place in the list of sessions.
    pub live: Arc<LiveSession>,
    /// To be written.
    pub last_record: LastRecord,
    /// Given back when it is closed.
    pub held: Held,
}

/// Why the relay stopped.
#[derive(Debug)]
pub(crate) enum Why {
    /// One side, or what it said, ended it.
    Itself(End),
    /// We ended it.
    Ours(Cause),
}

/// Relays until one side ends or the session may live no longer. When this returns, not one byte is forwarded any
/// more, the cancel key is forgotten, and the session counts as told of every revision.
pub(crate) async fn run(open: Open) -> Ended {
    let Open { client, upstream, context } = open;
    let Context { connection, server, principal, mut watch, observer, recorder, activity, .. } =
        context;
    let around = Surroundings {
        clock: connection.gateway.clock.clone(),
        shutdown: connection.gateway.shutdown.clone(),
        activity: Arc::clone(&activity),
    };
    let mut pump = Pump::new((client, upstream), (observer, recorder), around);
    let why = if let Err(unobservable) = pump.preload(&context.told, &context.behind) {
        Why::Itself(End::ServerUnobservable(unobservable))
    } else {
        tokio::select! {
            biased;
            cause = watch.cause(&activity) => Why::Ours(cause),
            end = pump.run() => Why::Itself(end),
        }
    };
    drop((context.key, watch));
    Ended {
        pump,
        why,
        connection,
        server,
        principal,
        database_user: context.database_user,
        upstream_key: context.upstream_key,
        live: context.live,
        last_record: context.last_record,
        held: context.held,
    }
}
