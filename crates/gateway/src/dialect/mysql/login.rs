//! Logging in to the server, as the person or as the user that they share, up to its OK packet. The server is hostile input too: what it may say is
//! bounded, and what does not belong here is refused.

use model::{Refusal, code};
use runtime::Secret;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::mysql::authentication::{
    CACHING_SHA2, CLEAR_PASSWORD, ED25519, FAST_AUTH_SUCCESS, NATIVE_PASSWORD,
    PERFORM_FULL_AUTHENTICATION, Reply, SHA256_PASSWORD, caching_sha2_answer, clear_answer,
    ed25519_answer, native_answer, reply,
};
use wire::mysql::capabilities::{self, Database, LocalFiles};
use wire::mysql::error::server_error;
use wire::mysql::greeting::Greeting;
use wire::mysql::handshake::{Attributes, HandshakeResponse};
use wire::mysql::limits::GREETING_BYTES_MAX;
use wire::mysql::{Capabilities, packet};

use super::start::Response;
use super::{Unread, read_packet};
use crate::dialect::CancelKey;
use crate::dialect::trouble::{lost, malformed, not_taken};
use crate::outcome::Denied;
use crate::upstream::Proof;

/// What a server asks of us before it lets us in is little.
const REPLIES_MAX: u8 = 4;
/// utf8mb4_general_ci, of whoever wishes for nothing.
const COLLATION: u8 = 45;
const PACKET_BYTES_MAX: u32 = 1 << 24;
/// Errors by which a server turns a connection away before anything is said on it.
const CON_COUNT_ERROR: u16 = 1040;
const HOST_IS_BLOCKED: u16 = 1129;
const HOST_NOT_PRIVILEGED: u16 = 1130;

/// What is to be agreed on with the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// What client and gateway have agreed on.
    pub agreed: Capabilities,
    /// `max_allowed_packet` of the client.
    pub packet_bytes_max: u32,
    /// The collation that the session begins with.
    pub collation: u8,
    /// Whether a database will be named.
    pub database: Database,
    /// Whether the server may ask for a file of the client's.
    pub local_files: LocalFiles,
}

impl Wish {
    /// What every server speaks.
    pub(crate) fn anything() -> Self {
        let agreed = Capabilities::PROTOCOL_41
            .with(Capabilities::PLUGIN_AUTH)
            .with(Capabilities::LONG_PASSWORD)
            .with(Capabilities::TRANSACTIONS)
            .with(Capabilities::DEPRECATE_EOF);
        let (packet_bytes_max, collation) = (PACKET_BYTES_MAX, COLLATION);
        let local_files = LocalFiles::Refused;
        Self { agreed, packet_bytes_max, collation, database: Database::None, local_files }
    }

    fn response(self, capabilities: Capabilities) -> HandshakeResponse<'static> {
        HandshakeResponse {
            capabilities,
            packet_bytes_max: self.packet_bytes_max,
            collation: self.collation,
            user: b"",
            authentication: b"",
            database: None,
            plugin: Some(NATIVE_PASSWORD.as_bytes()),
            attributes: Attributes::default(),
            zstd_level: None,
        }
    }
}

/// What the server said first, and what we answered.
#[derive(Clone, Debug)]
pub(crate) struct Greeted {
    /// What it says of itself.
    pub greeting: Greeting,
    /// What holds between gateway and server.
    pub capabilities: Capabilities,
}

/// What the server said while it let us in.
#[derive(Debug)]
pub(crate) struct Login {
    /// The number of its connection.
    pub key: CancelKey,
    /// What holds on both sides.
    pub capabilities: Capabilities,
    /// Its OK packet, with the number that it has for the client.
    pub told: Vec<u8>,
}

/// Reads the greeting alone.
pub(crate) async fn greeting(stream: &mut TcpStream) -> Result<Greeting, Denied> {
    let payload =
        read_packet(stream, 0, GREETING_BYTES_MAX).await.map_err(|error| match error {
            Unread::Gone(error) => Denied::new(
                &code::UPSTREAM_UNREACHABLE,
                "the database server closed the connection",
            )
            .because(error),
            Unread::Malformed(error) => malformed(&error),
        })?;
    if payload.first() == Some(&0xff) {
        return Err(turned_away(&payload));
    }
    Greeting::parse(&payload).map_err(|error| malformed(&error))
}

