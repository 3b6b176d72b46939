//! Token revocation (RFC 7009): a program gives back what it holds. A refresh token ends its whole sign-in, an access token
//! itself.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::end_families;
use control::{TOKEN_LIFETIME_MAX, Verb, Writing};
use model::event::{EventBody, Outcome};
use model::kind::revocation::{Revocation, RevokedTokens};
use model::{ApplicationId, Document, Snapshot, TokenId};
use serde::Deserialize;
use uuid::Uuid;

use crate::authorize::revocation;
use crate::client::{self, Address, OneTime};
use crate::failure::Failure;
use crate::form::Form;
use crate::refresh::{self, RefreshToken};
use crate::request::Asker;
use crate::service::{Service, store_failed};
use crate::{respond, tenant, token, userinfo};

const GRANT: &str = "revoke";

/// What is to end.
#[derive(Clone, Copy, Debug)]
enum Held {
    SignIn(Uuid),
    Token(TokenId),
}

/// `POST /{tenant}/oauth2/v2.0/revoke`.
pub(crate) async fn revoke(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let form = service.admit(asker.source).and_then(|()| token::read(body));
    let done = match form {
        Ok(form) => {
            let done = end(&service, &segment, &asker, (&form, &headers)).await;
            if done.is_err() {
                service.failed(asker.source);
            }
            done
        }
        Err(failure) => Err(failure),
    };
    match done {
        // §2.2: the same for a token that does not exist; the program wanted it not to count, and it does not.
        Ok(()) => asker.echo(respond::json(StatusCode::OK, &serde_json::json!({}))),
        Err(failure) => failure.respond(&asker, service.origin(), service.now()),
    }
}

async fn end(
    service: &Service,
    segment: &str,
    asker: &Asker,
    (form, headers): (&Form, &HeaderMap),
) -> Result<(), Failure> {
    let snapshot = service.snapshot();
    let tenant = tenant::named(segment, &snapshot)?;
    let presented = client::presented(form, headers)?;
    let address = Address { tenant, segment };
    let (client, one_time) = client::authenticate(service, &presented, address, &snapshot).await?;
    let held = held(service, form.required("token")?, client.id(), &snapshot)?;
    let event = EventBody::Token {
        actor: client::actor(client.id(), &snapshot),
        source: Some(asker.source),
        grant: GRANT.to_owned(),
        audience: String::new(),
        token: match held {
            Some(Held::Token(token)) => Some(token),
            Some(Held::SignIn(_)) | None => None,
        },
        expires_at: None,
        credential: client.proof().credential(),
        outcome: Outcome::Succeeded,
    };
    let written = service.state.control.system(Verb::SignIn, GRANT, move |writing| {
        let spent = write(writing, held, one_time.as_ref())?;
        if spent.is_ok() {
            writing.note(event);
        }
        Ok(spent)
    });
    written.await.map_err(store_failed)?.value
}

fn write(
    writing: &mut Writing<'_, '_>,
    held: Option<Held>,
    one_time: Option<&OneTime>,
) -> Result<Result<(), Failure>, model::Refusal> {
    if let Some(one_time) = one_time
        && let Err(failure) = one_time.spend(writing)?
    {
        return Ok(Err(failure));
    }
    let now = writing.now();
    match held {
        Some(Held::SignIn(sign_in)) => {
            end_families(writing, sign_in)?;
            writing.put(revocation(sign_in, now, "its program gave it back"))?;
        }
        Some(Held::Token(token)) => {
            let revoked = Revocation {
                tokens: RevokedTokens::Token(token),
                keep_until: now.plus(TOKEN_LIFETIME_MAX),
                reason: Some("its program gave it back".to_owned()),
            };
            writing.put(Document::new(Uuid::new_v4().to_string(), revoked))?;
        }
        None => {}
    }
    Ok(Ok(()))
}

/// What the client holds under this text; nothing when it is not a token, not the client's, or counts no more.
fn held(
    service: &Service,
    text: &str,
    client: ApplicationId,
    snapshot: &Snapshot,
) -> Result<Option<Held>, Failure> {
    if let Ok((presented, _)) = RefreshToken::parse(text) {
        let family = service.store().read(|reader| refresh::family(reader, &presented));
        let family = family.map_err(store_failed)?.filter(|family| family.client == client);
        return Ok(family.map(|family| Held::SignIn(family.session)));
    }
    let credential = userinfo::verified(service, text, snapshot);
    let own = credential.filter(|_| issued_to(text) == Some(client));
    Ok(own.map(|credential| Held::Token(credential.token)))
}

/// `azp` of a token whose signature holds.
fn issued_to(jwt: &str) -> Option<ApplicationId> {
    #[derive(Deserialize)]
    struct Party {
        azp: ApplicationId,
    }
    let payload = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Party>(&payload).ok().map(|party| party.azp)
}
