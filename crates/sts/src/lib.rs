//! The token service: Entra's wire contract, so that unmodified Azure libraries get their tokens here, and the sign-in of
//! people. It stands at the root of one HTTPS origin.
//!
//! Every answer that lets anyone do anything is preceded by its record: no audit, no token.
#![forbid(unsafe_code)]

mod authorize;
mod claims;
mod client;
mod contexts;
mod device;
mod discovery;
mod documents;
#[expect(
    clippy::unreadable_literal,
    reason = "AADSTS numbers are searched for as they are printed"
)]
mod failure;
mod federation;
mod form;
mod handle;
mod host;
mod issue;
mod late;
mod limits;
mod polls;
mod refresh;
mod request;
mod respond;
mod revoke;
mod scope;
mod sealed;
mod secrets;
mod service;
mod sign_in;
mod spend;
mod tenant;
mod token;
mod userinfo;
mod web;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};
use axum::{Router, middleware};

pub use client::PUBLIC_CLIENT;
pub use host::ShownCertificate;
pub use service::State;

/// Longer bodies are refused: the longest that clients send, an assertion with a certificate chain, has 10 KB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Where the token service answers.
#[derive(Debug)]
pub struct Doors {
    /// At the root of the origin.
    pub origin: Router,
    /// Where a client certificate of the host authority is demanded, and handed over as [`ShownCertificate`].
    pub hosts: Router,
}

/// All addresses of the token service. The server must put the peer's address into each request as
/// `axum::extract::ConnectInfo<SocketAddr>`; budgets and records are by source.
pub fn doors(state: State) -> Result<Doors, keys::KeyError> {
    let token = |v: MethodRouter<_>| v.fallback(token::wrong_method);
    let origin: Arc<str> = state.origin.as_str().into();
    let service = service::Service::new(state)?;
    let hosts = host::router(Arc::clone(&service));
    let router = Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(documents::configuration_v2))
        .route("/{tenant}/.well-known/openid-configuration", get(documents::configuration_v1))
        .route("/common/discovery/instance", get(documents::instance))
        .route("/{tenant}/discovery/v2.0/keys", get(documents::keys))
        .route("/{tenant}/discovery/keys", get(documents::keys))
        .route("/{tenant}/oauth2/v2.0/token", token(post(token::v2)))
        .route("/{tenant}/oauth2/token", token(post(token::v1)))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device::authorization))
        .route("/{tenant}/oauth2/devicecode", post(device::authorization))
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize::get).post(authorize::post))
        .route("/{tenant}/oauth2/authorize", get(authorize::get).post(authorize::post))
        .route("/{tenant}/oauth2/v2.0/revoke", post(revoke::revoke))
        .route("/oidc/userinfo", get(userinfo::get).post(userinfo::get))
        .route("/error", get(documents::error))
        .route("/host/v1/join", post(host::join))
        .route("/signin/v1/enrol", post(sign_in::enrol))
        .route("/signin/v1/challenge", post(sign_in::challenge))
        .route("/signin/v1/token", post(sign_in::token))
        .route("/signin/v1/device", post(sign_in::device))
        .route("/signin/v1/handle", post(sign_in::handle))
        .merge(web::routes())
        .layer(middleware::from_fn_with_state(Arc::clone(&service), secrets::not_in_address))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::map_request(late::in_time))
        .layer(middleware::from_fn(move |request, next| {
            respond::secured(Arc::clone(&origin), request, next)
        }))
        .with_state(service);
    Ok(Doors { origin: router, hosts })
}
