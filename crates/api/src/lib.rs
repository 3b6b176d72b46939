//! REST v1: every route authenticates, then hands over to one intent of the control plane. No rule lives here.
//!
//! Errors are `application/problem+json` with a stable code. `docs/reference/api.md` lists the routes.
#![forbid(unsafe_code)]

mod access_routes;
mod activations;
mod answer;
mod apply;
mod arm;
mod audit_routes;
mod audit_search;
mod authenticate;
mod body;
mod conditional_access;
mod credentials;
mod directories;
mod health;
mod lines;
pub mod problem;
mod resources;
mod routes;
mod scim;
mod servers;
mod sessions;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use control::{Control, Keyring, LiveSessions};
use model::{Refusal, TenantId, code};
use runtime::{Clock, Tasks, metrics};
use store::Snapshots;
use tokio::sync::Semaphore;

pub use crate::answer::LAG_HEADER;
use crate::problem::Problem;
pub use crate::routes::{ROUTES, Route};
pub use crate::servers::{Adopt, DatabaseServers, Entrance, Future};

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
pub(crate) struct Api {
    parts: Arc<Parts>,
    /// Whose turn it is to search the audit log for a session's story: anyone who is signed in may ask for one.
    pub(crate) stories: Arc<Semaphore>,
    /// The index of the audit log, and what is known of texts.
    pub(crate) searches: Arc<audit_search::Searches>,
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// The routes of the API, health and metrics.
pub fn router(parts: Parts) -> Router {
    let searches = Arc::new(audit_search::Searches::new(parts.log.directory()));
    let stories = Arc::new(Semaphore::new(1));
    let api = Api { parts: Arc::new(parts), stories, searches };
    routes::routes()
        .merge(scim::routes())
        .method_not_allowed_fallback(no_such_route)
        .with_state(api)
}

/// The answer to an address that is none of ours.
pub async fn no_such_route() -> Response {
    Problem::from(nothing_here()).into_response()
}

fn nothing_here() -> Refusal {
    Refusal::new(&code::NOT_FOUND, "there is nothing at this address for this method")
        .hint("docs/reference/api.md lists the routes")
}
