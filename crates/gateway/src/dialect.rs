//! The seam between protocols: how a connection begins, how a credential is asked for, how the server is logged in to,
//! how a refusal, a notice and a cut are spelled. Everything else in this crate is the same for every protocol.

use std::fmt;
use std::sync::Arc;

use model::kind::server::{DatabaseServer, Engine};
use model::{Document, Refusal};
use runtime::Secret;
use runtime::config::Protocol;
use tokio::net::TcpStream;

use crate::cancel::{Asked, Registered};
use crate::claimed::Claimed;
use crate::listener::Accepted;
use crate::observe;
use crate::outcome::{Denied, Stop};
use crate::session::Connection;
use crate::tls::{Hello, Secured, Stream};
use crate::upstream::{Dialled, Proof};

mod mysql;
mod names;
mod pg;
mod trouble;

pub(crate) use mysql::greetings::Greetings;
pub(crate) use mysql::login::greeting as mysql_greeting;
pub(crate) use mysql::say::refusal as mysql_refusal;
#[cfg(any(test, fuzzing))]
pub(crate) use pg::login::log_in as pg_log_in;
#[cfg(any(test, fuzzing))]
pub(crate) use pg::password::Ours as PgOurs;
pub(crate) use pg::say::{ends_soon as pg_ends_soon, notice, refusal as pg_refusal};

/// What a connection is for, before TLS.
#[derive(Debug)]
pub(crate) enum First {
    /// TLS begins.
    Tls(Box<Hello>),
    /// Cancel another session's statement.
    Cancel(Box<Asked>),
}

/// A connection that has said what it wants.
#[derive(Debug)]
pub(crate) struct Started {
    /// What it carries along.
    pub connection: Connection,
    /// The client.
    pub client: Box<Stream>,
    /// TLS server name (SNI).
    pub server_name: Option<String>,
    /// What it wants.
    pub startup: Startup,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Startup {
    /// As whom.
    pub user: String,
    /// Which database; with MySQL perhaps none.
    pub database: String,
    /// As the client names itself.
    pub application_name: Option<Claimed>,
    /// Whether the replication protocol is asked for.
    pub replication: bool,
    /// As it was said.
    pub packet: Packet,
}

/// What a client said of what it wants.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// A start-up message.
    PostgreSql(wire::pg::startup::Startup),
    /// A handshake response.
    MySql(Box<mysql::start::Response>),
}

/// How far the opening of a connection has come, where a protocol must know.
#[derive(Debug)]
pub(crate) enum Opening {
    /// PostgreSQL does not.
    PostgreSql,
    /// MySQL counts packets, and says first what it offers.
    MySql(mysql::Opening),
}

impl Opening {
    /// Of a connection that has just come.
    pub(crate) fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::PostgreSql => Self::PostgreSql,
            Protocol::MySql => Self::MySql(mysql::Opening::default()),
        }
    }

    /// The number of our next packet to the client.
    pub(crate) fn sequence(&self) -> u8 {
        match self {
            Self::PostgreSql => 0,
            Self::MySql(opening) => opening.sequence,
        }
    }
}

/// What is said to a server before TLS begins, and to be agreed on there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    /// SSLRequest.
    PostgreSql,
    /// What the client has agreed on, of which the server must speak all.
    MySql(mysql::login::Wish),
}

/// What a server said before TLS began.
#[derive(Clone, Debug)]
pub(crate) enum Greeted {
    /// That it speaks TLS.
    PostgreSql,
    /// Its greeting.
    MySql(Box<mysql::login::Greeted>),
}

/// What the server said while it let us in.
#[derive(Debug)]
pub(crate) enum Login {
    /// PostgreSQL.
    PostgreSql(pg::login::Login),
    /// MySQL.
    MySql(mysql::login::Login),
}

/// Reads until TLS begins or a cancel request is whole.
pub(crate) async fn first(accepted: Accepted) -> Result<First, Stop> {
    match accepted.connection.opening {
        Opening::PostgreSql => pg::first::first(accepted).await,
        Opening::MySql(_) => mysql::first::first(accepted).await,
    }
}

