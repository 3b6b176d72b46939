//! The way to the gateway: TCP, tried again for a while, and TLS with the name and the chain verified.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Clock, tls};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trouble::Trouble;
use crate::Connection;

/// One try to connect, and one TLS handshake.
const TRY_WITHIN: Duration = Duration::from_secs(10);
/// A gateway that is being restarted is back in this time; a client waits no longer for it.
const RETRY_WITHIN: Duration = Duration::from_secs(15);
/// Between two tries, growing.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Where the gateway is and whom it must be.
#[derive(Debug)]
pub(super) struct Gateway {
    host: String,
    port: u16,
    ca: PathBuf,
    clock: Clock,
}

impl Gateway {
    pub(super) fn new(connection: &Connection, ca: PathBuf, clock: Clock) -> Self {
        Self { host: connection.host.clone(), port: connection.port, ca, clock }
    }

    /// Connects, again and again for a bounded time.
    pub(super) async fn dial(&self) -> Result<TcpStream, Trouble> {
        let give_up = self.clock.now().plus(RETRY_WITHIN);
        let (mut pause, longest) = RETRY_AFTER;
        loop {
            let cause = match self.dial_once().await {
                Ok(stream) => return Ok(stream),
                Err(cause) => cause,
            };
            if self.clock.now().plus(pause) >= give_up {
                return Err(Trouble::Unreachable { address: self.address(), cause });
            }
            self.clock.sleep(pause).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    async fn dial_once(&self) -> io::Result<TcpStream> {
        let dialled = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(TRY_WITHIN, dialled).await.map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// TLS on a connection that has agreed on it.
    pub(super) async fn secure(
        &self,
        stream: TcpStream,
        protocols: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let untrusted = |cause: String| Trouble::Untrusted { address: self.address(), cause };
        let config = self.config(protocols).map_err(untrusted)?;
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| untrusted(error.to_string()))?;
        let handshake = TlsConnector::from(config).connect(name, stream);
        match tokio::time::timeout(TRY_WITHIN, handshake).await {
            Ok(Ok(secured)) => Ok(secured),
            Ok(Err(error)) => Err(untrusted(error.to_string())),
            Err(late) => Err(Trouble::Unreachable { address: self.address(), cause: late.into() }),
        }
    }

    /// The authority is read each time: it may have been renewed.
    fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, String> {
        let path = self.ca.display();
        let pem = fs::read_to_string(&self.ca).map_err(|error| format!("`{path}`: {error}"))?;
        let config =
            tls::client_config(&pem, None).map_err(|error| format!("`{path}`: {error}"))?;
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// For messages.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The connection broke off.
    pub(super) fn lost(&self, cause: io::Error) -> Trouble {
        Trouble::Unreachable { address: self.address(), cause }
    }
}
