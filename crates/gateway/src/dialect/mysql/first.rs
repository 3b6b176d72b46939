//! The greeting, and the client's first packet: before TLS.

use std::sync::Arc;

use model::code;
use runtime::Secret;
use tokio::io::AsyncWriteExt;
use wire::mysql::authentication::NATIVE_PASSWORD;
use wire::mysql::greeting::{self, Greeting};
use wire::mysql::handshake::{self, First as Answer, HandshakeResponse};
use wire::mysql::limits::HANDSHAKE_RESPONSE_BYTES_MAX;
use wire::mysql::{capabilities, packet};

use super::{Opening, Unread, read_packet};
use crate::claimed::Claimed;
use crate::dialect::{self, First};
use crate::identify;
use crate::listener::Accepted;
use crate::outcome::{Denied, Stop};
use crate::session::Connection;
use crate::tls::{Begun, Hello};

/// The client's first packet has this number, whatever is in it.
const CLIENT_FIRST: u8 = 1;

/// Greets the client as its server would, and reads its wish for TLS. It sends its ClientHello without waiting; those
/// bytes stay where they are.
pub(crate) async fn first(accepted: Accepted) -> Result<First, Stop> {
    let Accepted { mut connection, mut stream } = accepted;
    let greeting = match greeting(&mut connection).await {
        Ok(greeting) => greeting,
        Err(denied) => return Err(Stop::refused_plain(connection, stream, denied)),
    };
    let (number, offered) = (greeting.connection_id, greeting.capabilities);
    connection.opening = dialect::Opening::MySql(Opening { sequence: 2, number, offered });
    let exchange = async {
        stream.write_all(&packet::encode(0, &greeting.encode())).await.map_err(Unread::Gone)?;
        read_packet(&mut stream, CLIENT_FIRST, HANDSHAKE_RESPONSE_BYTES_MAX).await
    };
    let payload = match connection.client(exchange).await {
        Ok(Ok(payload)) => payload,
        Ok(Err(Unread::Gone(_))) => {
            return Err(Stop::Silent("the client closed before it said anything"));
        }
        Ok(Err(Unread::Malformed(error))) => {
            let denied = Denied::new(&code::PROTOCOL_VIOLATION, error.to_string());
            return Err(Stop::refused_plain(connection, stream, denied));
        }
        Err(_) => return Err(Stop::Silent("nothing was said in time")),
    };
    let denied = match handshake::first(&payload) {
        Ok(Answer::SslRequest(_)) => {
            return Ok(First::Tls(Box::new(Hello { connection, stream, begun: Begun::Asked })));
        }
        Ok(Answer::Response(response)) => {
            connection.known.user = Some(Claimed::cut_bytes(response.user));
            let message =
                "the connection is not encrypted, and this gateway takes no credential without TLS";
            let denied = Denied::new(&code::TLS_REQUIRED, message);
            match exposed(&response, &connection).await {
                Some(said) => Denied { refusal: denied.refusal.hint(said), ..denied },
                None => denied,
            }
        }
        Ok(Answer::Old) => Denied::new(
            &code::PROTOCOL_UNSUPPORTED,
            "the client speaks the protocol of before MySQL 4.1",
        ),
        Err(error) => Denied::new(&code::PROTOCOL_VIOLATION, error.to_string()),
    };
    Err(Stop::refused_plain(connection, stream, denied))
}

/// Whoever listens has read what such a client sent. A token that it sent is revoked, and the client is told.
async fn exposed(
    response: &HandshakeResponse<'_>,
    connection: &Connection,
) -> Option<&'static str> {
    let text = response.authentication;
    let token = Secret::new(text.strip_suffix(&[0]).unwrap_or(text).to_vec());
    let credential = identify::verify(&token, &connection.gateway).ok()?;
    let reason = format!("it was sent without TLS from {}", connection.source);
    let control = connection.gateway.provisioner.control();
    match control.revoke_exposed(credential.token, reason).await {
        Ok(()) => Some("the token that was sent is revoked: it could be read on its way"),
        Err(error) => {
            let (token, source) = (credential.token, connection.source);
            tracing::error!(%token, %source, %error, "a token that was sent without TLS could not be revoked");
            Some("the token that was sent could be read on its way: revoke it")
        }
    }
}

/// What the servers behind the listener say of themselves, with a number and a challenge of ours.
async fn greeting(connection: &mut Connection) -> Result<Greeting, Denied> {
    let gateway = Arc::clone(&connection.gateway);
    let door = Arc::clone(&connection.door);
    let behind = gateway.greetings.behind(&door.name, &gateway);
    let (known, local_files) = connection.server(behind).await??;
    let failed = |error: keys::KeyError| {
        Denied::new(&code::INTERNAL, "no challenge could be made for the client").because(error)
    };
    Ok(Greeting {
        connection_id: gateway.threads.number(),
        scramble: greeting::scramble(keys::random().map_err(failed)?).to_vec(),
        capabilities: capabilities::offered(known.capabilities, local_files),
        // Clients that have to be told so switch to the clear-text plugin, inside TLS; as a default some refuse it.
        plugin: NATIVE_PASSWORD.to_owned(),
        ..known
    })
}
