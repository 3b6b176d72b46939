//! Answers: JSON that nobody keeps, pages that run nothing.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// JSON as clients expect it.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    written(status, "application/json; charset=utf-8", serde_json::to_vec(body))
}

/// RFC 9457.
pub(crate) fn problem(status: StatusCode, body: &impl Serialize) -> Response {
    written(status, "application/problem+json", serde_json::to_vec(body))
}

fn written(
    status: StatusCode,
    content_type: &'static str,
    bytes: Result<Vec<u8>, serde_json::Error>,
) -> Response {
    match bytes {
        Ok(bytes) => {
            (status, [(header::CONTENT_TYPE, content_type)], Body::from(bytes)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A static page.
pub(crate) fn page(status: StatusCode, html: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

const HEADERS: &[(&str, &str)] = &[
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// RFC 6797: browsers reach this host over HTTPS only.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Puts the security headers on every answer, refusals of the router included.
pub(crate) async fn secured(origin: Arc<str>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    put(response.headers_mut(), &origin);
    response
}

fn put(headers: &mut HeaderMap, origin: &str) {
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        // Pages that run and post something say what.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // It holds for all ports of a host: on a developer's machine it would forbid everyone else's plain HTTP.
    let host = origin.trim_start_matches("https://");
    if host != "localhost" && !host.starts_with("localhost:") {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
}

/// A whole page around a body that is written here, never received.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · Portcullis</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}}\
         pre{{padding:1rem;background:#f2f2f2;overflow:auto}}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>\n"
    )
}
