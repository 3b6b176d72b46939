//! MySQL and MariaDB: the gateway's greeting is passed on without its offer of TLS, the client's handshake response goes
//! to the gateway under our user and inside TLS, and the answer to `mysql_clear_password` is the token.
//!
//! Both sides count packets, and not the same ones: what the gateway says last gets the client's next number. From then
//! on numbers begin anew with every command, and everything is passed on as it is.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wire::mysql::authentication::{
    CACHING_SHA2, CLEAR_PASSWORD, FAST_AUTH_SUCCESS, NATIVE_PASSWORD, Reply, clear_answer,
    more_data, reply, switch_request,
};
use wire::mysql::error::server_error;
use wire::mysql::greeting::Greeting;
use wire::mysql::handshake::{self, First, HandshakeResponse};
use wire::mysql::limits::{
    AUTHENTICATION_BYTES_MAX, GREETING_BYTES_MAX, HANDSHAKE_RESPONSE_BYTES_MAX,
};
use wire::mysql::packet::{self, HEADER_BYTES};
use wire::mysql::{Capabilities, Malformed};
use zeroize::Zeroizing;

use super::relay::relay;
use super::trouble::{Trouble, means_the_token};
use super::{Local, Shared};
use crate::Token;

/// A client answers the greeting at once.
const START_WITHIN: Duration = Duration::from_mins(1);
/// The gateway greets at once.
const GREETED_WITHIN: Duration = Duration::from_secs(20);
/// The gateway opens a database, or says why not, in this time.
const LOGIN_WITHIN: Duration = Duration::from_secs(75);
/// OK packets tell variables of the session.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// What caching_sha2_password answers to a challenge when there is a password.
const CACHING_SHA2_BYTES: usize = 32;
/// What is not spoken here: TLS on this side, and compression, which would change the framing on both.
const NOT_OFFERED: Capabilities =
    Capabilities::SSL.with(Capabilities::COMPRESS).with(Capabilities::ZSTD_COMPRESSION);

/// Serves one client.
pub(super) async fn serve<L: Local>(mut local: L, shared: &Shared) -> Result<(), Trouble> {
    let mut sequence = 0;
    match Box::pin(open(&mut local, &mut sequence, shared)).await {
        Ok(Opened { stream, ok }) => {
            send(&mut local, sequence, &ok).await.map_err(Trouble::Local)?;
            relay(local, stream).await;
            Ok(())
        }
        Err(trouble) => {
            // It may be gone; what happened is what counts.
            let _told = send(&mut local, sequence, &trouble.mysql()).await;
            Err(trouble)
        }
    }
}

/// A session that the gateway has opened.
struct Opened {
    stream: TlsStream<TcpStream>,
    /// Its OK packet's payload.
    ok: Vec<u8>,
}

/// A gateway that has greeted, before TLS.
struct Greeted {
    stream: TcpStream,
    greeting: Greeting,
}

/// `sequence` is the number of our next packet to the client, whatever comes of it.
async fn open<L: Local>(
    local: &mut L,
    sequence: &mut u8,
    shared: &Shared,
) -> Result<Opened, Trouble> {
    // Before the client is greeted: a greeting that leads nowhere would be worse than none.
    let token = shared.keeper.token().await?;
    let greeted = greeted(shared).await?;
    let greeting = Greeting {
        capabilities: greeted.greeting.capabilities.without(NOT_OFFERED),
        ..greeted.greeting.clone()
    };
    send(local, 0, &greeting.encode()).await.map_err(Trouble::Local)?;
    *sequence = 2;
    let started = async {
        let payload = read_local(local, 1, HANDSHAKE_RESPONSE_BYTES_MAX).await?;
        let response = understood(&payload)?;
        let answered = authenticate(local, &response, &greeting.scramble).await?;
        Ok((payload, answered))
    };
    let started = tokio::time::timeout(START_WITHIN, started).await;
    let (payload, next) = started.map_err(|late| Trouble::Local(late.into())).flatten()?;
    *sequence = next;
    let response = understood(&payload)?;
    let refused = match log_in(greeted, &response, &token, shared).await {
        Err(Trouble::Refused { said, verbatim }) if means_the_token(&said) => {
            Trouble::Refused { said, verbatim }
        }
        outcome => return outcome,
    };
    let Some(other) = shared.keeper.instead_of(&token).await else { return Err(refused) };
    // The client knows the former connection's number: it cannot `KILL` what runs on this one, but it is served.
    let again = self::greeted(shared).await?;
    log_in(again, &response, &other, shared).await
}