/// Reads the greeting and begins TLS. A server without TLS is refused; nothing that came before TLS counts after it but
/// what it says of itself.
pub(crate) async fn request_tls(stream: &mut TcpStream, wish: Wish) -> Result<Greeted, Denied> {
    let greeting = greeting(stream).await?;
    if !greeting.capabilities.contains(Capabilities::SSL) {
        return Err(Denied::new(
            &code::UPSTREAM_UNTRUSTED,
            "the database server does not speak TLS, and is not spoken to without it",
        ));
    }
    let more = (wish.database, wish.local_files);
    let capabilities =
        capabilities::upstream(wish.agreed, greeting.capabilities, more).map_err(|missing| {
            let message = "the database server offers less than the client was told";
            Denied::new(&code::UPSTREAM_REFUSED, message)
                .because(format_args!("missing: {missing:?}; greeted as {greeting:?}"))
        })?;
    let request = packet::encode(1, &wish.response(capabilities).ssl_request());
    stream.write_all(&request).await.map_err(|error| lost(&error))?;
    Ok(Greeted { greeting, capabilities })
}

/// Sends the handshake response and answers until the server lets us in.
pub(crate) async fn log_in<S>(
    stream: &mut S,
    (response, greeted): (&Response, &Greeted),
    (user, proof): (&str, &Proof),
    client: u8,
) -> Result<Login, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authentication = first_answer(proof, greeted);
    let ours = HandshakeResponse {
        user: user.as_bytes(),
        authentication: authentication.expose(),
        database: response.database.as_deref().map(str::as_bytes),
        attributes: response.attributes.attributes(),
        ..response.wish().response(greeted.capabilities)
    };
    let payload = ours.encode().ok_or_else(|| malformed(&"it cannot be sent a password"))?;
    let payload = enter(stream, payload, proof, client).await?;
    Ok(Login {
        key: CancelKey { pid: greeted.greeting.connection_id, secret: Vec::new() },
        capabilities: greeted.capabilities,
        told: packet::encode(client, &payload),
    })
}

/// Logs in for ourselves, without a database.
pub(crate) async fn enter_as<S>(
    stream: &mut S,
    greeted: &Greeted,
    (user, proof): (&str, &Proof),
) -> Result<(), Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authentication = first_answer(proof, greeted);
    let ours = HandshakeResponse {
        user: user.as_bytes(),
        authentication: authentication.expose(),
        ..Wish::anything().response(greeted.capabilities)
    };
    let payload = ours.encode().ok_or_else(|| malformed(&"it cannot be sent a password"))?;
    enter(stream, payload, proof, 0).await.map(drop)
}

/// The handshake response names `mysql_native_password`: a server whose account has it asks no more.
fn first_answer(proof: &Proof, greeted: &Greeted) -> Secret<Vec<u8>> {
    match proof {
        Proof::Password(password) => {
            native_answer(password.expose(), &greeted.greeting.scramble).into()
        }
        Proof::Certificate | Proof::Token(_) => Vec::new().into(),
    }
}

/// Says who we are, proves it as the server asks, and returns the payload of the OK packet. Errors for the client have
/// this number.
pub(crate) async fn enter<S>(
    stream: &mut S,
    response: Vec<u8>,
    proof: &Proof,
    client: u8,
) -> Result<Vec<u8>, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut answer, mut sequence) = (Some(Secret::new(response)), 2_u8);
    for _ in 0..REPLIES_MAX {
        if let Some(answer) = answer.take() {
            let sent = Secret::new(packet::encode(sequence, answer.expose()));
            stream.write_all(sent.expose()).await.map_err(|error| lost(&error))?;
            stream.flush().await.map_err(|error| lost(&error))?;
            sequence = sequence.wrapping_add(1);
        }
        let payload = read_packet(stream, sequence, GREETING_BYTES_MAX).await;
        let payload = payload.map_err(|error| match error {
            Unread::Gone(error) => lost(&error),
            Unread::Malformed(error) => malformed(&error),
        })?;
        sequence = sequence.wrapping_add(1);
        match reply(&payload).map_err(|error| malformed(&error))? {
            Reply::Ok => return Ok(payload.to_vec()),
            Reply::Err => return Err(refused(&payload, proof, client)),
            Reply::Switch { plugin, data } => answer = Some(switched(proof, plugin, data)?),
            Reply::More(data) => answer = more(proof, data)?,
        }
    }
    Err(malformed(&"its login does not end"))
}

