//! What can be read without a credential: discovery, keys, and what a number means.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::discovery::{self, Version};
use crate::failure::{Failure, INSTANCE_UNKNOWN};
use crate::limits::Spending;
use crate::request::Asker;
use crate::service::Service;
use crate::{respond, tenant};

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`.
pub(crate) async fn configuration_v2(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
) -> Response {
    configuration(&service, &segment, &asker, Version::V2)
}

/// `GET /{tenant}/.well-known/openid-configuration`.
pub(crate) async fn configuration_v1(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
) -> Response {
    configuration(&service, &segment, &asker, Version::V1)
}

fn configuration(service: &Service, segment: &str, asker: &Asker, version: Version) -> Response {
    answer(service, asker, || {
        let tenant = tenant::named(segment, &service.snapshot())?;
        Ok(discovery::configuration(service.origin(), segment, tenant, version))
    })
}

/// `GET /common/discovery/instance`.
pub(crate) async fn instance(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
    asker: Asker,
) -> Response {
    answer(&service, &asker, || {
        let asked = discovery::authorization_endpoint(&query.unwrap_or_default());
        let asked = asked.ok_or_else(|| {
            Failure::new(&INSTANCE_UNKNOWN, "The query must contain 'authorization_endpoint'.")
        })?;
        discovery::instance(service.origin(), &asked, &service.snapshot())
    })
}

/// `GET /{tenant}/discovery/v2.0/keys`.
pub(crate) async fn keys(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
) -> Response {
    answer(&service, &asker, || {
        let snapshot = service.snapshot();
        let tenant = tenant::named(&segment, &snapshot)?;
        let issuer = tenant::issuer(service.origin(), tenant);
        Ok(discovery::keys(&issuer, &snapshot, service.now()))
    })
}

fn answer(
    service: &Service,
    asker: &Asker,
    document: impl FnOnce() -> Result<Value, Failure>,
) -> Response {
    // Who guesses credentials may still read keys.
    match service.spend(asker.source, Spending::Request).and_then(|()| document()) {
        Ok(document) => asker.echo(respond::json(StatusCode::OK, &document)),
        Err(failure) => failure.respond(asker, service.origin(), service.now()),
    }
}

/// `GET /error`: where `error_uri` points.
pub(crate) async fn error() -> Response {
    respond::page(
        StatusCode::OK,
        respond::document(
            "Errors of the token service",
            "<p>The number after AADSTS has the meaning that Microsoft Entra gives it. The audit log holds the refusal \
             under the same number: <code>portcullis audit search --text AADSTS…</code>.</p>",
        ),
    )
}
