//! 3 Server TLS, and the server name that the client asked for.

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::outcome::{Client, Stop};
use crate::session::Connection;

pub(crate) mod handshake;
pub(crate) mod record;
pub(crate) mod schedule;
mod stream;

pub(crate) use stream::Broken;
pub use stream::Stream;

/// ALPN's name of the protocol; PostgreSQL 17 and later negotiate it.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// A connection that begins TLS next.
#[derive(Debug)]
pub(crate) struct Hello {
    /// What it carries along.
    pub connection: Connection,
    /// The socket; the next byte is TLS.
    pub stream: TcpStream,
    /// How TLS was begun.
    pub begun: Begun,
}

/// How TLS was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// SSLRequest and its answer went before.
    Asked,
    /// It is the first thing; then ALPN must name the protocol, so that no other protocol's bytes get here.
    Direct,
}

/// A connection inside TLS.
#[derive(Debug)]
pub(crate) struct Secured {
    /// What it carries along.
    pub connection: Connection,
    /// The client.
    pub client: Box<Stream>,
    /// TLS server name (SNI).
    pub server_name: Option<String>,
}

/// The handshake. A failed one is answered by TLS itself.
pub(crate) async fn accept(hello: Hello) -> Result<Secured, Stop> {
    let Hello { mut connection, stream, begun } = hello;
    let accepting = handshake::accept(Arc::clone(&connection.door.tls), stream);
    let (client, greeted) = match connection.client(accepting).await {
        Ok(Ok((client, greeted))) => (Box::new(client), greeted),
        Ok(Err(error)) => {
            tracing::debug!(session = %connection.id, source = %connection.source, %error, "TLS handshake failed");
            return Err(Stop::Silent("the TLS handshake failed"));
        }
        Err(_) => return Err(Stop::Silent("the TLS handshake was not finished in time")),
    };
    let server_name = greeted.server_name;
    if begun == Begun::Direct && greeted.protocol.as_deref() != Some(ALPN) {
        // As PostgreSQL: whoever names no protocol may be speaking another one, and is told nothing.
        Client::Secured(client).close().await;
        return Err(Stop::Silent("direct TLS came without ALPN `postgresql`"));
    }
    Ok(Secured { connection, client, server_name })
}

/// Protocol version and cipher suite, for the audit log.
pub(crate) fn describe(client: &Stream) -> String {
    let agreed = client.agreed();
    format!("{} {}", handshake::version_name(agreed.version), agreed.suite)
}
