//! The start-up message, inside TLS.

use model::code;
use wire::pg::startup::{Packet as FirstPacket, Replication, Step};

use super::{Unread, read_first, refusal_of};
use crate::cancel::Asked;
use crate::claimed::Claimed;
use crate::dialect::{CancelKey, Packet, Started, Startup};
use crate::outcome::{Client, Denied, Stop};
use crate::tls::Secured;

/// Reads what the client wants and refuses what may not be asked for at start-up.
pub(crate) async fn start(secured: Secured) -> Result<Started, Stop> {
    let Secured { mut connection, mut client, server_name } = secured;
    let step = match connection.client(read_first(&mut client)).await {
        Ok(Ok(step)) => step,
        Ok(Err(Unread::Gone(_))) => return Err(Stop::Silent("the client closed after TLS")),
        Ok(Err(Unread::Malformed(error))) => {
            return Err(match refusal_of(&error) {
                Some(denied) => Stop::refused(connection, client, denied),
                None => Stop::Silent("the start-up packet's length is not PostgreSQL's"),
            });
        }
        Err(denied) => return Err(Stop::refused(connection, client, denied)),
    };
    let packet = match step {
        Step::Packet { packet: FirstPacket::Startup(packet), .. } => packet,
        Step::Packet { packet: FirstPacket::CancelRequest(asked), .. } => {
            let key = CancelKey { pid: asked.pid, secret: asked.key };
            let client = Client::Secured(client);
            return Err(Stop::Cancel(Box::new(Asked { connection, client, key })));
        }
        Step::Packet { packet: FirstPacket::SslRequest | FirstPacket::GssEncRequest, .. }
        | Step::DirectTls
        | Step::Need(_) => {
            let denied =
                Denied::new(&code::PROTOCOL_VIOLATION, "encryption was asked for a second time");
            return Err(Stop::refused(connection, client, denied));
        }
    };
    connection.known.user = packet.user().ok().map(Claimed::cut);
    connection.known.database = packet.database().ok().map(Claimed::cut);
    match understood(packet) {
        Ok(startup) => Ok(Started { connection, client, server_name, startup }),
        Err(denied) => Err(Stop::refused(connection, client, denied)),
    }
}

fn understood(packet: wire::pg::startup::Startup) -> Result<Startup, Denied> {
    let malformed = |error: wire::pg::startup::StartupError| {
        refusal_of(&error)
            .unwrap_or_else(|| Denied::new(&code::PROTOCOL_VIOLATION, error.to_string()))
    };
    let user = packet.user().map_err(malformed)?.to_owned();
    let database = packet.database().map_err(malformed)?.to_owned();
    let replication = packet.replication().map_err(malformed)? != Replication::No;
    packet
        .denied()
        .map_err(|denied| Denied::new(&code::STARTUP_OPTION_DENIED, denied.to_string()))?;
    let application_name = packet.parameter("application_name").map(Claimed::cut);
    let packet = Packet::PostgreSql(packet);
    Ok(Startup { user, database, application_name, replication, packet })
}
