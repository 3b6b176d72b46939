//! PostgreSQL: the start-up message goes to the gateway under our user, the password is the token, and from
//! AuthenticationOk on everything is passed on as it is.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wire::pg::backend::{Message, Scanner, Step as Scanned};
use wire::pg::error::{cancel_request, password_message, ssl_request};
use wire::pg::startup::{self, CancelRequest, Packet, Startup, Step};
use zeroize::Zeroizing;

use super::relay::relay;
use super::trouble::{Trouble, means_the_token};
use super::{Local, Shared};
use crate::{Connection, Token};

const ALPN: &[&[u8]] = &[b"postgresql"];
/// A client says at once what it wants.
const START_WITHIN: Duration = Duration::from_mins(1);
/// The gateway opens a database, or says why not, in this time.
const LOGIN_WITHIN: Duration = Duration::from_secs(75);
/// A cancel request is taken in this time.
const CANCEL_WITHIN: Duration = Duration::from_secs(10);
/// Before AuthenticationOk the gateway says little.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// SSLRequest and GSSENCRequest, each once, then what is wanted.
const FIRST_PACKETS_MAX: usize = 3;

/// Serves one client.
pub(super) async fn serve<L: Local>(mut local: L, shared: &Shared) -> Result<(), Trouble> {
    let wanted = tokio::time::timeout(START_WITHIN, wanted(&mut local)).await;
    let opened = match wanted.map_err(|late| Trouble::Local(late.into())).flatten() {
        Ok(Wanted::Cancel(request)) => return cancel(&request, shared).await,
        Ok(Wanted::Session(startup)) => Box::pin(open(&startup, shared)).await,
        Err(trouble) => Err(trouble),
    };
    match opened {
        Ok(Opened { stream, said }) => {
            send(&mut local, &said).await.map_err(Trouble::Local)?;
            relay(local, stream).await;
            Ok(())
        }
        Err(trouble) => {
            // It may be gone; what happened is what counts.
            let _told = send(&mut local, &trouble.postgresql()).await;
            Err(trouble)
        }
    }
}

/// What a client wants.
enum Wanted {
    Session(Startup),
    Cancel(CancelRequest),
}

/// Reads exactly what belongs to the first packets. Nothing here is encrypted: wishes for it are answered with `N`.
async fn wanted<L: Local>(local: &mut L) -> Result<Wanted, Trouble> {
    for _ in 0..FIRST_PACKETS_MAX {
        match first(local).await? {
            Packet::SslRequest | Packet::GssEncRequest => {
                send(local, b"N").await.map_err(Trouble::Local)?;
            }
            Packet::CancelRequest(request) => return Ok(Wanted::Cancel(request)),
            Packet::Startup(startup) => return Ok(Wanted::Session(startup)),
        }
    }
    Err(Trouble::client("encryption is asked for again and again"))
}

async fn first<L: Local>(local: &mut L) -> Result<Packet, Trouble> {
    let mut bytes = Vec::new();
    loop {
        match startup::first(&bytes).map_err(Trouble::client)? {
            Step::Need(length) => {
                let filled = bytes.len();
                bytes.resize(length.max(filled), 0);
                let room = bytes.get_mut(filled..).unwrap_or_default();
                local.read_exact(room).await.map_err(Trouble::Local)?;
            }
            Step::DirectTls => {
                return Err(Trouble::client(
                    "TLS is not spoken here; connect with sslmode=disable",
                ));
            }
            Step::Packet { packet, .. } => return Ok(packet),
        }
    }
}

/// A session that the gateway has opened.
struct Opened {
    stream: TlsStream<TcpStream>,
    /// For the client, up to AuthenticationOk. Nothing behind it was read.
    said: Vec<u8>,
}

/// Logs in; once more with another token when it is the token that is refused.
async fn open(startup: &Startup, shared: &Shared) -> Result<Opened, Trouble> {
    let message = ours(startup, shared)?;
    let token = shared.keeper.token().await?;
    let refused = match log_in(&message, &token, shared).await {
        Err(Trouble::Refused { said, verbatim }) if means_the_token(&said) => {
            Trouble::Refused { said, verbatim }
        }
        outcome => return outcome,
    };
    match shared.keeper.instead_of(&token).await {
        Some(other) => log_in(&message, &other, shared).await,
        None => Err(refused),
    }
}

/// The client's own start-up message under our user; the server's database where it names none. Everything else is the
/// gateway's to judge.
fn ours(startup: &Startup, shared: &Shared) -> Result<Vec<u8>, Trouble> {
    let user = shared.connection.user.as_str();
    let identity = [("user", Some(user)), ("database", database(startup, &shared.connection))];
    let identity = identity.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let others = startup
        .parameters
        .iter()
        .filter(|(name, _)| !["user", "database"].iter().any(|own| name.eq_ignore_ascii_case(own)));
    let others = others.map(|(name, value)| (name.as_str(), value.as_str()));
    startup::encode(startup.version, identity.chain(others)).map_err(Trouble::client)
}

/// The database that the client names. One that is called as its user and does not exist was named by nobody: libpq
/// fills it in.
fn database<'a>(startup: &'a Startup, connection: &'a Connection) -> Option<&'a str> {
    let known = |name: &str| connection.databases.is_empty() || connection.databases.contains(name);
    let named = startup.parameter("database").filter(|name| {
        !name.is_empty() && (known(name) || startup.parameter("user") != Some(name))
    });
    named.or(connection.database.as_deref())
}

