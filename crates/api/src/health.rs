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

/// A snapshot that was not confirmed for so long opens no new sessions, so we are not ready.
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
    let readiness = Readiness::of(&Observed {
        stopping: api.tasks.shutdown().is_requested(),
        log_failed: api.log.failed().borrow().is_some(),
        store_failed: api.control.store().failed().is_some(),
        unverified_for: api.clock.now().since(api.snapshots.verified_at()),
    });
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Answer(readiness))
}

/// What stands in the way of new sessions and requests. Why a log or store failed is for its own log, not for everyone.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that can stand in the way")]
struct Observed {
    stopping: bool,
    log_failed: bool,
    store_failed: bool,
    /// Since the snapshot was last confirmed.
    unverified_for: Duration,
}

impl Readiness {
    fn of(observed: &Observed) -> Self {
        let Observed { stopping, log_failed, store_failed, unverified_for } = *observed;
        let reasons: Vec<String> = [
            (stopping, "the process is stopping"),
            (log_failed, "the audit log cannot be written"),
            (store_failed, "the store stopped writing after a failure"),
            (unverified_for > STALENESS_READY_MAX, "the store has not been reached for 30 s"),
        ]
        .into_iter()
        .filter(|(stands, _)| *stands)
        .map(|(_, reason)| reason.to_owned())
        .collect();
        Self { ready: reasons.is_empty(), reasons }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Observed = Observed {
        stopping: false,
        log_failed: false,
        store_failed: false,
        unverified_for: Duration::from_secs(30),
    };

    #[test]
    fn whatever_keeps_new_sessions_out_makes_the_process_unready_and_is_named() {
        let cases = [
            (WELL, vec![]),
            (Observed { stopping: true, ..WELL }, vec!["the process is stopping"]),
            (Observed { log_failed: true, ..WELL }, vec!["the audit log cannot be written"]),
            (
                Observed { store_failed: true, ..WELL },
                vec!["the store stopped writing after a failure"],
            ),
            (
                Observed { unverified_for: Duration::from_secs(31), ..WELL },
                vec!["the store has not been reached for 30 s"],
            ),
            (
                Observed { log_failed: true, store_failed: true, ..WELL },
                vec![
                    "the audit log cannot be written",
                    "the store stopped writing after a failure",
                ],
            ),
        ];
        for (observed, reasons) in cases {
            let readiness = Readiness::of(&observed);
            assert_eq!(readiness.reasons, reasons);
            assert_eq!(readiness.ready, reasons.is_empty());
        }
    }
}
