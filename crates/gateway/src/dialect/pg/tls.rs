//! TLS toward the server.

use model::code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::pg::error::ssl_request;

use super::first::bytes_are_waiting;
use crate::outcome::Denied;

/// Asks the server for TLS. It answers with exactly one byte, and nothing may come behind it before our ClientHello
/// (CVE-2021-23222); a refusal is never taken as leave to go on in plain text.
pub(crate) async fn request_tls(stream: &mut TcpStream) -> Result<(), Denied> {
    let unreachable = |error: std::io::Error| {
        Denied::new(&code::UPSTREAM_UNREACHABLE, "the database server closed the connection")
            .because(error)
    };
    stream.write_all(&ssl_request()).await.map_err(unreachable)?;
    match stream.read_u8().await.map_err(unreachable)? {
        b'S' if bytes_are_waiting(stream) => Err(Denied::new(
            &code::UPSTREAM_UNTRUSTED,
            "the database server sent unencrypted bytes where TLS must begin",
        )),
        b'S' => Ok(()),
        // An error's text is from someone who has not been authenticated; it is not shown (CVE-2024-10977).
        answer => {
            Err(Denied::new(&code::UPSTREAM_UNTRUSTED, "the database server does not offer TLS")
                .because(format_args!("it answered SSLRequest with `{}`", answer.escape_ascii())))
        }
    }
}
