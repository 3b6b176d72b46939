//! Handles: a short stand-in for a database token, for prompts and password files (at most 100 characters).

use access::token::{self, Credential, DATABASE_AUDIENCE, Expected};
use axum::http::{HeaderMap, header};
use keys::HandleRecord;
use model::event::{Actor, EventBody, Outcome};
use model::{Principal, Refusal, ServerName, Snapshot, TenantId, Timestamp, code};
use serde::{Deserialize, Serialize};

use crate::request::Asker;
use crate::service::Service;
use crate::tenant;

const GRANT: &str = "handle";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ask {
    /// In place of the `Authorization` header.
    #[serde(default)]
    token: Option<String>,
    /// The only server that it is to be good for.
    #[serde(default)]
    server: Option<ServerName>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    handle: String,
    expires_at: Timestamp,
}

/// Makes a handle of a database token that counts now.
pub(crate) async fn make(
    service: &Service,
    asker: &Asker,
    headers: &HeaderMap,
    ask: Ask,
) -> Result<Answer, Refusal> {
    let snapshot = service.snapshot();
    let verified = verify(service, headers, &ask, &snapshot);
    let (actor, outcome) = match &verified {
        Ok((_, principal)) => (Actor::from(principal), Outcome::Succeeded),
        Err(refusal) => (
            Actor::claimed("unknown"),
            Outcome::Refused { code: refusal.code.id.to_owned(), message: refusal.message.clone() },
        ),
    };
    let event = EventBody::Token {
        actor,
        source: Some(asker.source),
        grant: GRANT.to_owned(),
        audience: DATABASE_AUDIENCE.to_owned(),
        token: verified.as_ref().ok().map(|(credential, _)| credential.token),
        expires_at: verified.as_ref().ok().map(|(credential, _)| credential.expires_at),
        credential: None,
        outcome,
    };
    service
        .record(event)
        .await
        .map_err(|_| Refusal::new(&code::AUDIT_FAILED, "the handle cannot be recorded"))?;
    let (credential, principal) = verified?;
    let record = HandleRecord {
        principal: principal.id,
        token: credential.token,
        server: ask.server,
        issued_at: credential.issued_at,
        not_after: credential.expires_at,
    };
    let handle = service.state.keyring.handle_key().seal(&record).map_err(|error| {
        tracing::error!(%error, "a handle could not be made");
        Refusal::new(&code::INTERNAL, "the handle could not be made")
    })?;
    Ok(Answer { handle, expires_at: credential.expires_at })
}

fn verify(
    service: &Service,
    headers: &HeaderMap,
    ask: &Ask,
    snapshot: &Snapshot,
) -> Result<(Credential, Principal), Refusal> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let jwt = bearer.or(ask.token.as_deref()).ok_or_else(|| {
        Refusal::new(&code::CREDENTIAL_MISSING, "no token was given")
            .hint("send a database token as `Authorization: Bearer`")
    })?;
    let missing = || Refusal::new(&code::TOKEN_ISSUER, "there is no tenant here yet");
    let tenant = TenantId(snapshot.tenant().ok_or_else(missing)?.uid());
    let issuer = tenant::issuer(service.origin(), tenant);
    let expected = Expected { issuer: &issuer, tenant, audience: DATABASE_AUDIENCE };
    let credential = token::verify(jwt, &expected, snapshot, service.now())?;
    if token::revoked(&credential, snapshot) {
        return Err(Refusal::new(&code::TOKEN_REVOKED, "the token was revoked"));
    }
    let principal = snapshot.principal(credential.principal).ok_or_else(|| {
        Refusal::new(&code::PRINCIPAL_UNKNOWN, "the token's principal does not exist any more")
    })?;
    if !principal.enabled {
        let message = format!("`{}` is disabled", principal.name);
        return Err(Refusal::new(&code::PRINCIPAL_DISABLED, message));
    }
    if let Some(server) = ask.server.as_ref().filter(|name| snapshot.servers.get(name).is_none()) {
        return Err(Refusal::new(&code::SERVER_UNKNOWN, format!("no server is called `{server}`")));
    }
    Ok((credential, principal))
}