/// Dials the gateway and hears its greeting, or why it does not greet.
async fn greeted(shared: &Shared) -> Result<Greeted, Trouble> {
    let mut stream = shared.gateway.dial().await?;
    let read = read(&mut stream, 0, GREETING_BYTES_MAX);
    let payload = match tokio::time::timeout(GREETED_WITHIN, read).await {
        Ok(payload) => payload.map_err(|error| gateways(error, shared))?,
        Err(late) => return Err(shared.gateway.lost(late.into())),
    };
    if payload.first() == Some(&0xff) {
        return Err(refused(&payload));
    }
    let greeting = Greeting::parse(&payload).map_err(Trouble::gateway)?;
    if !greeting.capabilities.contains(Capabilities::SSL) {
        let (address, cause) = (shared.gateway.address(), "it does not speak TLS".to_owned());
        return Err(Trouble::Untrusted { address, cause });
    }
    Ok(Greeted { stream, greeting })
}

fn understood(payload: &[u8]) -> Result<HandshakeResponse<'_>, Trouble> {
    match handshake::first(payload).map_err(Trouble::client)? {
        First::Response(response) if response.capabilities.contains(Capabilities::PLUGIN_AUTH) => {
            Ok(response)
        }
        First::SslRequest(_) => Err(Trouble::client("TLS is not spoken here; connect without it")),
        First::Response(_) | First::Old => {
            Err(Trouble::client("the client knows no authentication plugins"))
        }
    }
}

/// Goes through the motions of whichever plugin the client likes, with any password; the number of our next packet.
/// Asking again is understood by every client, whatever it did with the greeting's challenge.
async fn authenticate<L: Local>(
    local: &mut L,
    response: &HandshakeResponse<'_>,
    scramble: &[u8],
) -> Result<u8, Trouble> {
    let by_sha2 = response.plugin == Some(CACHING_SHA2.as_bytes());
    let plugin = if by_sha2 { CACHING_SHA2 } else { NATIVE_PASSWORD };
    send(local, 2, &switch_request(plugin, scramble)).await.map_err(Trouble::Local)?;
    let answer = read_local(local, 3, AUTHENTICATION_BYTES_MAX).await?;
    if by_sha2 && answer.len() == CACHING_SHA2_BYTES {
        send(local, 4, &more_data(&[FAST_AUTH_SUCCESS])).await.map_err(Trouble::Local)?;
        return Ok(5);
    }
    Ok(4)
}

/// Logs in to the gateway with the token, inside TLS.
async fn log_in(
    greeted: Greeted,
    client: &HandshakeResponse<'_>,
    token: &Token,
    shared: &Shared,
) -> Result<Opened, Trouble> {
    let login = exchange(greeted, client, token, shared);
    match tokio::time::timeout(LOGIN_WITHIN, login).await {
        Ok(opened) => opened,
        Err(late) => Err(shared.gateway.lost(late.into())),
    }
}

