//! The token endpoint (RFC 6749 §3.2), v1 and v2.0.

mod authorization_code;
mod client_credentials;
mod device_code;
mod refresh_token;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::event::{Actor, EventBody, Outcome};
use model::{Snapshot, TenantId};
use serde_json::Value;

use crate::client::{self, Client, OneTime};
use crate::discovery::Version;
use crate::failure::{BODY_TOO_LARGE, Failure, GRANT_UNSUPPORTED, METHOD_NOT_ALLOWED, quoted};
use crate::form::Form;
use crate::issue::{self, Issued, Order};
use crate::request::Asker;
use crate::scope::{self, Asked, Asking};
use crate::service::Service;
use crate::{respond, tenant};

/// One request to the token endpoint.
pub(crate) struct Exchange<'a> {
    pub(crate) service: &'a Service,
    pub(crate) asker: &'a Asker,
    pub(crate) version: Version,
    pub(crate) tenant: TenantId,
    /// The tenant as the address calls it.
    pub(crate) segment: &'a str,
    pub(crate) form: &'a Form,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) snapshot: &'a Snapshot,
}

/// What is known of an attempt while it goes on: what the record of a refusal says.
struct Attempt {
    actor: Actor,
    grant: String,
    audience: String,
}

/// A refusal, and what is still to be done about it.
#[derive(Debug)]
pub(crate) struct Refused {
    failure: Failure,
    actor: Option<Actor>,
    record: Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// To be recorded.
    Missing,
    /// Recorded already, in the write that found it.
    Made,
    /// A device that waits is refused every five seconds; that is no event.
    Needless,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, actor: None, record: Record::Missing }
    }
}

impl Refused {
    /// The refusal of someone who is known by now.
    fn of(actor: Option<Actor>, failure: Failure) -> Self {
        Self { failure, actor, record: Record::Missing }
    }

    /// A refusal whose record is on disk.
    pub(crate) fn recorded(failure: Failure) -> Self {
        Self { failure, actor: None, record: Record::Made }
    }

    /// A refusal that is part of waiting.
    fn waiting(failure: Failure) -> Self {
        Self { failure, actor: None, record: Record::Needless }
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(crate) async fn v2(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answer(&service, (Version::V2, &segment), &asker, &headers, body).await
}

/// `POST /{tenant}/oauth2/token`.
pub(crate) async fn v1(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answer(&service, (Version::V1, &segment), &asker, &headers, body).await
}

/// Any other method.
pub(crate) async fn wrong_method(State(service): State<Arc<Service>>, asker: Asker) -> Response {
    let failure = Failure::new(&METHOD_NOT_ALLOWED, "The endpoint only accepts POST requests.");
    failure.respond(&asker, service.origin(), service.now())
}

async fn answer(
    service: &Service,
    (version, segment): (Version, &str),
    asker: &Asker,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let refuse = |failure: &Failure| failure.respond(asker, service.origin(), service.now());
    if let Err(failure) = service.admit(asker.source) {
        return refuse(&failure);
    }
    let form = match read(body) {
        Ok(form) => form,
        Err(failure) => return refuse(&failure),
    };
    let snapshot = service.snapshot();
    let mut attempt = Attempt::of(&form, &snapshot);
    let exchanged = match tenant::named(segment, &snapshot) {
        Ok(tenant) => {
            let exchange = Exchange {
                service,
                asker,
                version,
                tenant,
                segment,
                form: &form,
                headers,
                snapshot: &snapshot,
            };
            exchange.run().await
        }
        Err(failure) => Err(failure.into()),
    };
    match exchanged {
        Ok(issued) => {
            let answer: Value = issued.answer(version);
            asker.echo(respond::json(StatusCode::OK, &answer))
        }
        Err(refused) => refuse(&attempt.refuse(service, asker, refused).await),
    }
}

/// The form of a body, which the router has limited already.
pub(crate) fn read(body: Result<Bytes, BytesRejection>) -> Result<Form, Failure> {
    let body = body.map_err(|_| {
        Failure::new(&BODY_TOO_LARGE, "The request body is too large, broken off or too slow.")
    })?;
    Form::parse(&body)
}

impl Attempt {
    fn of(form: &Form, snapshot: &Snapshot) -> Self {
        let start = |name: &str| -> String {
            form.get(name).unwrap_or_default().chars().take(100).collect()
        };
        // Nobody has proved anything yet.
        let client = form.get("client_id").unwrap_or_default();
        let actor = Actor::claimed(match client.parse() {
            Ok(id) => client::actor(id, snapshot).name,
            Err(_) => start("client_id"),
        });
        let asked = if form.get("scope").is_some() { "scope" } else { "resource" };
        Self { actor, grant: start("grant_type"), audience: start(asked) }
    }

    /// Records a refusal; what the client is told.
    async fn refuse(&mut self, service: &Service, asker: &Asker, refused: Refused) -> Failure {
        let Refused { failure, actor, record } = refused;
        if record == Record::Needless {
            return failure;
        }
        service.failed(asker.source);
        if record == Record::Made {
            return failure;
        }
        let actor = actor.unwrap_or_else(|| self.actor.clone());
        let event = EventBody::Token {
            actor,
            source: Some(asker.source),
            grant: std::mem::take(&mut self.grant),
            audience: std::mem::take(&mut self.audience),
            token: None,
            expires_at: None,
            credential: None,
            outcome: Outcome::Refused { code: failure.code(), message: failure.message.clone() },
        };
        match service.record(event).await {
            Ok(()) => failure,
            Err(unavailable) => unavailable,
        }
    }
}

impl Exchange<'_> {
    async fn run(&self) -> Result<Issued, Refused> {
        match self.form.required("grant_type")? {
            "client_credentials" => client_credentials::grant(self).await,
            "authorization_code" => authorization_code::grant(self).await,
            "refresh_token" => refresh_token::grant(self).await,
            // Node's name and RFC 8628's.
            "device_code" | "urn:ietf:params:oauth:grant-type:device_code" => {
                device_code::grant(self).await
            }
            other => Err(Failure::new(
                &GRANT_UNSUPPORTED,
                format!(
                    "The app requested an unsupported grant type {}. Supported are authorization_code, client_credentials, refresh_token and urn:ietf:params:oauth:grant-type:device_code.",
                    quoted(other)
                ),
            )
            .into()),
        }
    }

    /// `scope` of v2.0, or `resource` of v1, which accepts a scope too.
    fn asked(&self, asking: Asking) -> Result<Asked, Failure> {
        match (self.version, self.form.get("resource")) {
            (Version::V1, Some(resource)) => scope::of_resource(resource),
            (Version::V1, None) | (Version::V2, _) => {
                scope::of_scope(self.form.get("scope"), asking)
            }
        }
    }

    /// The client, proven as it must be.
    async fn client(&self) -> Result<(Client, Option<OneTime>), Failure> {
        let presented = client::presented(self.form, self.headers)?;
        let address = client::Address { tenant: self.tenant, segment: self.segment };
        client::authenticate(self.service, &presented, address, self.snapshot).await
    }

    /// The refusal of a client that has proved itself.
    fn refused(&self, client: &Client, failure: Failure) -> Refused {
        Refused::of(Some(client::actor(client.id(), self.snapshot)), failure)
    }

    /// Signs for a client whose proof counts once, if it has one.
    async fn issue(&self, order: Order, one_time: Option<OneTime>) -> Result<Issued, Refused> {
        match one_time {
            None => Ok(issue::issue(self.service, order, self.asker, self.snapshot).await?),
            Some(one_time) => issue::issue_once(self.service, order, self.asker, one_time).await,
        }
    }
}
