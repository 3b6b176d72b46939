//! HTTP: the two webhooks, and what a kubelet asks.

use admission::{MUTATE_PATH, REVIEW_BYTES_MAX, Review, ServiceAccount, Settings, VALIDATE_PATH};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use model::{Refusal, code};
use serde_json::Value;
use tracing::{info, warn};

use crate::api_server::ApiServer;
use crate::readiness::Readiness;

/// What the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) settings: std::sync::Arc<Settings>,
    pub(crate) api: ApiServer,
    pub(crate) readiness: Readiness,
}

/// Which of the webhooks.
#[derive(Clone, Copy, Debug)]
enum Webhook {
    Mutating,
    Validating,
}

pub(crate) fn router(served: Served) -> Router {
    Router::new()
        .route(MUTATE_PATH, post(|served, body| answer(served, body, Webhook::Mutating)))
        .route(VALIDATE_PATH, post(|served, body| answer(served, body, Webhook::Validating)))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(served)
}

async fn answer(State(served): State<Served>, body: Body, webhook: Webhook) -> Response {
    // One byte more than is read, so that what is too long is told from what is not.
    let Ok(bytes) = to_bytes(body, REVIEW_BYTES_MAX + 1).await else {
        let message = "the review is longer than allowed, or ended early";
        return unreadable(&admission::Unreadable(Refusal::new(&code::TOO_LARGE, message)));
    };
    let review = match Review::read(&bytes) {
        Ok(review) => review,
        Err(error) => return unreadable(&error),
    };
    let name = review.account();
    let api = served.api.clone();
    let account = {
        let name = name.clone();
        tokio::task::spawn_blocking(move || api.account(&name)).await
    };
    let account: Result<ServiceAccount, Refusal> = account.unwrap_or_else(|error| {
        Err(Refusal::new(
            &code::INTERNAL,
            format!("the service account was not looked up: {error}"),
        ))
    });
    let account = account.as_ref().map_err(Clone::clone);
    let answer = match webhook {
        Webhook::Mutating => admission::mutate(&review, account, &served.settings),
        Webhook::Validating => admission::validate(&review, account, &served.settings),
    };
    log(&answer, &name, webhook);
    json(StatusCode::OK, &answer)
}

/// One line a pod: whether it was let in.
fn log(answer: &Value, name: &admission::AccountName, webhook: Webhook) {
    let text = |pointer| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, account) = (&name.namespace, &name.name);
    if answer.pointer("/response/allowed") == Some(&Value::Bool(true)) {
        let patched = answer.pointer("/response/patch").is_some();
        info!(?webhook, namespace, account, patched, "a pod was let in");
    } else {
        let (code, message) = (text("/response/status/reason"), text("/response/status/message"));
        warn!(?webhook, namespace, account, code, message, "a pod was refused");
    }
}

fn unreadable(error: &admission::Unreadable) -> Response {
    let status = StatusCode::from_u16(error.0.code.http).unwrap_or(StatusCode::BAD_REQUEST);
    json(status, &admission::refused(error))
}

fn json(status: StatusCode, answer: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

async fn ready(State(served): State<Served>) -> Response {
    let (status, text) = match served.readiness.get() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    };
    (status, [(CACHE_CONTROL, "no-store")], text).into_response()
}
