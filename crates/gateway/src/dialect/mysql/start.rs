//! The handshake response, inside TLS.

use model::code;
use wire::mysql::Capabilities;
use wire::mysql::capabilities::{self, Database, LocalFiles};
use wire::mysql::handshake::{self, HandshakeResponse, OwnAttributes};
use wire::mysql::limits::HANDSHAKE_RESPONSE_BYTES_MAX;

use super::login::Wish;
use super::{Unread, read_packet};
use crate::claimed::Claimed;
use crate::dialect::{Opening, Packet, Started, Startup};
use crate::outcome::{Denied, Stop};
use crate::tls::Secured;

/// The number of the client's packet behind SSLRequest.
const RESPONSE: u8 = 2;

/// What a client said, without what it offered as a credential before it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// What holds between client and gateway.
    pub agreed: Capabilities,
    /// `max_allowed_packet` of the client.
    pub packet_bytes_max: u32,
    /// The collation that the session begins with.
    pub collation: u8,
    /// The database that it names.
    pub database: Option<String>,
    /// The plugin that it would begin with.
    pub plugin: Vec<u8>,
    /// What it says about itself.
    pub attributes: OwnAttributes,
}

impl Response {
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            agreed: self.agreed,
            packet_bytes_max: self.packet_bytes_max,
            collation: self.collation,
            database: if self.database.is_some() { Database::Named } else { Database::None },
            local_files: LocalFiles::Refused,
        }
    }
}

/// Reads what the client wants.
pub(crate) async fn start(secured: Secured) -> Result<Started, Stop> {
    let Secured { mut connection, mut client, server_name } = secured;
    let reading = read_packet(&mut client, RESPONSE, HANDSHAKE_RESPONSE_BYTES_MAX);
    let read = connection.client(reading).await;
    let Opening::MySql(opening) = &mut connection.opening else {
        return Err(Stop::Silent("the connection is not MySQL's"));
    };
    opening.sequence = RESPONSE + 1;
    let offered = opening.offered;
    let payload = match read {
        Ok(Ok(payload)) => payload,
        Ok(Err(Unread::Gone(_))) => return Err(Stop::Silent("the client closed after TLS")),
        Ok(Err(Unread::Malformed(error))) => {
            let denied = Denied::new(&code::PROTOCOL_VIOLATION, error.to_string());
            return Err(Stop::refused(connection, client, denied));
        }
        Err(denied) => return Err(Stop::refused(connection, client, denied)),
    };
    let understood = handshake::response(&payload)
        .map_err(|error| Denied::new(&code::PROTOCOL_VIOLATION, error.to_string()))
        .and_then(|response| {
            let known = &mut connection.known;
            known.user = Some(Claimed::cut_bytes(response.user));
            known.database = response.database.map(Claimed::cut_bytes);
            understood(&response, offered)
        });
    match understood {
        Ok(startup) => Ok(Started { connection, client, server_name, startup }),
        Err(denied) => Err(Stop::refused(connection, client, denied)),
    }
}

fn understood(response: &HandshakeResponse<'_>, offered: Capabilities) -> Result<Startup, Denied> {
    let agreed = capabilities::agreed(offered, response.capabilities).ok_or_else(|| {
        let message =
            "the client knows no authentication plugins, so it cannot be asked for a token";
        Denied::new(&code::PROTOCOL_UNSUPPORTED, message)
    })?;
    let text = |bytes: &[u8], what: &str| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            Denied::new(&code::PROTOCOL_VIOLATION, format!("the {what}'s name is not UTF-8"))
        })
    };
    let user = text(response.user, "user")?;
    if user.is_empty() {
        return Err(Denied::new(&code::USER_MISSING, "no user name was given"));
    }
    let database = response.database.map(|name| text(name, "database")).transpose()?;
    let attribute = |name| response.attributes.get(name).map(Claimed::cut_bytes);
    let kept = Response {
        agreed,
        packet_bytes_max: response.packet_bytes_max,
        collation: response.collation,
        database: database.clone(),
        plugin: response.plugin.unwrap_or_default().to_vec(),
        attributes: OwnAttributes::new(response.attributes.iter()),
    };
    Ok(Startup {
        user,
        database: database.unwrap_or_default(),
        application_name: attribute("program_name").or_else(|| attribute("_client_name")),
        replication: false,
        packet: Packet::MySql(Box::new(kept)),
    })
}
