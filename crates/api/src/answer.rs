//! Answers of writes: the value, and who may not act on it yet.

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use control::Done;
use serde::Serialize;

/// Says which gateways had not acknowledged the write in time. The write stands.
pub static LAG_HEADER: HeaderName = HeaderName::from_static("portcullis-lag");

/// The answer to a write.
#[derive(Debug)]
pub(crate) struct Written<T> {
    value: T,
    lag: Option<String>,
}

impl<T> Written<T> {
    pub(crate) fn map<U>(self, shape: impl FnOnce(T) -> U) -> Written<U> {
        Written { value: shape(self.value), lag: self.lag }
    }
}

impl<T> From<Done<T>> for Written<T> {
    fn from(done: Done<T>) -> Self {
        let Done { value, revision: _, lag } = done;
        Self { value, lag }
    }
}

impl<T: Serialize> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        let mut response = axum::Json(self.value).into_response();
        if let Some(lag) = self.lag.and_then(|lag| HeaderValue::from_str(&lag).ok()) {
            response.headers_mut().insert(LAG_HEADER.clone(), lag);
        }
        response
    }
}