/// The answer to a plugin that the server asks for. Everything is said inside TLS, to a server whose certificate was
/// verified.
fn switched(proof: &Proof, plugin: &[u8], data: &[u8]) -> Result<Secret<Vec<u8>>, Denied> {
    let is = |name: &str| plugin == name.as_bytes();
    let answer = match proof {
        // Plugins of accounts without a password: the answer is as empty as that.
        Proof::Certificate if is(NATIVE_PASSWORD) || is(CACHING_SHA2) => Some(Vec::new()),
        Proof::Certificate => None,
        Proof::Password(password) => {
            let password = password.expose();
            match plugin {
                _ if is(NATIVE_PASSWORD) => Some(native_answer(password, data)),
                _ if is(CACHING_SHA2) => Some(caching_sha2_answer(password, data)),
                _ if is(ED25519) => Some(ed25519_answer(password, data)),
                _ if is(SHA256_PASSWORD) || is(CLEAR_PASSWORD) => Some(clear_answer(password)),
                _ => None,
            }
        }
        Proof::Token(token) if is(CLEAR_PASSWORD) => Some(clear_answer(token.expose())),
        Proof::Token(_) => None,
    };
    answer.map(Secret::new).ok_or_else(|| {
        let asked = plugin.escape_ascii();
        not_taken(proof).because(format_args!("it asked for `{asked}` instead"))
    })
}

/// `caching_sha2_password` goes on: it is content, or wants the password itself.
fn more(proof: &Proof, data: &[u8]) -> Result<Option<Secret<Vec<u8>>>, Denied> {
    match (proof, data) {
        (Proof::Password(_), [FAST_AUTH_SUCCESS]) => Ok(None),
        (Proof::Password(password), [PERFORM_FULL_AUTHENTICATION]) => {
            Ok(Some(clear_answer(password.expose()).into()))
        }
        _ => Err(malformed(&"more authentication data than were asked for")),
    }
}

/// What comes in place of the greeting is from someone who has not been authenticated, goes to someone who has not
/// either, and may name our address: the client hears what it means, and the log what it says (CVE-2024-10977).
fn turned_away(payload: &[u8]) -> Denied {
    let said = server_error(payload);
    let denied = match said.code {
        CON_COUNT_ERROR => Denied::new(
            &code::TOO_MANY_CONNECTIONS,
            "the database server takes no more connections now",
        ),
        HOST_IS_BLOCKED | HOST_NOT_PRIVILEGED => {
            let message = "the database server takes no connections from where the gateway is";
            Refusal::new(&code::UPSTREAM_REFUSED, message)
                .hint("an operator must look at the server's log, or run `flush hosts` on it")
                .into()
        }
        _ => Denied::new(
            &code::UPSTREAM_REFUSED,
            "the database server turned the gateway away before it said who it is",
        ),
    };
    denied.because(format_args!("{}: {}", said.code, said.message()))
}

/// The server's own reasons go to the client as they are, inside TLS on both sides. What it says about our credential does not: it is our
/// affair, and it would name a user and a host that are none of the client's.
fn refused(payload: &[u8], proof: &Proof, client: u8) -> Denied {
    let said = server_error(payload);
    let (number, message) = (said.code, said.message());
    let code = match number {
        // ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR, ER_ACCOUNT_HAS_BEEN_LOCKED (MySQL, MariaDB)
        1045 | 1698 | 3118 | 4151 => {
            return not_taken(proof).because(format_args!("{number}: {message}"));
        }
        // ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
        CON_COUNT_ERROR | 1203 | 1226 => &code::TOO_MANY_CONNECTIONS,
        // ER_DBACCESS_DENIED_ERROR, ER_BAD_DB_ERROR
        1044 | 1049 => &code::DATABASE_UNKNOWN,
        _ => &code::UPSTREAM_REFUSED,
    };
    let mut denied = Denied::new(code, format!("the database server said: {message}"))
        .because(format_args!("{number}: {message}"));
    denied.verbatim = Some(packet::encode(client, payload));
    denied
}
