//! 4 Credential → principal. The password is a token of this installation or a handle that stands for one.

use std::sync::Arc;

use access::token::{self, Credential};
use model::kind::server::DatabaseServer;
use model::{Document, ServerName, Snapshot, Timestamp, code};
use runtime::Secret;

use crate::Shared;
use crate::dialect::{self, Started};
use crate::network::Routed;
use crate::outcome::{Denied, Stop};

/// A connection whose principal is proven.
#[derive(Debug)]
pub(crate) struct Identified {
    /// What the client said.
    pub started: Started,
    /// Where it goes.
    pub server: Arc<Document<DatabaseServer>>,
    /// What the credential says.
    pub credential: Credential,
}

/// Asks for the credential and verifies it.
pub(crate) async fn from_credential(routed: Routed) -> Result<Identified, Stop> {
    let Routed { started, server } = routed;
    let (mut started, password) = dialect::ask_credential(started, &server).await?;
    match verify(&password, &started.connection.gateway) {
        Ok(credential) => {
            let connection = &mut started.connection;
            connection.known.principal =
                connection.gateway.snapshots.load().principal(credential.principal);
            connection.permit.authenticated();
            Ok(Identified { started, server, credential })
        }
        Err(denied) => {
            let denied = dialect::credential_refused(&mut started, denied).await;
            Err(Stop::refused(started.connection, started.client, denied))
        }
    }
}

/// Whom a credential is of, if it holds.
pub(crate) fn verify(password: &Secret<Vec<u8>>, gateway: &Shared) -> Result<Credential, Denied> {
    let (snapshot, now) = (gateway.snapshots.load(), gateway.clock.now());
    let text = std::str::from_utf8(password.expose())
        .map_err(|_| Denied::new(&code::CREDENTIAL_MALFORMED, "the password is not text"))?
        .trim_ascii();
    if text.is_empty() {
        return Err(Denied::new(&code::CREDENTIAL_MISSING, "no token was given as the password"));
    }
    if text.starts_with("pct_") {
        return verify_handle(text, gateway, &snapshot, now);
    }
    let expected = token::Expected {
        issuer: &gateway.issuer,
        tenant: gateway.tenant,
        audience: token::DATABASE_AUDIENCE,
    };
    Ok(token::verify(text, &expected, &snapshot, now)?)
}

fn verify_handle(
    handle: &str,
    gateway: &Shared,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Credential, Denied> {
    let names = snapshot.servers.iter().filter_map(|server| ServerName::new(server.name()).ok());
    let servers: Vec<ServerName> = names.collect();
    let record = gateway.keyring.handle_key().open(handle, servers.iter()).map_err(|error| {
        Denied::new(&code::CREDENTIAL_MALFORMED, "the handle is not one of this installation")
            .because(error)
    })?;
    if now >= record.not_after {
        let message = format!("the handle expired at {}", record.not_after);
        return Err(Denied::new(&code::TOKEN_EXPIRED, message));
    }
    Ok(Credential {
        token: record.token,
        principal: record.principal,
        issued_at: record.issued_at,
        expires_at: record.not_after,
        server: record.server,
        methods: Vec::new(),
        signed_in_at: None,
        client: None,
    })
}
