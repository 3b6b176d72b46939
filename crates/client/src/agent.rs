//! `portcullis agent`: the instance metadata service of a machine. A process asks it for a token as it would ask Azure's,
//! without a secret; the agent finds out from the kernel which process that is, and the installation decides which managed
//! identity it may be.
//!
//! The agent decides nothing and keeps nothing but the machine's key and certificate: tokens are in memory, and whom a
//! token is for is asked anew for every caller.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{Caller, Selector};
use runtime::{Clock, Shutdown, Tasks};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use crate::ClientError;

mod caller;
mod header;
mod joined;
mod place;
mod question;
mod socket;
mod tokens;

pub use joined::{Folder, Joined};
pub use place::{InvalidPlace, Place};
pub use socket::{Environment, environment};

use place::Bound;
use question::{Failure, Question};
use tokens::{Tokens, Wanted};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// From the first byte of a request to the end of its headers; also how long an idle connection is kept.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Larger headers are refused.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// After an error of `accept` itself (no file descriptors left) the loop waits so long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// After their time has come, connections are closed within this.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What an agent is made of.
#[derive(Debug)]
pub struct Parts {
    /// What the machine keeps of having joined.
    pub folder: Folder,
    /// PEM of the installation's authority: nothing else is trusted.
    pub authority: PathBuf,
    /// Where it listens.
    pub listen: Vec<Place>,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Owner of its tasks, and the request to stop.
    pub tasks: Tasks,
}

/// An agent that listens.
#[derive(Debug)]
pub struct Agent {
    /// Where processes ask.
    pub addresses: Vec<Place>,
    /// As which host.
    pub host: String,
    tasks: Tasks,
    closing: Shutdown,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    tokens: Arc<Tokens>,
    addresses: Vec<Place>,
    places: Arc<Semaphore>,
    clock: Clock,
    tasks: Tasks,
    closing: Shutdown,
}

impl Agent {
    /// Reads what the machine keeps, and listens.
    pub async fn start(parts: Parts) -> Result<Self, ClientError> {
        let Parts { folder, authority, listen, socket, clock, tasks } = parts;
        let tokens = Tokens::open(folder, authority, (clock.clone(), tasks.clone()))?;
        let tokens = Arc::new(tokens);
        let host = tokens.standing().joined.name.clone();
        let mut bound = Vec::new();
        for place in &listen {
            let unbindable =
                |source| ClientError::Unbindable { address: place.to_string(), source };
            bound.push(place.bind().map_err(unbindable)?);
        }
        let unbindable =
            |source| ClientError::Unbindable { address: socket.display().to_string(), source };
        let unix = socket::bind(&socket).await.map_err(unbindable)?;
        let addresses: Vec<Place> = bound.iter().map(|bound| bound.place.clone()).collect();
        let closing = Shutdown::new();
        let shared = Arc::new(Shared {
            tokens: Arc::clone(&tokens),
            addresses: addresses.clone(),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            clock,
            tasks: tasks.clone(),
            closing: closing.clone(),
        });
        drop(tasks.spawn("certificate", tokens.keep_certified()));
        drop(tasks.spawn("socket", socket::serve(unix, Arc::clone(&shared))));
        for bound in bound {
            drop(tasks.spawn("accept", accept(bound, Arc::clone(&shared))));
        }
        Ok(Self { addresses, host, tasks, closing })
    }

    /// Takes no more connections; requests that were begun are answered.
    pub async fn drain(self, within: Duration) {
        self.tasks.shutdown().request();
        self.closing.request();
        let stuck = self.tasks.join_all(within.max(CLOSE_WITHIN)).await;
        if !stuck.is_empty() {
            warn!(tasks = ?stuck, "ended by force");
        }
    }
}

async fn accept(bound: Bound, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.tasks.shutdown().requested() => return,
            // Cancel-safe: a connection that was not returned stays in the kernel's queue.
            accepted = bound.listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                shared.clock.sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            warn!(connections = CONNECTIONS_MAX, "a connection found no place");
            continue;
        };
        let (served, tables) = (Arc::clone(&shared), bound.tables.clone());
        drop(shared.tasks.spawn("connection", async move {
            let _place = place;
            if let Err(error) = connection(stream, (peer, tables), served).await {
                debug!(%error, "a connection ended early");
            }
        }));
    }
}

async fn connection(
    stream: TcpStream,
    (peer, tables): (SocketAddr, PathBuf),
    shared: Arc<Shared>,
) -> std::io::Result<()> {
    let ends = (stream.local_addr()?, peer);
    let closing = shared.closing.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, tables) = (Arc::clone(&shared), tables.clone());
        async move { Ok::<_, Infallible>(answered(&request, (ends, tables), &shared).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(std::io::Error::other),
        () = closing.requested() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(std::io::Error::other)
}

async fn answered(
    request: &Request<Incoming>,
    connection: ((SocketAddr, SocketAddr), PathBuf),
    shared: &Shared,
) -> Response<String> {
    let asked = question::read(request.method(), request.uri(), request.headers());
    let answer = match asked {
        Ok(question) => token(question, connection, shared).await,
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(body) => response(200, body, None),
        Err(failure) => response(failure.status, failure.body(), failure.retry_after_seconds),
    }
}

async fn token(
    question: Question,
    (ends, tables): ((SocketAddr, SocketAddr), PathBuf),
    shared: &Shared,
) -> Result<String, Failure> {
    let Question { resource, selector, header } = question;
    let looked =
        shared.tasks.spawn_blocking("caller", move || caller::of_connection(&tables, ends));
    let callers = match looked.await {
        Ok(Ok(callers)) => callers,
        Ok(Err(error)) => {
            info!(%error, peer = %ends.1, "it is not known who asks, so nobody is answered");
            return Err(Failure::not_found());
        }
        Err(error) => {
            warn!(%error, "looking for the caller broke off");
            return Err(Failure::unavailable());
        }
    };
    let selector = match header {
        None => selector,
        Some(header) => of_header(&header, selector, &callers, shared)?,
    };
    let token = shared.tokens.token(Wanted { callers, selector, resource }).await?;
    Ok(token.answer(shared.tokens.now()).to_string())
}

/// The header counts for the account that it was given to, and names the identity unless the request does.
fn of_header(
    header: &str,
    selector: Option<Selector>,
    callers: &[Caller],
    shared: &Shared,
) -> Result<Option<Selector>, Failure> {
    let said = shared.tokens.standing().headers.read(header);
    let said = said.filter(|said| callers.iter().all(|caller| caller.uid == said.uid));
    let Some(said) = said else {
        info!(?callers, "an identity header is not this process's");
        let why = "The X-IDENTITY-HEADER header is missing or is not this process's";
        return Err(Failure::new(401, "unauthorized", why));
    };
    Ok(selector.or_else(|| said.identity.map(Selector::Name)))
}

fn response(status: u16, body: String, retry_after_seconds: Option<u32>) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
