//! Who asks: the peer's address and the id under which the request is told apart in logs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use uuid::Uuid;

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// Where a request comes from and how it is told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The peer's address. The server puts it into the request as `ConnectInfo<SocketAddr>`; without it everyone
    /// shares the budget of the unspecified address.
    pub(crate) source: IpAddr,
    /// The client's own id for the request, or one drawn here.
    pub(crate) correlation: Uuid,
    echoed: Option<HeaderValue>,
}

impl Asker {
    fn of(parts: &Parts) -> Self {
        let source = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| {
                peer.ip().to_canonical()
            });
        // Query and header both occur: Node sends it in the query, Python and az in the header.
        let header = parts.headers.get(CLIENT_REQUEST_ID).and_then(|value| value.to_str().ok());
        let query = parts.uri.query().and_then(|query| {
            query.split('&').find_map(|pair| pair.strip_prefix("client-request-id="))
        });
        let given = header.or(query).and_then(|text| text.parse::<Uuid>().ok());
        Self {
            source,
            correlation: given.unwrap_or_else(Uuid::new_v4),
            echoed: given.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()),
        }
    }

    /// The answer with the client's own request id on it.
    pub(crate) fn echo(&self, mut response: Response) -> Response {
        if let Some(id) = &self.echoed {
            response.headers_mut().insert(CLIENT_REQUEST_ID, id.clone());
        }
        response
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}
