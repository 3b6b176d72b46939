//! Userinfo (OpenID Connect Core §5.3): who the holder of a token is.

use std::sync::Arc;

use access::token::{self, CONTROL_AUDIENCE, Credential, DATABASE_AUDIENCE, Expected};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use model::{Snapshot, TenantId, code};
use serde_json::json;

use crate::request::Asker;
use crate::scope::USERINFO_AUDIENCE;
use crate::service::Service;
use crate::{respond, tenant};

/// `GET`, `POST /oidc/userinfo`. No record: it tells a token's holder what the token itself says.
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    asker: Asker,
    headers: HeaderMap,
) -> Response {
    if let Err(failure) = service.admit(asker.source) {
        return failure.respond(&asker, service.origin(), service.now());
    }
    let snapshot = service.snapshot();
    let credential = bearer(&headers).and_then(|jwt| verified(&service, jwt, &snapshot));
    let user = credential.as_ref().and_then(|it| snapshot.users.by_uid(it.principal.0));
    let Some(user) = user.filter(|user| user.spec.enabled) else {
        service.failed(asker.source);
        return asker.echo(refused());
    };
    let claims = json!({
        "sub": user.uid(),
        "oid": user.uid(),
        "tid": snapshot.tenant().map(|tenant| tenant.uid()),
        "name": user.spec.display_name,
        "preferred_username": user.name(),
    });
    asker.echo(respond::json(StatusCode::OK, &claims))
}

/// RFC 6750 §3.
fn refused() -> Response {
    let body = json!({
        "error": "invalid_token",
        "error_description": format!("{}: the token does not count here, or is no person's", code::UNAUTHENTICATED.id),
    });
    let mut response = respond::json(StatusCode::UNAUTHORIZED, &body);
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A token of ours, for whichever of our audiences, that was not revoked.
pub(crate) fn verified(service: &Service, jwt: &str, snapshot: &Snapshot) -> Option<Credential> {
    let tenant = TenantId(snapshot.tenant()?.uid());
    let issuer = tenant::issuer(service.origin(), tenant);
    let of = |audience| {
        let expected = Expected { issuer: &issuer, tenant, audience };
        token::verify(jwt, &expected, snapshot, service.now()).ok()
    };
    let audiences = [USERINFO_AUDIENCE, CONTROL_AUDIENCE, DATABASE_AUDIENCE];
    let credential = audiences.into_iter().find_map(of)?;
    (!token::revoked(&credential, snapshot)).then_some(credential)
}