/// Reads what the client wants, inside TLS, and refuses what may not be asked for.
pub(crate) async fn start(secured: Secured) -> Result<Started, Stop> {
    let started = match secured.connection.opening {
        Opening::PostgreSql => pg::start::start(secured).await?,
        Opening::MySql(_) => mysql::start::start(secured).await?,
    };
    let names = (started.startup.user.as_str(), started.startup.database.as_str());
    match names::possible(names, started.connection.door.protocol) {
        Ok(()) => Ok(started),
        Err(refusal) => Err(Stop::refused(started.connection, started.client, refusal)),
    }
}

/// Asks for the credential and reads it.
pub(crate) async fn ask_credential(
    started: Started,
    server: &Document<DatabaseServer>,
) -> Result<(Started, Secret<Vec<u8>>), Stop> {
    match &started.startup.packet {
        Packet::PostgreSql(_) => pg::credential::ask_credential(started, server).await,
        Packet::MySql(_) => mysql::credential::ask_credential(started).await,
    }
}

/// What is told to a client whose credential does not hold.
pub(crate) async fn credential_refused(started: &mut Started, denied: Denied) -> Denied {
    match &started.startup.packet {
        Packet::PostgreSql(_) => pg::credential::credential_refused(started, denied).await,
        Packet::MySql(_) => denied,
    }
}

/// How a client that has no session is told why.
pub(crate) fn refusal(refusal: &Refusal, connection: &Connection) -> Vec<u8> {
    match &connection.opening {
        Opening::PostgreSql => pg_refusal(refusal, connection.id),
        Opening::MySql(opening) => mysql_refusal(refusal, opening.sequence),
    }
}

impl Wish {
    /// Of someone who only wants to see who answers.
    pub(crate) fn anything(server: &Document<DatabaseServer>) -> Self {
        match server.spec.engine {
            Engine::PostgreSql => Self::PostgreSql,
            Engine::MySql => Self::MySql(mysql::login::Wish::anything()),
        }
    }

    /// Of a client, as far as the server's rules go along.
    pub(crate) fn of(startup: &Startup, server: &DatabaseServer) -> Self {
        match &startup.packet {
            Packet::PostgreSql(_) => Self::PostgreSql,
            Packet::MySql(response) => {
                let local_files = mysql::local_files(server);
                Self::MySql(mysql::login::Wish { local_files, ..response.wish() })
            }
        }
    }
}

/// Asks the server to cancel what a backend runs, from outside of its session.
pub(crate) async fn cancel_upstream(
    server: &Document<DatabaseServer>,
    key: &CancelKey,
) -> Result<(), Denied> {
    match server.spec.engine {
        Engine::PostgreSql => pg::cancel::cancel_upstream(server, key).await,
        Engine::MySql => {
            let message = "MySQL's protocol has no cancel requests";
            Err(Denied::new(&model::code::UPSTREAM_REFUSED, message))
        }
    }
}

/// Asks the server for TLS; a refusal is never taken as leave to go on in plain text.
pub(crate) async fn request_tls(stream: &mut TcpStream, wish: Wish) -> Result<Greeted, Denied> {
    match wish {
        Wish::PostgreSql => {
            pg::tls::request_tls(stream).await?;
            Ok(Greeted::PostgreSql)
        }
        Wish::MySql(wish) => {
            let greeted = mysql::login::request_tls(stream, wish).await?;
            Ok(Greeted::MySql(Box::new(greeted)))
        }
    }
}