async fn log_in(message: &[u8], token: &Token, shared: &Shared) -> Result<Opened, Trouble> {
    let mut stream = secured(shared).await?;
    let login = exchange(&mut stream, message, token, shared);
    let said = match tokio::time::timeout(LOGIN_WITHIN, login).await {
        Ok(said) => said?,
        Err(late) => return Err(shared.gateway.lost(late.into())),
    };
    Ok(Opened { stream, said })
}

/// A connection to the gateway, inside TLS. A refusal is never taken as leave to go on in plain text.
async fn secured(shared: &Shared) -> Result<TlsStream<TcpStream>, Trouble> {
    let mut stream = shared.gateway.dial().await?;
    let asked = async {
        stream.write_all(&ssl_request()).await?;
        stream.read_u8().await
    };
    match asked.await.map_err(|error| shared.gateway.lost(error))? {
        b'S' => shared.gateway.secure(stream, ALPN).await,
        _ => Err(Trouble::Untrusted {
            address: shared.gateway.address(),
            cause: "it does not speak TLS".to_owned(),
        }),
    }
}

/// Up to AuthenticationOk; what the client is told of it.
async fn exchange(
    stream: &mut TlsStream<TcpStream>,
    message: &[u8],
    token: &Token,
    shared: &Shared,
) -> Result<Vec<u8>, Trouble> {
    let lost = |error| shared.gateway.lost(error);
    send(stream, message).await.map_err(lost)?;
    let mut said = Vec::new();
    let mut answered = false;
    loop {
        let message = read_message(stream, shared).await?;
        match (message.first(), message.get(5..9)) {
            (Some(b'R'), Some([0, 0, 0, 0])) => {
                said.extend_from_slice(&message);
                return Ok(said);
            }
            (Some(b'R'), Some([0, 0, 0, 3])) if !answered => {
                answered = true;
                let answer = password_message(token.text.expose().as_bytes())
                    .ok_or_else(|| Trouble::gateway("it does not take so long a token"))?;
                send(stream, &Zeroizing::new(answer)).await.map_err(lost)?;
            }
            (Some(b'R'), _) => {
                return Err(Trouble::gateway("it asks for something else than a password"));
            }
            (Some(b'E'), _) => {
                let said = error_text(&message);
                return Err(Trouble::Refused { said, verbatim: message });
            }
            // NegotiateProtocolVersion is the client's to read; notices of before the login are nobody's.
            (Some(b'v'), _) if !answered => said.extend_from_slice(&message),
            (Some(b'N'), _) => {}
            _ => return Err(Trouble::gateway("a message that has no place in a login")),
        }
    }
}

/// One whole message, and no byte behind it.
async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
    shared: &Shared,
) -> Result<Vec<u8>, Trouble> {
    let lost = |error| shared.gateway.lost(error);
    let mut header = [0; 5];
    stream.read_exact(&mut header).await.map_err(lost)?;
    let [_, length @ ..] = header;
    let body = usize::try_from(u32::from_be_bytes(length)).ok().and_then(|it| it.checked_sub(4));
    let body = body
        .filter(|bytes| *bytes <= MESSAGE_BYTES_MAX)
        .ok_or_else(|| Trouble::gateway("a message of an impossible length"))?;
    let mut message = header.to_vec();
    message.resize(header.len() + body, 0);
    let room = message.get_mut(header.len()..).unwrap_or_default();
    stream.read_exact(room).await.map_err(lost)?;
    Ok(message)
}

fn error_text(message: &[u8]) -> String {
    match Scanner::new().step(message) {
        Ok(Scanned::Message { message: Message::ErrorResponse(fields), .. }) => fields.message(),
        _ => "an error without a text".to_owned(),
    }
}

/// Passes a cancel request on and waits until the gateway has taken it: it closes without an answer, and the client
/// waits for the same.
async fn cancel(request: &CancelRequest, shared: &Shared) -> Result<(), Trouble> {
    let passed = async {
        let mut stream = secured(shared).await?;
        let lost = |error| shared.gateway.lost(error);
        send(&mut stream, &cancel_request(request.pid, &request.key)).await.map_err(lost)?;
        let mut byte = [0];
        // However it ends the connection, it has taken the request.
        let _closed = stream.read(&mut byte).await;
        Ok(())
    };
    let late = tokio::time::timeout(CANCEL_WITHIN, passed);
    late.await.map_err(|late| shared.gateway.lost(late.into()))?
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(user: &str, database: Option<&str>, reachable: &[&str]) -> Option<String> {
        let connection = serde_json::json!({
            "engine": "postgresql", "host": "db.test", "port": 5432, "user": "ada@example.com",
            "database": reachable.first().unwrap_or(&"postgres"), "databases": reachable,
        });
        let connection: Connection = serde_json::from_value(connection).unwrap();
        let mut parameters = vec![("user".to_owned(), user.to_owned())];
        parameters.extend(database.map(|name| ("database".to_owned(), name.to_owned())));
        let startup = Startup { version: startup::Version::V3_0, parameters };
        super::database(&startup, &connection).map(str::to_owned)
    }

    #[test]
    fn a_database_that_nobody_named_is_the_servers_first() {
        let orders = &["archive", "orders"][..];
        for (user, database, reachable, expected) in [
            ("app", Some("orders"), orders, "orders"),
            ("app", None, orders, "archive"),
            // libpq's own default.
            ("app", Some("app"), orders, "archive"),
            // An application whose user is called as its database means that database.
            ("orders", Some("orders"), orders, "orders"),
            // A mistake is the gateway's to name.
            ("app", Some("ordres"), orders, "ordres"),
            ("app", Some("app"), &[], "app"),
            ("app", Some(""), &[], "postgres"),
        ] {
            let found = named(user, database, reachable);
            assert_eq!(found.as_deref(), Some(expected), "{user} {database:?}");
        }
    }
}
