//! The first packet: how a connection begins, before TLS.

use std::io;
use std::mem::MaybeUninit;

use model::code;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wire::pg::startup::{Packet, Step};

use super::{Unread, read_first, refusal_of};
use crate::cancel::Asked;
use crate::claimed::Claimed;
use crate::dialect::{CancelKey, First};
use crate::listener::Accepted;
use crate::outcome::{Client, Denied, Stop};
use crate::session::Connection;
use crate::tls::{Begun, Hello};

/// Reads until TLS begins or a cancel request is whole. Each kind of encryption may be asked for once.
pub(crate) async fn first(accepted: Accepted) -> Result<First, Stop> {
    let Accepted { mut connection, mut stream } = accepted;
    let mut gss_asked = false;
    loop {
        let step = match connection.client(next(&mut stream)).await {
            Ok(Ok(step)) => step,
            Ok(Err(Unread::Gone(_))) => {
                return Err(Stop::Silent("the client closed before it said anything"));
            }
            Ok(Err(Unread::Malformed(error))) => return Err(malformed(connection, stream, &error)),
            Err(_) => return Err(Stop::Silent("nothing was said in time")),
        };
        let Step::Packet { packet, .. } = step else {
            return Ok(First::Tls(Box::new(Hello { connection, stream, begun: Begun::Direct })));
        };
        match packet {
            Packet::SslRequest => return answer_ssl(connection, stream).await,
            Packet::GssEncRequest if !gss_asked => gss_asked = true,
            Packet::GssEncRequest => {
                let denied =
                    Denied::new(&code::PROTOCOL_VIOLATION, "GSSAPI encryption was asked for twice");
                return Err(Stop::refused_plain(connection, stream, denied));
            }
            Packet::CancelRequest(asked) => {
                let key = CancelKey { pid: asked.pid, secret: asked.key };
                let client = Client::Plain(stream);
                return Ok(First::Cancel(Box::new(Asked { connection, client, key })));
            }
            Packet::Startup(startup) => {
                connection.known.user = startup.user().ok().map(Claimed::cut);
                let denied = Denied::new(
                    &code::TLS_REQUIRED,
                    "the connection is not encrypted, and this gateway takes no credential without TLS",
                );
                return Err(Stop::refused_plain(connection, stream, denied));
            }
        }
        // GSSENCRequest: not here; the client goes on with SSLRequest on the same socket.
        (connection, stream) = answer(connection, stream, b'N').await?;
    }
}

/// Peeks for TLS, whose bytes must stay where they are, before it reads a packet.
async fn next(stream: &mut TcpStream) -> Result<Step, Unread> {
    let mut byte = [0];
    if stream.peek(&mut byte).await? == 0 {
        return Err(Unread::Gone(io::ErrorKind::UnexpectedEof.into()));
    }
    match wire::pg::startup::first(&byte)? {
        Step::DirectTls => Ok(Step::DirectTls),
        Step::Need(_) | Step::Packet { .. } => read_first(stream).await,
    }
}

async fn answer_ssl(connection: Connection, stream: TcpStream) -> Result<First, Stop> {
    let (connection, stream) = answer(connection, stream, b'S').await?;
    Ok(First::Tls(Box::new(Hello { connection, stream, begun: Begun::Asked })))
}

/// Answers an encryption request with its one byte. Whatever came with the request is an attempt to have unencrypted
/// bytes taken for encrypted ones (CVE-2021-23214): a client says nothing before the answer.
async fn answer(
    mut connection: Connection,
    mut stream: TcpStream,
    byte: u8,
) -> Result<(Connection, TcpStream), Stop> {
    if bytes_are_waiting(&stream) {
        let denied = Denied::new(
            &code::TLS_REFUSED,
            "received unencrypted data after the encryption request",
        );
        return Err(Stop::refused_plain(connection, stream, denied));
    }
    match connection.client(stream.write_all(&[byte])).await {
        Ok(Ok(())) => Ok((connection, stream)),
        Ok(Err(_)) | Err(_) => Err(Stop::Silent("the client closed before TLS")),
    }
}

/// Whether the kernel holds unread bytes of the peer.
pub(crate) fn bytes_are_waiting(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(SockRef::from(stream).peek(&mut byte), Ok(1..))
}

fn malformed(
    connection: Connection,
    stream: TcpStream,
    error: &wire::pg::startup::StartupError,
) -> Stop {
    match refusal_of(error) {
        Some(denied) => Stop::refused_plain(connection, stream, denied),
        None => Stop::Silent("the first packet's length is not PostgreSQL's"),
    }
}