async fn exchange(
    Greeted { mut stream, .. }: Greeted,
    client: &HandshakeResponse<'_>,
    token: &Token,
    shared: &Shared,
) -> Result<Opened, Trouble> {
    let lost = |error| shared.gateway.lost(error);
    // The server's own where the client names none: by it the gateway knows the server.
    let database = client.database.or(shared.connection.database.as_deref().map(str::as_bytes));
    let with_database = match database {
        Some(_) => Capabilities::CONNECT_WITH_DB,
        None => Capabilities::default(),
    };
    let capabilities = client.capabilities.without(NOT_OFFERED).with(with_database);
    let ours = HandshakeResponse {
        capabilities: capabilities.with(Capabilities::SSL),
        database,
        user: shared.connection.user.as_bytes(),
        authentication: b"",
        plugin: Some(NATIVE_PASSWORD.as_bytes()),
        zstd_level: None,
        ..client.clone()
    };
    send(&mut stream, 1, &ours.ssl_request()).await.map_err(lost)?;
    let mut stream = shared.gateway.secure(stream, &[]).await?;
    let response = ours.encode().ok_or_else(|| Trouble::gateway("its flags do not fit"))?;
    send(&mut stream, 2, &response).await.map_err(lost)?;
    let asked = read_gateway(&mut stream, 3, shared).await?;
    match reply(&asked).map_err(Trouble::gateway)? {
        Reply::Switch { plugin, .. } if plugin == CLEAR_PASSWORD.as_bytes() => {}
        Reply::Err => return Err(refused(&asked)),
        Reply::Ok | Reply::More(_) | Reply::Switch { .. } => {
            return Err(Trouble::gateway("it asks for something else than a token"));
        }
    }
    let answer = Zeroizing::new(clear_answer(token.text.expose().as_bytes()));
    send(&mut stream, 4, &answer).await.map_err(lost)?;
    let outcome = read_gateway(&mut stream, 5, shared).await?;
    match reply(&outcome).map_err(Trouble::gateway)? {
        Reply::Ok => Ok(Opened { stream, ok: outcome.to_vec() }),
        Reply::Err => Err(refused(&outcome)),
        Reply::Switch { .. } | Reply::More(_) => {
            Err(Trouble::gateway("its login does not end with the token"))
        }
    }
}

fn refused(payload: &[u8]) -> Trouble {
    Trouble::Refused { said: server_error(payload).message(), verbatim: payload.to_vec() }
}

/// How reading a packet can fail.
enum Unread {
    Gone(io::Error),
    Malformed(Malformed),
}

fn gateways(unread: Unread, shared: &Shared) -> Trouble {
    match unread {
        Unread::Gone(error) => shared.gateway.lost(error),
        Unread::Malformed(error) => Trouble::gateway(error),
    }
}

async fn read_gateway<S: AsyncRead + Unpin>(
    stream: &mut S,
    sequence: u8,
    shared: &Shared,
) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let read = read(stream, sequence, REPLY_BYTES_MAX).await;
    read.map_err(|unread| gateways(unread, shared))
}

async fn read_local<L: Local>(
    local: &mut L,
    sequence: u8,
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    read(local, sequence, bytes_max).await.map_err(|unread| match unread {
        Unread::Gone(error) => Trouble::Local(error),
        Unread::Malformed(error) => Trouble::client(error),
    })
}

/// The payload of the packet with this number, and no byte behind it.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    sequence: u8,
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let mut bytes = Zeroizing::new(Vec::new());
    loop {
        match packet::login(&bytes, sequence, bytes_max).map_err(Unread::Malformed)? {
            packet::Step::Need(length) => {
                let filled = bytes.len();
                bytes.resize(length.max(HEADER_BYTES), 0);
                let room = bytes.get_mut(filled..).unwrap_or_default();
                stream.read_exact(room).await.map_err(Unread::Gone)?;
            }
            packet::Step::Packet { payload, .. } => return Ok(Zeroizing::new(payload.to_vec())),
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    sequence: u8,
    payload: &[u8],
) -> io::Result<()> {
    stream.write_all(&Zeroizing::new(packet::encode(sequence, payload))).await?;
    stream.flush().await
}
