//! REST v1: every route authenticates, then hands over to one intent of the control plane. No rule lives here.
//!
//! Errors are `application/problem+json` with a stable code. `docs/reference/api.md` lists the routes.
#![forbid(unsafe_code)]

mod access_routes;
mod activations;
mod answer;
mod apply;
mod audit_routes;
mod authenticate;
mod body;
mod credentials;
mod health;
mod lines;
pub mod problem;
mod resources;
mod servers;
mod sessions;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use control::{Control, Keyring, LiveSessions};
use model::{Refusal, TenantId, code};
use runtime::{Clock, Tasks, metrics};
use store::Snapshots;

pub use crate::answer::LAG_HEADER;
use crate::body::{APPLY_BYTES_MAX, BODY_BYTES_MAX};
use crate::problem::Problem;
pub use crate::servers::{Adopt, DatabaseServers, Future};

/// What the API is made of.
#[derive(Debug)]
pub struct Parts {
    /// The write path.
    pub control: Control,
    /// Keys and authorities.
    pub keyring: Keyring,
    /// What reads answer from.
    pub snapshots: Snapshots,
    /// The audit log.
    pub log: audit::Log,
    /// The time.
    pub clock: Clock,
    /// Live sessions.
    pub live: LiveSessions,
    /// What only the data path knows of database servers.
    pub servers: Arc<dyn DatabaseServers>,
    /// `iss` of our tokens.
    pub issuer: String,
    /// `tid` of our tokens.
    pub tenant: TenantId,
    /// What `/metrics` prints.
    pub metrics: metrics::Registry,
    /// Owner of the tasks that stream answers, and the request to stop.
    pub tasks: Tasks,
}

/// The parts, shared by all requests.
#[derive(Clone, Debug)]
pub(crate) struct Api(Arc<Parts>);

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// All routes of the API, health and metrics.
pub fn router(parts: Parts) -> Router {
    let apply = Router::new()
        .route("/v1/apply", post(apply::apply))
        .layer(DefaultBodyLimit::max(APPLY_BYTES_MAX));
    Router::new()
        .merge(reading())
        .merge(writing())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(apply)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(no_such_route)
        .with_state(Api(Arc::new(parts)))
}

fn reading() -> Router<Api> {
    Router::new()
        .route("/v1/me", get(access_routes::me))
        .route("/v1/explain", get(access_routes::explain))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{id}", get(sessions::why))
        .route("/v1/audit", get(audit_routes::search))
        .route("/v1/audit/checkpoint", get(audit_routes::checkpoint))
        .route("/v1/databaseservers/{name}/enrollment", get(servers::enrollment))
        .route("/v1/{kind}", get(resources::list))
        .route("/v1/{kind}/{name}", get(resources::get))
}

fn writing() -> Router<Api> {
    Router::new()
        .route("/v1/{kind}/{name}", axum::routing::put(resources::put).delete(resources::delete))
        .route("/v1/activations", post(activations::request).get(activations::list))
        .route("/v1/activations/{id}/{step}", post(activations::step))
        .route("/v1/sessions/cut", post(sessions::cut))
        .route("/v1/users/{name}/pass", post(credentials::issue_pass))
        .route("/v1/applications/{name}/secrets", post(credentials::add_secret))
        .route("/v1/applications/{name}/secrets/{id}", delete(credentials::remove_secret))
        .route("/v1/tokens/revoke", post(credentials::revoke_tokens))
        .route("/v1/databaseservers/{name}/adopt", post(servers::adopt))
        .route("/v1/authorities/rotate", post(servers::rotate_authority))
}

/// The answer to an address that is none of ours.
pub async fn no_such_route() -> Response {
    Problem::from(nothing_here()).into_response()
}

fn nothing_here() -> Refusal {
    Refusal::new(&code::NOT_FOUND, "there is nothing at this address for this method")
        .hint("docs/reference/api.md lists the routes")
}
