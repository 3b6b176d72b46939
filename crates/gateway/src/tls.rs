//! 3 Server TLS, and the server name that the client asked for.

use std::sync::Arc;

use model::code;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::outcome::{Denied, Stop};
use crate::session::Connection;

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
    pub client: Box<TlsStream<TcpStream>>,
    /// TLS server name (SNI).
    pub server_name: Option<String>,
}

/// The handshake. A failed one is answered by TLS itself.
pub(crate) async fn accept(hello: Hello) -> Result<Secured, Stop> {
    let Hello { mut connection, stream, begun } = hello;
    let acceptor = TlsAcceptor::from(Arc::clone(&connection.door.tls));
    let client = match connection.client(acceptor.accept(stream)).await {
        Ok(Ok(client)) => Box::new(client),
        Ok(Err(error)) => {
            tracing::debug!(session = %connection.id, source = %connection.source, %error, "TLS handshake failed");
            return Err(Stop::Silent("the TLS handshake failed"));
        }
        Err(_) => return Err(Stop::Silent("the TLS handshake was not finished in time")),
    };
    let (_, tls) = client.get_ref();
    let server_name = tls.server_name().map(str::to_owned);
    if begun == Begun::Direct && tls.alpn_protocol() != Some(ALPN) {
        let denied = Denied::new(&code::TLS_REFUSED, "direct TLS came without ALPN `postgresql`");
        return Err(Stop::refused(connection, client, denied));
    }
    Ok(Secured { connection, client, server_name })
}

/// Protocol version and cipher suite, for the audit log.
pub(crate) fn describe(client: &TlsStream<TcpStream>) -> String {
    let (_, tls) = client.get_ref();
    let version = tls.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
    let suite = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    format!("{version} {}", suite.unwrap_or("unknown"))
}
