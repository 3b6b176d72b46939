//! 1 Accept: bind, limits, PROXY protocol. The accept loop waits for nothing but the next connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::SessionId;
use runtime::config::{Authentication, CancelFrom, Network, Protocol};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};
use wire::proxy_protocol;

use crate::dialect::Opening;
use crate::outcome::{Denied, Stop};
use crate::session::{Connection, Known, Waited};
use crate::{Shared, session};

pub(crate) mod admission;
pub(crate) mod budget;

use admission::Permit;

/// Connections that the kernel completes while the loop is busy.
const BACKLOG: u32 = 1024;
/// After an error of `accept` itself (no file descriptors left) the loop waits so long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// A listed balancer sends its header at once.
const PROXY_HEADER_WITHIN: Duration = Duration::from_secs(5);

/// One listener: what is the same for all its connections.
#[derive(Debug)]
pub(crate) struct Door {
    /// What servers refer to.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// What it asks for.
    pub authentication: Authentication,
    /// Balancers whose PROXY header is believed and demanded.
    pub proxies: Vec<Network>,
    /// From where its sessions' cancel keys may be used.
    pub cancel_from: CancelFrom,
    /// Toward clients.
    pub tls: Arc<ServerConfig>,
    /// Its places for connections.
    pub places: Arc<Semaphore>,
}

/// As many places as a listener has of its own; the gateway's bound holds for all of them together.
pub(crate) fn places(connections_max: Option<u32>) -> Arc<Semaphore> {
    let most = Semaphore::MAX_PERMITS;
    let places = connections_max.map_or(most, |max| usize::try_from(max).unwrap_or(most));
    Arc::new(Semaphore::new(places.min(most)))
}

/// A connection that has a place.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// What it carries along.
    pub connection: Connection,
    /// The socket.
    pub stream: TcpStream,
}

/// Binds one listener.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the gateway stops.
pub(crate) async fn run(listener: TcpListener, door: Arc<Door>, gateway: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = gateway.closing.requested() => return,
            // Cancel-safe: a connection that was not returned stays in the kernel's queue.
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => take(stream, peer, &door, &gateway),
            Err(error) => {
                warn!(listener = door.name, %error, "a connection could not be accepted");
                gateway.clock.sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Gives the connection a place and a task; where there is none, a few are told so, and all others are closed.
fn take(stream: TcpStream, peer: SocketAddr, door: &Arc<Door>, gateway: &Arc<Shared>) {
    let source = peer.ip().to_canonical();
    let permit = match place(source, door, gateway) {
        Ok(permit) => permit,
        Err(full) => {
            gateway.metrics.turned_away(full);
            info!(listener = door.name, %source, reason = %full, "connection turned away");
            let Some(permit) = gateway.admission.tell(source, full) else { return };
            permit
        }
    };
    if let Err(error) = tune(&stream) {
        debug!(%source, %error, "a connection was gone before it was served");
        return;
    }
    let accepted_at = gateway.clock.now();
    let connection = Connection {
        id: SessionId::random(),
        source,
        door: Arc::clone(door),
        gateway: Arc::clone(gateway),
        permit,
        known: Known::default(),
        opening: Opening::of(door.protocol),
        accepted_at,
        deadline: accepted_at.plus(gateway.limits.startup_timeout),
        waited: Waited::default(),
    };
    let makes_room = connection.permit.makes_room();
    // Apart, because a task has room for what it begins with as long as it lives.
    let session = Box::pin(session::serve(Accepted { connection, stream }));
    gateway.tasks.spawn("session", async move {
        tokio::select! {
            biased;
            () = session => {}
            // Nothing is lost with it: nobody has shown a credential.
            () = makes_room.notified() => {
                debug!(%source, "a connection without a credential made room for another");
            }
        }
    });
}

fn place(source: IpAddr, door: &Door, gateway: &Arc<Shared>) -> Result<Permit, admission::Full> {
    let door_place = Arc::clone(&door.places).try_acquire_owned();
    let door_place = door_place.map_err(|_| admission::Full::Listener)?;
    let mut permit = gateway.admission.enter(door_place, gateway.clock.now())?;
    if !door.trusts(source) {
        permit.count_source(source)?;
    }
    Ok(permit)
}

impl Door {
    /// Whether the peer is a balancer that speaks for others.
    fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(peer))
    }
}

/// Reads a listed balancer's header; everyone else's bytes stay untouched.
pub(crate) async fn unwrap_proxy(mut accepted: Accepted) -> Result<Accepted, Stop> {
    if !accepted.connection.door.trusts(accepted.connection.source) {
        return Ok(accepted);
    }
    let header = tokio::time::timeout(PROXY_HEADER_WITHIN, read_proxy(&mut accepted.stream));
    match header.await {
        Ok(Ok(Some(source))) => accepted.connection.source = source,
        Ok(Ok(None)) => return Err(Stop::Silent("a balancer's own health check")),
        Ok(Err(error)) => {
            info!(balancer = %accepted.connection.source, %error, "no usable PROXY header");
            return Err(Stop::Silent("a listed balancer sent no usable PROXY header"));
        }
        Err(_) => return Err(Stop::Silent("a listed balancer sent no PROXY header in time")),
    }
    let source = accepted.connection.source;
    match accepted.connection.permit.count_source(source) {
        Ok(()) => Ok(accepted),
        Err(full) => {
            let denied = Denied::new(&model::code::TOO_MANY_CONNECTIONS, full.to_string());
            Err(Stop::refused_plain(accepted.connection, accepted.stream, denied))
        }
    }
}

/// Exact-size reads: what follows the header belongs to the client.
async fn read_proxy(stream: &mut TcpStream) -> std::io::Result<Option<IpAddr>> {
    let mut fixed = [0; proxy_protocol::HEADER_BYTES];
    stream.read_exact(&mut fixed).await?;
    let header = proxy_protocol::header(fixed).map_err(std::io::Error::other)?;
    let mut body = vec![0; usize::from(header.body_bytes)];
    stream.read_exact(&mut body).await?;
    proxy_protocol::source(header, &body).map_err(std::io::Error::other)
}

/// No delay for small packets, and a dead peer is noticed.
pub(crate) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
