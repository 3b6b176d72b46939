//! Hosts: a machine joins with a token, renews its certificate with its key, and asks for the tokens of its workloads.
//!
//! Joining is for strangers and goes over the ordinary address; the rest goes over an address of its own, where TLS has
//! demanded a client certificate of the host authority. What the certificate allows is looked up at every request: a
//! host that was disabled, deleted or joined anew with another key has nothing left.

mod join;
mod renew;
mod token;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use keys::HostCertificate;
use model::event::{Actor, EventBody, Outcome};
use model::kind::host::Host;
use model::{Document, Refusal, Snapshot, Timestamp, code};
use serde::Serialize;
use serde_json::Value;

use crate::request::Asker;
use crate::service::Service;
use crate::sign_in::{outcome, read, refusal_response, throttled};
use crate::{late, respond};

pub(crate) use join::join;
pub(crate) use renew::renew;
pub(crate) use token::token;

/// The client certificate (DER) that a connection showed; the server puts it into each of its requests, once TLS has
/// verified that it is the host authority's and that the peer has its key.
#[derive(Clone, Debug)]
pub struct ShownCertificate(pub Vec<u8>);

/// What a request was made with, if anything.
#[derive(Clone, Debug)]
pub(crate) struct Shown(Option<ShownCertificate>);

impl<S: Sync> FromRequestParts<S> for Shown {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<ShownCertificate>().cloned()))
    }
}

/// One request of a host's agent.
struct Call<'a> {
    service: &'a Service,
    asker: &'a Asker,
    snapshot: Arc<Snapshot>,
}

/// A host that has proved itself.
struct Proven {
    document: Arc<Document<Host>>,
    certificate: HostCertificate,
}

/// A refusal, and the record that is to be made of it.
struct Refused {
    refusal: Box<Refusal>,
    /// None: the write that found it has recorded it, or nothing was said that could be recorded.
    event: Option<EventBody>,
}

impl Refused {
    fn recorded(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), event: None }
    }
}

impl Call<'_> {
    /// A step of joining or renewing, refused.
    fn refused(&self, step: &str, actor: Actor, refusal: Refusal) -> Refused {
        let event = self.event(step, actor, outcome(&refusal));
        Refused { refusal: Box::new(refusal), event: Some(event) }
    }

    fn event(&self, step: &str, actor: Actor, outcome: Outcome) -> EventBody {
        let (source, step) = (Some(self.asker.source), step.to_owned());
        EventBody::SignIn { actor, source, step, client: None, outcome }
    }

    /// The host whose certificate was shown, as the directory has it now.
    fn proven(&self, shown: &Shown) -> Result<Proven, (Actor, Refusal)> {
        let refuse = |actor, why: String| Err((actor, Refusal::new(&code::HOST_REFUSED, why)));
        let stranger = || Actor::claimed("Host/unknown");
        let certificate = shown
            .0
            .as_ref()
            .and_then(|shown| HostCertificate::read(&shown.0.as_slice().into()).ok());
        let Some(certificate) = certificate else {
            return refuse(stranger(), "the connection shows no certificate of a host".to_owned());
        };
        let Some(document) = self.snapshot.hosts.by_uid(certificate.host).cloned() else {
            let why = format!("there is no host {} any more", certificate.host);
            return refuse(stranger(), why);
        };
        let who = actor(document.name());
        if !document.spec.enabled {
            return refuse(who, format!("the host `{}` is disabled", document.name()));
        }
        if self.service.now() >= certificate.not_after {
            return refuse(who, format!("the certificate ended at {}", certificate.not_after));
        }
        if document.status.key_thumbprint != Some(certificate.key.thumbprint()) {
            let why = format!("the host `{}` has joined with another key since", document.name());
            return refuse(who, why);
        }
        Ok(Proven { document, certificate })
    }
}

/// As the audit log names a host.
fn actor(name: &str) -> Actor {
    Actor::claimed(format!("Host/{name}"))
}

/// What a host gets when it joins or renews.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Certified {
    /// The host's name.
    name: String,
    /// PEM.
    certificate: String,
    not_after: Timestamp,
    /// Where it renews and asks for tokens.
    address: String,
}

/// What every endpoint does around its own matter.
async fn answered<Q, A: Serialize>(
    (service, asker): (&Arc<Service>, &Asker),
    question: impl FnOnce() -> Result<Q, Refusal>,
    matter: impl AsyncFnOnce(&Call<'_>, Q) -> Result<A, Refused>,
) -> Response {
    if let Err(failure) = service.admit(asker.source) {
        return refusal_response(&throttled(&failure));
    }
    let call = Call { service, asker, snapshot: service.snapshot() };
    let refused = match question() {
        Ok(question) => match matter(&call, question).await {
            Ok(answer) => return respond::json(StatusCode::OK, &answer),
            Err(refused) => refused,
        },
        Err(refusal) => Refused::recorded(refusal),
    };
    service.failed(asker.source);
    if let Some(event) = refused.event
        && service.record(event).await.is_err()
    {
        return refusal_response(&unrecorded());
    }
    refusal_response(&refused.refusal)
}

fn unrecorded() -> Refusal {
    Refusal::new(&code::AUDIT_FAILED, "the request cannot be recorded, so it does not count")
}

/// The routes of the address where client certificates are demanded.
pub(crate) fn router(service: Arc<Service>) -> axum::Router {
    axum::Router::new()
        .route("/host/v1/renew", axum::routing::post(renew))
        .route("/host/v1/token", axum::routing::post(token))
        .layer(axum::extract::DefaultBodyLimit::max(crate::BODY_BYTES_MAX))
        .layer(axum::middleware::map_request(late::in_time))
        .fallback(nothing_here)
        .with_state(service)
}

async fn nothing_here() -> Response {
    refusal_response(&Refusal::new(&code::NOT_FOUND, "there is nothing at this address"))
}

/// For endpoints whose question is in their certificate.
type Nothing = Value;
