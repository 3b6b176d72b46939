//! Refusals over HTTP: RFC 9457 `application/problem+json`.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{Refusal, code};
use serde::{Deserialize, Serialize};

/// What the body of a refusal says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// `urn:portcullis:code:` and the stable code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// What happened and why.
    pub detail: String,
    /// Stable code.
    pub code: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&Refusal> for Body {
    fn from(refusal: &Refusal) -> Self {
        Self {
            kind: format!("urn:portcullis:code:{}", refusal.code.id),
            title: refusal.code.title.to_owned(),
            status: refusal.code.http,
            detail: refusal.message.clone(),
            code: refusal.code.id.to_owned(),
            hint: refusal.hint.clone(),
        }
    }
}

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Problem(pub(crate) Refusal);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(Body::from(&self.0))).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3.
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer error=\"invalid_token\""),
            );
        }
        response
    }
}

/// The request is not one that this API understands.
pub(crate) fn invalid(message: impl Into<String>) -> Problem {
    Problem(Refusal::new(&code::INVALID, message).hint("docs/reference describes the API"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_a_problem_document_with_its_code_and_hint() {
        let refusal = Refusal::new(&code::UNAUTHENTICATED, "the request has no bearer token");
        let response = Problem(refusal).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: Body = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            body,
            Body {
                kind: "urn:portcullis:code:PC2001".into(),
                title: "you are not signed in".into(),
                status: 401,
                detail: "the request has no bearer token".into(),
                code: "PC2001".into(),
                hint: Some("sign in with `portcullis login`".into()),
            }
        );
    }
}
