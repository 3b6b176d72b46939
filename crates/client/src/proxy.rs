//! `portcullis proxy`: a port on this machine that adds the token. GUI tools, applications and connection pools that
//! cannot fetch one connect to it with any user name and any password; towards the gateway the connection is TLS,
//! verified in full, under the identity of whoever runs the proxy.
//!
//! Nothing on the local side is encrypted or asked for a credential, so it listens on loopback addresses and Unix
//! sockets only. The token is renewed ahead of its end ([`keeper`]); a connection that is open does not depend on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::kind::server::Engine;
use runtime::{Clock, Shutdown, Tasks};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use crate::{ClientError, Connection};

mod endpoint;
mod gateway;
mod keeper;
mod mysql;
mod postgresql;
mod relay;
mod trouble;

pub use endpoint::{Endpoint, InvalidEndpoint};
pub use keeper::Fetch;

pub(crate) use endpoint::remove_stale;

use endpoint::Listener;
use gateway::Gateway;
use keeper::Keeper;
use trouble::Trouble;

/// Connections at a time; pools of applications have some tens.
pub const CONNECTIONS_MAX: usize = 1_000;
/// After an error of `accept` itself (no file descriptors left) the loop waits so long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// After their time has come, connections are closed within this.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Waits between two tries to begin grow from the first to the last.
const BEGIN_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a proxy is made of.
pub struct Parts {
    /// Where it leads.
    pub connection: Connection,
    /// PEM of the installation's authority: nothing else is trusted. Read at each connection, so that it can be renewed.
    pub ca: PathBuf,
    /// Where it listens.
    pub listen: Endpoint,
    /// Where tokens come from.
    pub fetch: Box<Fetch>,
    /// The time.
    pub clock: Clock,
    /// Owner of its tasks, and the request to stop.
    pub tasks: Tasks,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// A proxy that listens.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect.
    pub address: String,
    tasks: Tasks,
    closing: Shutdown,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    connection: Connection,
    gateway: Gateway,
    keeper: Arc<Keeper>,
    clock: Clock,
    tasks: Tasks,
    closing: Shutdown,
    places: Arc<Semaphore>,
}

/// What a client of the proxy is, TCP or Unix socket.
trait Local: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Local for S {}

impl Proxy {
    /// Gets a first token, then listens: whoever can connect finds it ready.
    pub async fn start(parts: Parts) -> Result<Self, ClientError> {
        let Parts { connection, ca, listen, fetch, clock, tasks } = parts;
        let keeper = Keeper::new(fetch, clock.clone(), tasks.clone());
        keeper.first().await?;
        let unbindable = |source| ClientError::Unbindable { address: listen.to_string(), source };
        let listener = listen.bind().await.map_err(unbindable)?;
        let address = listener.address().map_err(unbindable)?;
        let closing = Shutdown::new();
        let gateway = Gateway::new(&connection, ca, clock.clone());
        let shared = Arc::new(Shared {
            connection,
            gateway,
            keeper: Arc::clone(&keeper),
            clock,
            tasks: tasks.clone(),
            closing: closing.clone(),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        });
        drop(tasks.spawn("tokens", keeper.run()));
        drop(tasks.spawn("accept", accept(listener, shared)));
        Ok(Self { address, tasks, closing })
    }

    /// Takes no more connections; those that are open have so long to end by themselves, unless they are hurried.
    pub async fn drain(self, within: Duration, hurried: impl Future<Output = ()>) {
        self.tasks.shutdown().request();
        tokio::select! {
            _aborted = self.tasks.join_all(within) => {}
            () = hurried => {}
        }
        self.closing.request();
        let stuck = self.tasks.join_all(CLOSE_WITHIN).await;
        if !stuck.is_empty() {
            warn!(tasks = ?stuck, "ended by force");
        }
    }
}

/// Tries until it succeeds, or fails for a reason that does not pass by itself: a sidecar may be up before its network.
pub async fn patiently<T: Send + 'static>(
    (clock, tasks): (&Clock, &Tasks),
    what: &'static str,
    work: impl Fn() -> Result<T, ClientError> + Send + Sync + 'static,
) -> Result<T, ClientError> {
    let work = Arc::new(work);
    let (mut pause, longest) = BEGIN_RETRY;
    loop {
        let tried = Arc::clone(&work);
        let error = match tasks.spawn_blocking(what, move || tried()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if error.passes() => error,
            Ok(Err(error)) => return Err(error),
            Err(error) => return Err(ClientError::Unfinished { task: what, source: error.into() }),
        };
        warn!(%error, what, "it is tried again");
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = tasks.shutdown().requested() => return Err(error),
        }
        pause = pause.saturating_mul(2).min(longest);
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.tasks.shutdown().requested() => return,
            // Cancel-safe: a connection that was not returned stays in the kernel's queue.
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(endpoint::Accepted::Tcp(stream)) => take(stream, &shared),
            Ok(endpoint::Accepted::Unix(stream)) => take(stream, &shared),
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                shared.clock.sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn take<S: Local>(stream: S, shared: &Arc<Shared>) {
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        // Closed at once: it would have to be read from before it can be told anything.
        warn!(connections = CONNECTIONS_MAX, "a connection found no place");
        return;
    };
    let served = Arc::clone(shared);
    drop(shared.tasks.spawn("connection", async move {
        let _place = place;
        let session = Box::pin(serve(stream, &served));
        tokio::select! {
            () = session => {}
            () = served.closing.requested() => {}
        }
    }));
}

async fn serve<S: Local>(stream: S, shared: &Shared) {
    let served = match shared.connection.engine {
        Engine::PostgreSql => postgresql::serve(stream, shared).await,
        Engine::MySql => mysql::serve(stream, shared).await,
    };
    match served {
        Ok(()) => debug!("a connection ended"),
        Err(Trouble::Local(error)) => debug!(%error, "a client went away"),
        Err(trouble) => info!(%trouble, "a connection was not opened"),
    }
}
