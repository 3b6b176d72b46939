//! The client certificate of one session: the database user's name, the session's id, ten minutes of life.

use keys::ClientLeaf;
use model::kind::server::DatabaseServer;
use model::{Document, ServerName, SessionId, code};
use runtime::tls::Identity;

use crate::Shared;
use crate::outcome::Denied;

/// Mints it under the authority of that one server. The key never leaves memory.
pub(crate) async fn mint(
    gateway: &Shared,
    server: &Document<DatabaseServer>,
    user: &str,
    session: SessionId,
) -> Result<Identity, Denied> {
    let failed = |error: &dyn std::fmt::Display| {
        Denied::new(&code::INTERNAL, "no certificate could be made for the session").because(error)
    };
    let name = ServerName::new(server.name()).map_err(|error| failed(&error))?;
    let authority =
        gateway.keyring.client_authority(&name).await.map_err(|error| failed(&error))?;
    let leaf = ClientLeaf { user, session };
    authority.issue_client(&leaf, gateway.clock.now()).map_err(|error| failed(&error))
}
