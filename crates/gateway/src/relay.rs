//! 7 Both directions, verified all the while.
//!
//! [`Open`] is a plain value: what the steps before have made, and all that the relay needs. An open session belongs to
//! one of the relay's threads, which drives many of them: their sockets, buffers and wake-ups stay on one core, and a
//! thread that has work does not wait between one session's bytes and the next one's. A panic ends one session.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use control::LiveSession;
use model::kind::server::DatabaseServer;
use model::{Document, PrincipalId};

use crate::authorise::Seat;
use crate::cancel::Registered;
use crate::dialect::CancelKey;
use crate::end::LastRecord;
use crate::metrics::OpenGauge;
use crate::observe::Observer;
use crate::record::Recorder;
use crate::session::Connection;
use crate::tls::Stream;
use crate::verify::{Cause, Watch};

mod activity;
mod apart;
mod outbox;
mod pump;
mod socket;
#[cfg(test)]
mod tests;
mod threads;

use apart::Apart;

pub(crate) use activity::{Activity, State};
pub(crate) use pump::{End, Pump, Surroundings};
pub(crate) use socket::Socket;
pub(crate) use threads::{Relays, Task, Threads};

/// A session that may be relayed. Its sockets wait for a relay's thread.
#[derive(Debug)]
pub(crate) struct Open {
    /// The client.
    pub client: Box<Stream<Socket>>,
    /// The server.
    pub upstream: Box<Stream<Socket>>,
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
    pub key: Option<Registered>,
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
    pub pump: Pump<Box<Stream<Socket>>, Box<Stream<Socket>>>,
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

/// Threads that relay, of the machine's processors: one for two, since the other half of every round trip is the work of
/// clients and servers, and a thread with more sessions sleeps less often. Other numbers have not been measured.
pub(crate) const PROCESSORS_PER_THREAD: usize = 2;

/// A session while it is relayed: all that it holds, once. Futures only refer to it, because each that held a part by
/// value would have room for that part as long as the session lives.
#[derive(Debug)]
pub(crate) struct Relaying {
    pump: Pump<Box<Stream<Socket>>, Box<Stream<Socket>>>,
    watch: Watch,
    activity: Arc<Activity>,
    key: Option<Registered>,
    told: Vec<u8>,
    behind: Vec<u8>,
    connection: Connection,
    server: Arc<Document<DatabaseServer>>,
    principal: PrincipalId,
    database_user: String,
    upstream_key: CancelKey,
    live: Arc<LiveSession>,
    last_record: LastRecord,
    held: Held,
}

impl Relaying {
    pub(crate) fn new(open: Open) -> Box<Self> {
        let Open { client, upstream, context } = open;
        let Context { connection, server, principal, database_user, watch, .. } = context;
        let Context { observer, recorder, activity, key, upstream_key, told, behind, .. } = context;
        let Context { live, last_record, held, .. } = context;
        let around = Surroundings {
            clock: connection.gateway.clock.clone(),
            shutdown: connection.gateway.shutdown.clone(),
            activity: Arc::clone(&activity),
        };
        let pump = Pump::new((client, upstream), (observer, recorder), around);
        Box::new(Self {
            pump,
            watch,
            activity,
            key,
            told,
            behind,
            connection,
            server,
            principal,
            database_user,
            upstream_key,
            live,
            last_record,
            held,
        })
    }

    /// Relays until one side ends or the session may live no longer. When this returns, not one byte is forwarded any
    /// more, the cancel key is forgotten, and the session counts as told of every revision.
    pub(crate) async fn run(self: Box<Self>) -> Box<Ended> {
        let mut session = self;
        let why = session.relayed().await;
        session.ended(why)
    }

    /// Whatever ends the session from our side goes before the bytes that have come meanwhile.
    async fn relayed(&mut self) -> Why {
        let Self { pump, watch, activity, told, behind, .. } = self;
        let begun = pump.preload(told, behind);
        (*told, *behind) = (Vec::new(), Vec::new());
        if let Err(end) = begun {
            return Why::Itself(end);
        }
        let mut news = watch.news();
        let mut cause = Apart::new(watch.cause(activity));
        let mut pumped = pin!(pump.run());
        poll_fn(|context| {
            // Whoever is told of a change is told one after the other. The provisioner may have ended the backend before
            // our turn came, and the server's own last word must not be taken for the reason.
            if news.has_changed().unwrap_or(true) {
                news.mark_unchanged();
                cause.demand();
            }
            if let Poll::Ready(cause) = cause.poll(context) {
                return Poll::Ready(Why::Ours(cause));
            }
            pumped.as_mut().poll(context).map(Why::Itself)
        })
        .await
    }

    fn ended(self: Box<Self>, why: Why) -> Box<Ended> {
        let Self { pump, watch, key, connection, server, principal, database_user, .. } = *self;
        drop((key, watch));
        Box::new(Ended {
            pump,
            why,
            connection,
            server,
            principal,
            database_user,
            upstream_key: self.upstream_key,
            live: self.live,
            last_record: self.last_record,
            held: self.held,
        })
    }
}

impl Socket {
    /// A connection of the async runtime, to be driven by a relay's thread from now on.
    pub(crate) fn rehome(stream: Stream) -> io::Result<Box<Stream<Self>>> {
        stream.over(Self::take).map(Box::new)
    }
}
