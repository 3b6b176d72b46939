//! For load balancers and monitoring: alive, ready, figures.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use control::{Verb, allowed};
use model::{Refusal, code};
use serde::Serialize;

use crate::Api;
use crate::authenticate::Authenticated;
use crate::problem::Problem;

/// A snapshot that was not confirmed for so long opens no new sessions (DECISIONS 16), so we are not ready.
const STALENESS_READY_MAX: Duration = Duration::from_secs(30);

/// Whether new sessions and requests can be taken, and if not, why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

/// The process answers. Says nothing about what it can do.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(api): State<Api>) -> (StatusCode, Answer<Readiness>) {
    let mut reasons = Vec::new();
    if api.tasks.shutdown().is_requested() {
        reasons.push("the process is stopping".to_owned());
    }
    if api.log.failed().borrow().is_some() {
        reasons.push("the audit log cannot be written".to_owned());
    }
    if api.clock.now().since(api.snapshots.verified_at()) > STALENESS_READY_MAX {
        reasons.push("the store has not been reached for 30 s".to_owned());
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Answer(Readiness { ready, reasons }))
}

/// OpenMetrics text, for this host and for those who may read everything.
pub(crate) async fn metrics(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    caller: Result<Authenticated, Problem>,
) -> Result<Response, Problem> {
    if !peer.ip().is_loopback() && !allowed(Verb::ReadMetrics, caller?.caller.role) {
        let message = "only auditors and owners read figures from other hosts";
        return Err(Refusal::new(&code::FORBIDDEN, message).into());
    }
    let text = api
        .metrics
        .text()
        .map_err(|_| Refusal::new(&code::INTERNAL, "the figures cannot be written down"))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
