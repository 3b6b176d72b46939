//! PostgreSQL, frontend/backend protocol 3.

use std::io;

use model::code;
use tokio::io::{AsyncRead, AsyncReadExt};
use wire::pg::startup::StartupError;

use crate::outcome::Denied;

pub(crate) mod cancel;
pub(crate) mod credential;
pub(crate) mod first;
pub(crate) mod login;
pub(crate) mod password;
pub(crate) mod say;
pub(crate) mod start;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

/// How reading a first packet can fail.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// The peer closed.
    #[error("the client closed the connection")]
    Gone(#[from] io::Error),
    /// Not the protocol.
    #[error(transparent)]
    Malformed(#[from] StartupError),
}

/// Reads one first packet with exact-size reads, so that nothing behind it is taken from the stream.
async fn read_first<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<wire::pg::startup::Step, Unread> {
    use wire::pg::startup::{Step, first};
    let mut packet = Vec::new();
    loop {
        match first(&packet)? {
            Step::Need(length) => {
                let read = packet.len();
                packet.resize(length, 0);
                stream.read_exact(packet.get_mut(read..).unwrap_or_default()).await?;
            }
            step @ (Step::DirectTls | Step::Packet { .. }) => return Ok(step),
        }
    }
}

/// What a malformed first packet is answered with; nothing where PostgreSQL closes without an answer.
fn refusal_of(error: &StartupError) -> Option<Denied> {
    let code = match error {
        StartupError::Length { .. } => return None,
        StartupError::Version { .. } => &code::PROTOCOL_UNSUPPORTED,
        StartupError::UserMissing => &code::USER_MISSING,
        StartupError::Malformed(_)
        | StartupError::Duplicate { .. }
        | StartupError::Replication { .. } => &code::PROTOCOL_VIOLATION,
    };
    Some(Denied::new(code, error.to_string()))
}
