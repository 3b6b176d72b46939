//! Request bodies and queries: bounded, strict, and refused as problem documents.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use model::{Refusal, code};
use serde::de::DeserializeOwned;

use crate::problem::{Problem, invalid};

/// Larger folders are applied in parts.
pub(crate) const APPLY_BYTES_MAX: usize = 8 << 20;
/// Every other body is small.
pub(crate) const BODY_BYTES_MAX: usize = 256 << 10;

/// A JSON body; an empty one reads as `{}`.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return Problem(Refusal::new(&code::TOO_LARGE, "the body is larger than allowed"));
            }
            invalid(format!("the body cannot be read: {rejection}"))
        })?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| invalid(format!("the body is not what is wanted here: {error}")))
    }
}

/// The query of the address.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(asked) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| invalid(rejection.body_text()))?;
        Ok(Self(asked))
    }
}
