//! Request bodies and queries: bounded, strict, and refused as problem documents.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use model::{Refusal, code};
use serde::de::DeserializeOwned;

use crate::problem::{Problem, invalid};

/// Larger folders are applied in parts.
pub(crate) const LARGE_BYTES_MAX: usize = 8 << 20;
/// Every other body is small.
const BODY_BYTES_MAX: usize = 256 << 10;
/// A body that trickles in holds a connection of its source, and nothing else.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// A JSON body of at most [`BODY_BYTES_MAX`]; an empty one reads as `{}`.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// A JSON body of at most [`LARGE_BYTES_MAX`].
#[derive(Debug)]
pub(crate) struct LargeJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, BODY_BYTES_MAX).await.map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for LargeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, LARGE_BYTES_MAX).await.map(Self)
    }
}

async fn read<T: DeserializeOwned>(request: Request, bytes_max: usize) -> Result<T, Problem> {
    let bytes = bytes_of(request, bytes_max).await?;
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("the body is not what is wanted here: {error}")))
}

/// The body as it is, within its bound and its time.
pub(crate) async fn bytes_of(request: Request, bytes_max: usize) -> Result<Bytes, Refusal> {
    let reading = axum::body::to_bytes(request.into_body(), bytes_max);
    match tokio::time::timeout(BODY_WITHIN, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let message = format!("the body broke off, or has more than {bytes_max} bytes");
            Err(Refusal::new(&code::TOO_LARGE, message))
        }
        Err(_) => Err(Refusal::new(&code::INVALID, "the body did not arrive in time")),
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
