//! Ending a connection from another of the same user.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use wire::mysql::error::server_error;
use wire::mysql::limits::GREETING_BYTES_MAX;
use wire::mysql::{packet, rows};

use super::{Unread, read_packet};
use crate::dialect::trouble::{lost, malformed};
use crate::outcome::Denied;

/// `ER_NO_SUCH_THREAD`: it has ended by itself.
const GONE: u16 = 1094;

/// Asks for the end of a connection and hears that it has ended.
pub(crate) async fn kill<S>(stream: &mut S, number: u32) -> Result<(), Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let statement = rows::query(&format!("KILL CONNECTION {number}"));
    stream.write_all(&packet::encode(0, &statement)).await.map_err(|error| lost(&error))?;
    stream.flush().await.map_err(|error| lost(&error))?;
    let payload =
        read_packet(stream, 1, GREETING_BYTES_MAX).await.map_err(|error| match error {
            Unread::Gone(error) => lost(&error),
            Unread::Malformed(error) => malformed(&error),
        })?;
    match payload.first() {
        Some(0) => Ok(()),
        Some(0xff) if server_error(&payload).code == GONE => Ok(()),
        Some(0xff) => {
            let said = server_error(&payload);
            let message = "the database server does not end the connection";
            let cause = format!("{}: {}", said.code, said.message());
            Err(Denied::new(&model::code::UPSTREAM_REFUSED, message).because(cause))
        }
        _ => Err(malformed(&"the answer to KILL is neither OK nor an error")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use wire::mysql::error::{Report, ok};

    use super::*;

    async fn killed(said: &[u8]) -> (Result<(), Denied>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(4_096);
        theirs.write_all(&packet::encode(1, said)).await.unwrap();
        let killed = kill(&mut ours, 7).await;
        drop(ours);
        let mut told = Vec::new();
        theirs.read_to_end(&mut told).await.unwrap();
        (killed, told)
    }

    #[tokio::test]
    async fn only_a_connection_that_is_gone_counts_as_ended() {
        let error = |code| Report { code, sqlstate: "HY000", message: "no" }.encode();
        let (ended, told) = killed(&ok(2)).await;
        ended.unwrap();
        assert_eq!(told, packet::encode(0, b"\x03KILL CONNECTION 7"));
        killed(&error(1094)).await.0.unwrap();
        killed(&error(1095)).await.0.unwrap_err();
        killed(b"\x01").await.0.unwrap_err();
    }
}