/// Logs in to the server as this user. Packets for the client begin with this number.
pub(crate) async fn log_in(
    dialled: &mut Dialled,
    (startup, sequence): (&Startup, u8),
    (server, user, proof): (&Document<DatabaseServer>, &str, &Proof),
) -> Result<Login, Denied> {
    match (&startup.packet, &dialled.greeted) {
        (Packet::PostgreSql(packet), Greeted::PostgreSql) => {
            let version = packet.effective(pg::credential::newest(server));
            let packet = packet.upstream((user, &startup.database), version);
            let packet = packet.map_err(|error| {
                let message = "the start-up message cannot be passed on";
                Denied::new(&model::code::PROTOCOL_VIOLATION, message).because(error)
            })?;
            let certificate = dialled.certificate.as_ref();
            let ours = pg::password::Ours { user, proof, certificate };
            pg::login::log_in(&mut dialled.stream, &packet, ours).await.map(Login::PostgreSql)
        }
        (Packet::MySql(response), Greeted::MySql(greeted)) => {
            let said = (&**response, &**greeted);
            let login =
                mysql::login::log_in(&mut dialled.stream, said, (user, proof), sequence).await;
            login.map(Login::MySql)
        }
        _ => {
            let message = "the listener's protocol is not the server's";
            Err(Denied::new(&model::code::SERVER_UNKNOWN, message)
                .because(format_args!("`{}` is of another engine", server.name())))
        }
    }
}

/// Logs in to a MySQL server under this name for ourselves, without a database.
pub(crate) async fn enter_mysql(
    dialled: &mut Dialled,
    user: &str,
    proof: &Proof,
) -> Result<(), Denied> {
    match &dialled.greeted {
        Greeted::MySql(greeted) => {
            mysql::login::enter_as(&mut dialled.stream, greeted, (user, proof)).await
        }
        Greeted::PostgreSql => {
            let message = "the server is not of the engine that its document names";
            Err(Denied::new(&model::code::UPSTREAM_MALFORMED, message))
        }
    }
}

/// Ends a connection to a MySQL server, on another of the same user.
pub(crate) async fn kill_mysql(dialled: &mut Dialled, number: u32) -> Result<(), Denied> {
    mysql::kill::kill(&mut dialled.stream, number).await
}

impl Login {
    /// How its backend is known.
    pub(crate) fn key(&self) -> &CancelKey {
        match self {
            Self::PostgreSql(login) => &login.key,
            Self::MySql(login) => &login.key,
        }
    }

    /// What the client is told: its own cancel key, and something to read where the protocol has a place for it.
    pub(crate) fn told(&self, key: Option<&Registered>, said: Option<&str>) -> Vec<u8> {
        match self {
            Self::PostgreSql(login) => login.told(key.map_or(&login.key, |key| &key.key), said),
            Self::MySql(login) => login.told.clone(),
        }
    }

    /// What the server said behind that already.
    pub(crate) fn rest(self) -> Vec<u8> {
        match self {
            Self::PostgreSql(login) => login.rest,
            Self::MySql(_) => Vec::new(),
        }
    }

    /// What understands the session that begins.
    pub(crate) fn protocol(
        &self,
        startup: &Startup,
        connection: &Connection,
        thread: crate::cancel::threads::Thread,
    ) -> Option<Box<dyn observe::Protocol>> {
        match (self, &startup.packet) {
            (Self::PostgreSql(login), Packet::PostgreSql(packet)) => {
                // Refused at start-up when it could not be understood.
                let replication = packet.replication().ok()?;
                let protocol = observe::pg::Protocol::new(replication, &login.parameters);
                Some(Box::new(protocol))
            }
            (Self::MySql(login), Packet::MySql(response)) => {
                let Opening::MySql(opening) = &connection.opening else { return None };
                let agreed = observe::mysql::Agreed {
                    capabilities: login.capabilities,
                    collation: response.collation,
                    database: Some(startup.database.as_str()).filter(|name| !name.is_empty()),
                };
                let threads = &connection.gateway.threads;
                let own = threads.register(opening.number, thread);
                let protocol = observe::mysql::Protocol::new(agreed, own, Arc::clone(threads));
                Some(Box::new(protocol))
            }
            _ => None,
        }
    }
}

/// What a client needs to cancel a statement: the backend's process id and a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CancelKey {
    /// The backend; with MySQL the number of its connection.
    pub pid: u32,
    /// 4 bytes, or up to 256 from protocol 3.2 on; none with MySQL.
    pub secret: Vec<u8>,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelKey({}, [secret])", self.pid)
    }
}
