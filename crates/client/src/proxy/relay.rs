//! An open connection: bytes both ways, as they are.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Local;

/// What is on its way in one direction at most.
const BUFFER_BYTES: usize = 16 * 1024;

/// Relays until the gateway closes: what it said last, such as why a session was cut, still reaches the client. A client
/// that closes is passed on to the gateway, which then closes too.
pub(super) async fn relay<L: Local, G: Local>(local: L, gateway: G) {
    let (mut from_local, mut to_local) = tokio::io::split(local);
    let (mut from_gateway, mut to_gateway) = tokio::io::split(gateway);
    let up = async {
        if pump(&mut from_local, &mut to_gateway).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // Its end ends the connection, however it came about.
        _ended = pump(&mut from_gateway, &mut to_local) => {}
        () = up => {}
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_words_of_the_gateway_arrive_and_end_the_connection() {
        let (mut client, local) = tokio::io::duplex(64);
        let (mut gateway, remote) = tokio::io::duplex(64);
        let farewell = async {
            gateway.write_all(b"FATAL: cut").await.unwrap();
            drop(gateway);
        };
        let mut heard = Vec::new();
        // The client never closes, and need not.
        let ((), (), read) =
            tokio::join!(relay(local, remote), farewell, client.read_to_end(&mut heard));
        read.unwrap();
        assert_eq!(heard, b"FATAL: cut");
    }

    #[tokio::test]
    async fn a_client_that_has_said_all_still_hears_the_answer() {
        let (mut client, local) = tokio::io::duplex(64);
        let (mut gateway, remote) = tokio::io::duplex(64);
        let asked = async {
            client.write_all(b"select").await.unwrap();
            client.shutdown().await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let answers = async {
            let mut heard = Vec::new();
            gateway.read_to_end(&mut heard).await.unwrap();
            gateway.write_all(b"rows").await.unwrap();
            drop(gateway);
            heard
        };
        let ((), heard, asked_for) = tokio::join!(relay(local, remote), asked, answers);
        assert_eq!((heard.as_slice(), asked_for.as_slice()), (&b"rows"[..], &b"select"[..]));
    }
}
