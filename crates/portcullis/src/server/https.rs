//! The HTTPS server of token service and API: TLS, then HTTP/1.1, each step with a deadline and each source with a
//! bound, so that nobody can keep others out by holding connections.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use runtime::{Shutdown, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::figures::Answers;

/// Connections at a time: a few hundred clients, and room for bursts.
pub(crate) const CONNECTIONS_MAX: u32 = 2_048;
/// Of them, from one address: a host that runs many workloads stays below.
const CONNECTIONS_PER_SOURCE_MAX: usize = 512;
/// From accept to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte of a request to the end of its headers; also how long an idle connection is kept.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Larger headers are refused: a bearer token has at most 64 KiB.
const HEADER_BYTES_MAX: usize = 128 << 10;
/// After a failed accept (no descriptors left): wait for others to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the server needs.
#[derive(Clone)]
pub(crate) struct Https {
    pub(crate) tls: TlsAcceptor,
    pub(crate) router: Router,
    pub(crate) tasks: Tasks,
    /// When it stops.
    pub(crate) closing: Shutdown,
    /// At most [`CONNECTIONS_MAX`].
    pub(crate) connections_max: u32,
    pub(crate) answers: Answers,
}

/// Accepts until the stop is requested; connections then end after their present request.
pub(crate) async fn serve(listener: TcpListener, https: Https) {
    let admission = Admission::of(https.connections_max);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = https.closing.requested() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "an HTTPS connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(permit) = admission.admit(peer.ip()) else {
            debug!(%peer, "too many HTTPS connections");
            continue;
        };
        let https_of_connection = https.clone();
        drop(https.tasks.spawn("https-connection", async move {
            let _permit = permit;
            if let Err(error) = connection(stream, peer, https_of_connection).await {
                debug!(%peer, %error, "an HTTPS connection ended early");
            }
        }));
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, https: Https) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let secured = tokio::time::timeout(HANDSHAKE_TIMEOUT, https.tls.accept(stream)).await??;
    let shown = secured.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.map(|certificate| sts::ShownCertificate(certificate.to_vec()));
    let (router, answers, closing) = (https.router, https.answers, https.closing);
    let service = tower::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(shown) = &shown {
            request.extensions_mut().insert(shown.clone());
        }
        let (answer, answers) =
            (tower::ServiceExt::oneshot(router.clone(), request), answers.clone());
        async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                answers.count(answer.status().as_u16());
            }
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(secured), TowerToHyperService::new(service));
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(io::Error::other),
        () = closing.requested() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(io::Error::other)
}

/// Who holds how many connections.
#[derive(Clone, Debug)]
struct Admission {
    connections_max: usize,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Admission {
    fn of(connections_max: u32) -> Self {
        let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        Self { connections_max, held: Arc::default() }
    }

    fn admit(&self, source: IpAddr) -> Option<Permit> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = held.values().sum();
        let own = held.get(&source).copied().unwrap_or(0);
        if total >= self.connections_max || own >= CONNECTIONS_PER_SOURCE_MAX {
            return None;
        }
        held.insert(source, own + 1);
        Some(Permit { admission: self.clone(), source })
    }
}

/// One connection's place; given back when it ends.
#[derive(Debug)]
struct Permit {
    admission: Admission,
    source: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.admission.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_keep_the_others_out_and_gives_its_places_back() {
        let admission = Admission::of(CONNECTIONS_MAX);
        let (greedy, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = std::iter::from_fn(|| admission.admit(greedy)).collect();
        assert_eq!(held.len(), CONNECTIONS_PER_SOURCE_MAX);
        assert!(admission.admit(other).is_some());
        drop(held);
        assert!(admission.admit(greedy).is_some());
        assert!(admission.held.lock().unwrap().is_empty());
    }
}
