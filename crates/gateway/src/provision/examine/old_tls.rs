//! Whether a server would speak TLS 1.1, which its settings tell superusers only: it is asked as such a client would.

use std::time::Duration;

use model::Document;
use model::kind::server::DatabaseServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::dialect;

const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A record of a handshake (RFC 8446 §5.1); a refusal is an alert, or nothing.
const HANDSHAKE: u8 = 22;
/// `ClientHello` of TLS 1.1 (RFC 4346 §7.4.1.2) in one record: no session, AES with SHA-1 for ECDSA and RSA, P-256. It
/// asks for nothing secret, so its random part may be known.
const CLIENT_HELLO: &[u8] = &[
    22, 3, 1, 0, 71, // record: handshake, 71 bytes
    1, 0, 0, 67, 3, 2, // ClientHello, 67 bytes, version 1.1
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, // random
    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, // random, second half
    0,  // no session
    0, 12, 0xC0, 0x09, 0xC0, 0x0A, 0xC0, 0x13, 0xC0, 0x14, 0x00, 0x2F, 0x00, 0x35, // suites
    1, 0, // no compression
    0, 14, // extensions
    0, 10, 0, 4, 0, 2, 0, 23, // supported_groups: secp256r1
    0, 11, 0, 2, 1, 0, // ec_point_formats: uncompressed
];

/// Whether the server goes on with such a handshake.
pub(super) async fn is_accepted(server: &Document<DatabaseServer>) -> bool {
    tokio::time::timeout(ANSWER_WITHIN, asked(server)).await.ok().flatten().is_some()
}

async fn asked(server: &Document<DatabaseServer>) -> Option<()> {
    let address = (server.spec.host.as_str(), server.spec.port);
    let mut stream = TcpStream::connect(address).await.ok()?;
    dialect::request_tls(&mut stream, dialect::Wish::anything(server)).await.ok()?;
    stream.write_all(CLIENT_HELLO).await.ok()?;
    (stream.read_u8().await.ok()? == HANDSHAKE).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_in_the_hello_are_its_own() {
        assert_eq!(CLIENT_HELLO.len(), 5 + usize::from(CLIENT_HELLO[4]));
        assert_eq!(CLIENT_HELLO.len(), 9 + usize::from(CLIENT_HELLO[8]));
    }
}
