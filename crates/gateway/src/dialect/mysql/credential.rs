//! Asking for the credential, inside TLS: a token as the clear-text password, or as an OpenID Connect token of clients
//! that say so.

use model::code;
use runtime::Secret;
use tokio::io::AsyncWriteExt;
use wire::mysql::authentication::{
    CLEAR_PASSWORD, OPENID_CONNECT, clear_password, openid_token, switch_request,
};
use wire::mysql::limits::AUTHENTICATION_BYTES_MAX;
use wire::mysql::packet;

use super::{Unread, read_packet};
use crate::dialect::{Opening, Packet, Started};
use crate::outcome::{Denied, Stop};

/// AuthSwitchRequest; whatever the client answered to the greeting's challenge is not looked at.
pub(crate) async fn ask_credential(
    mut started: Started,
) -> Result<(Started, Secret<Vec<u8>>), Stop> {
    let by_openid = match &started.startup.packet {
        Packet::MySql(response) => response.plugin == OPENID_CONNECT.as_bytes(),
        Packet::PostgreSql(_) => false,
    };
    let plugin = if by_openid { OPENID_CONNECT } else { CLEAR_PASSWORD };
    let Started { connection, client, .. } = &mut started;
    let Opening::MySql(opening) = &mut connection.opening else {
        return Err(Stop::Silent("the connection is not MySQL's"));
    };
    let asked = opening.sequence;
    opening.sequence = asked.wrapping_add(2);
    let exchange = async {
        let request = packet::encode(asked, &switch_request(plugin, &[]));
        client.write_all(&request).await.map_err(Unread::Gone)?;
        client.flush().await.map_err(Unread::Gone)?;
        read_packet(client, asked.wrapping_add(1), AUTHENTICATION_BYTES_MAX).await
    };
    let denied = match connection.client(exchange).await {
        Ok(Ok(payload)) => {
            let token = if by_openid { openid_token(&payload) } else { clear_password(&payload) };
            match token {
                Ok(token) => {
                    let token = Secret::new(token.to_vec());
                    return Ok((started, token));
                }
                Err(error) => Denied::new(&code::PROTOCOL_VIOLATION, error.to_string()),
            }
        }
        // A client that must first be told to send it in clear inside TLS goes without a word.
        Ok(Err(Unread::Gone(_))) => {
            return Err(Stop::Silent("the client closed before it gave a credential"));
        }
        Ok(Err(Unread::Malformed(error))) => {
            Denied::new(&code::PROTOCOL_VIOLATION, error.to_string())
        }
        Err(denied) => denied,
    };
    Err(Stop::refused(started.connection, started.client, denied))
}
