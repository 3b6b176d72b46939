//! MySQL and MariaDB, client/server protocol 10.

use std::io;

use model::kind::server::{DatabaseServer, LocalInfile};
use tokio::io::{AsyncRead, AsyncReadExt};
use wire::mysql::capabilities::LocalFiles;
use wire::mysql::packet::{self, HEADER_BYTES};
use wire::mysql::{Capabilities, Malformed};
use zeroize::Zeroizing;

pub(crate) mod credential;
pub(crate) mod first;
pub(crate) mod greetings;
pub(crate) mod kill;
pub(crate) mod login;
pub(crate) mod say;
pub(crate) mod start;
#[cfg(test)]
mod tests;

/// What the server's rules say of files of the client's.
pub(crate) fn local_files(server: &DatabaseServer) -> LocalFiles {
    match server.local_infile {
        LocalInfile::Refused => LocalFiles::Refused,
        LocalInfile::Allowed => LocalFiles::Allowed,
    }
}

/// How far the opening has come.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// The number of our next packet.
    pub sequence: u8,
    /// The connection's number in the greeting.
    pub number: u32,
    /// What the greeting offered.
    pub offered: Capabilities,
}

/// How reading a packet of the login can fail.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// The peer closed.
    #[error("the peer closed the connection")]
    Gone(#[from] io::Error),
    /// Not the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads the payload of the packet with this number, of at most so many bytes, with exact-size reads, so that nothing
/// behind it is taken from the stream. Wiped after use: it may hold a token.
async fn read_packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    sequence: u8,
    payload_bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let mut bytes = Zeroizing::new(Vec::new());
    loop {
        match packet::login(&bytes, sequence, payload_bytes_max)? {
            packet::Step::Need(length) => {
                let read = bytes.len();
                // A buffer that grows leaves its bytes behind: the second read is the last.
                let mut grown = Zeroizing::new(vec![0; length.max(HEADER_BYTES)]);
                let (old, room) = grown.split_at_mut_checked(read).unwrap_or_default();
                old.copy_from_slice(&bytes);
                stream.read_exact(room).await?;
                bytes = grown;
            }
            packet::Step::Packet { payload, .. } => return Ok(Zeroizing::new(payload.to_vec())),
        }
    }
}
