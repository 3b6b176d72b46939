//! The last bytes to a client: told where it can be told, always closed, never waited for beyond a bound.

use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::outcome::Client;

/// A client that was turned away reads its refusal within this, or goes without.
const REFUSAL_WITHIN: Duration = Duration::from_secs(2);
/// What a client still sends is read away for so long, so that its kernel does not throw our last bytes away with a
/// reset.
const LINGER_WITHIN: Duration = Duration::from_millis(500);

impl Client {
    /// Tells a client that is turned away, and closes.
    pub(crate) async fn tell_and_close(self, message: &[u8]) {
        match self {
            Self::Plain(mut stream) => {
                if within(REFUSAL_WITHIN, say(&mut stream, message)).await {
                    linger(Some(stream)).await;
                }
            }
            Self::Secured(mut stream) => {
                if within(REFUSAL_WITHIN, say(&mut stream, message)).await {
                    linger(Some(stream.into_socket())).await;
                }
            }
        }
    }

    /// Closes without a word.
    pub(crate) async fn close(self) {
        self.tell_and_close(&[]).await;
    }
}

/// Whether it was done in time.
pub(crate) async fn within(limit: Duration, step: impl Future<Output = bool>) -> bool {
    tokio::time::timeout(limit, step).await.unwrap_or(false)
}

/// Says the last word and ends our direction: inside TLS with `close_notify`, so that it cannot be taken for a cut by
/// someone in between.
pub(crate) async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> bool {
    stream.write_all(message).await.is_ok() && stream.shutdown().await.is_ok()
}

/// Reads away what the client still sends, until it closes.
pub(crate) async fn linger<S: AsyncRead + Unpin>(socket: Option<S>) {
    let Some(mut socket) = socket else { return };
    let mut sink = [0; 1024];
    let drained = async { while matches!(socket.read(&mut sink).await, Ok(1..)) {} };
    // Whether it closed or the time is up, the socket is dropped now.
    let _closed = tokio::time::timeout(LINGER_WITHIN, drained).await;
}

/// Dropped after this, the socket is reset: what the client has not read is thrown away instead of waited for.
pub(crate) fn reset(socket: &impl AsFd) {
    if let Err(error) = SockRef::from(socket).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "a socket could not be set to reset");
    }
}
