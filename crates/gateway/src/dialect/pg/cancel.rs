//! Cancel requests on the server.

use std::time::Duration;

use keys::KeyError;
use model::kind::server::DatabaseServer;
use model::{Document, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::pg::error::cancel_request;

use crate::dialect::CancelKey;
use crate::outcome::Denied;
use crate::upstream;

/// A server closes the connection as soon as it has taken the request.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

impl CancelKey {
    /// The same backend under a secret of our own: four bytes in protocol 3.0, more from 3.2 on.
    pub(crate) fn with_random_secret(&self) -> Result<Self, KeyError> {
        let secret = match self.secret.len() {
            ..=4 => keys::random::<4>()?.to_vec(),
            5.. => keys::random::<32>()?.to_vec(),
        };
        Ok(Self { pid: self.pid, secret })
    }
}

/// Passes a cancel request on inside TLS and waits until the server has taken it: it closes without an answer.
pub(crate) async fn cancel_upstream(
    server: &Document<DatabaseServer>,
    key: &CancelKey,
) -> Result<(), Denied> {
    let mut stream = upstream::dial_anonymous(server).await?;
    let failed = |error: std::io::Error| {
        Denied::new(&code::UPSTREAM_UNREACHABLE, "the cancel request could not be sent")
            .because(error)
    };
    stream.write_all(&cancel_request(key.pid, &key.secret)).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut byte = [0];
    // However the server ends the connection (end of file, reset, an alert), it has taken the request.
    match tokio::time::timeout(TAKEN_WITHIN, stream.read(&mut byte)).await {
        Ok(Ok(_) | Err(_)) => Ok(()),
        Err(_) => Err(Denied::new(
            &code::UPSTREAM_UNREACHABLE,
            "the cancel request was not taken in time",
        )),
    }
}
