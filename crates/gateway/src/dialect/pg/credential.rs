//! Asking for the credential, inside TLS: a token as the clear-text password, or OAUTHBEARER. One authentication request
//! can offer only one of them, so the listener decides.

use std::io;

use model::kind::server::DatabaseServer;
use model::{Document, code};
use runtime::Secret;
use runtime::config::Authentication;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::pg::error::{
    authentication_cleartext_password, authentication_sasl, authentication_sasl_continue,
};
use wire::pg::frontend::{self, Credential};
use wire::pg::sasl::{self, Discovery, Response};
use wire::pg::startup::Version;
use zeroize::Zeroizing;

use super::say::failed_authentication;
use crate::dialect::{Packet, Started};
use crate::outcome::{Denied, Stop};
use crate::tls::Stream;

/// PostgreSQL 18, the first to speak protocol 3.2.
const VERSION_OF_3_2: u32 = 180_000;
/// What a client asks the token service for.
const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";

/// The newest protocol that gateway and server both speak: 3.0 until a probe has seen that the server is new enough.
pub(crate) fn newest(server: &Document<DatabaseServer>) -> Version {
    match server.status.version_number {
        Some(VERSION_OF_3_2..) => Version::V3_2,
        Some(_) | None => Version::V3_0,
    }
}

/// Negotiates the protocol version where needed, asks for the credential and reads it.
pub(crate) async fn ask_credential(
    mut started: Started,
    server: &Document<DatabaseServer>,
) -> Result<(Started, Secret<Vec<u8>>), Stop> {
    let negotiation = match &started.startup.packet {
        Packet::PostgreSql(packet) => packet.negotiation(newest(server)),
        Packet::MySql(_) => None,
    };
    let before = negotiation.map(|negotiation| negotiation.encode()).unwrap_or_default();
    let connection = &mut started.connection;
    let issuer = connection.gateway.issuer.clone();
    let answered = match connection.door.authentication {
        Authentication::Password => connection.client(password(&mut started.client, &before)).await,
        Authentication::OauthBearer => {
            connection.client(oauth_bearer(&mut started.client, &before, &issuer)).await
        }
    };
    match answered {
        Ok(Ok(credential)) => Ok((started, credential)),
        // A client that has none comes back once it has: not a failed login.
        Ok(Err(Unanswered::Gone)) => {
            Err(Stop::Silent("the client closed before it gave a credential"))
        }
        // Told already where to get one: the end of the exchange is left to say.
        Ok(Err(Unanswered::NoToken)) => {
            let mut denied = Denied::new(&code::CREDENTIAL_MISSING, "no token was given");
            denied.verbatim = Some(failed_authentication(&denied.refusal, started.connection.id));
            Err(Stop::refused(started.connection, started.client, denied))
        }
        Ok(Err(Unanswered::Denied(denied))) | Err(denied) => {
            Err(Stop::refused(started.connection, started.client, denied))
        }
    }
}

/// What is told to a client whose credential does not hold. With OAUTHBEARER that is an exchange (RFC 7628 §3.2.2): the
/// server's reason as JSON, the client's acknowledgement, and only then the error.
pub(crate) async fn credential_refused(started: &mut Started, mut denied: Denied) -> Denied {
    let connection = &mut started.connection;
    match connection.door.authentication {
        Authentication::Password => {}
        Authentication::OauthBearer => {
            let issuer = connection.gateway.issuer.clone();
            // Refused it is, whatever the client says to that.
            match connection.client(explain(&mut started.client, &issuer)).await {
                Ok(_) | Err(_) => {}
            }
            denied.verbatim = Some(failed_authentication(&denied.refusal, connection.id));
        }
    }
    denied
}

#[derive(Debug)]
enum Unanswered {
    Gone,
    /// It asked where to get one.
    NoToken,
    Denied(Denied),
}

impl From<io::Error> for Unanswered {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// AuthenticationCleartextPassword.
async fn password(client: &mut Stream, before: &[u8]) -> Result<Secret<Vec<u8>>, Unanswered> {
    ask(client, before, &authentication_cleartext_password()).await?;
    let body = answer(client).await?;
    let password = frontend::password(&body).map_err(violation)?;
    Ok(Secret::new(password.to_vec()))
}

/// AuthenticationSASL with OAUTHBEARER (RFC 7628). A client without a token is told where to get one; its second
/// attempt comes on a connection of its own.
async fn oauth_bearer(
    client: &mut Stream,
    before: &[u8],
    issuer: &str,
) -> Result<Secret<Vec<u8>>, Unanswered> {
    ask(client, before, &authentication_sasl(&[sasl::MECHANISM])).await?;
    let body = answer(client).await?;
    let initial = frontend::sasl_initial_response(&body).map_err(violation)?;
    if initial.mechanism != sasl::MECHANISM.as_bytes() {
        return Err(violation("the mechanism was not offered"));
    }
    match sasl::response(initial.data.unwrap_or_default()).map_err(violation)? {
        Response::Bearer(token) => Ok(Secret::new(token.as_bytes().to_vec())),
        Response::Discovery => {
            explain(client, issuer).await?;
            Err(Unanswered::NoToken)
        }
    }
}

/// Says that there is no valid token and where to get one, and waits for the client's acknowledgement.
async fn explain(client: &mut Stream, issuer: &str) -> Result<(), Unanswered> {
    let discovery = Discovery { issuer, scope: SCOPE }.json();
    ask(client, &[], &authentication_sasl_continue(discovery.as_bytes())).await?;
    if answer(client).await?.as_slice() == sasl::ACKNOWLEDGEMENT {
        Ok(())
    } else {
        Err(violation("the error of OAUTHBEARER was not acknowledged"))
    }
}

fn violation(error: impl std::fmt::Display) -> Unanswered {
    Unanswered::Denied(Denied::new(&code::PROTOCOL_VIOLATION, error.to_string()))
}

async fn ask(client: &mut Stream, before: &[u8], question: &[u8]) -> io::Result<()> {
    client.write_all(&[before, question].concat()).await?;
    client.flush().await
}

/// The body of one message `p`: exact-size reads, bounded before anything is allocated, wiped after use.
async fn answer(client: &mut Stream) -> Result<Zeroizing<Vec<u8>>, Unanswered> {
    let mut message = Zeroizing::new(Vec::new());
    loop {
        match frontend::credential(&message).map_err(violation)? {
            Credential::Message { body, .. } => return Ok(Zeroizing::new(body.to_vec())),
            Credential::Need(length) => {
                let read = message.len();
                message.resize(length, 0);
                client.read_exact(message.get_mut(read..).unwrap_or_default()).await?;
            }
        }
    }
}
