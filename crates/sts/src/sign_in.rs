//! The sign-in of people: a signature by the key of an enrolled machine *and* a code of the authenticator.
//!
//! A Temporary Access Pass only enrols. Whether a user exists shows neither in an answer nor in its time: an unknown user
//! gets a challenge as well, and its signature is checked against a key that nobody has.

mod challenge;
mod decide;
mod enrol;
pub(crate) mod pass;
pub(crate) mod proof;
mod session;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::event::{Actor, EventBody, Outcome};
use model::{Refusal, Snapshot, UserName, code};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;
use crate::request::Asker;
use crate::service::Service;
use crate::{handle, respond};

/// How a person proves who they are (RFC 8176): the machine's software key, the one-time code, hence several factors.
const METHODS: [&str; 3] = ["swk", "otp", "mfa"];

/// One call of a sign-in endpoint.
struct Call<'a> {
    service: &'a Service,
    asker: &'a Asker,
    snapshot: Arc<Snapshot>,
}

/// A refusal, and whether the write that found it has recorded it.
#[derive(Debug)]
struct Refused {
    refusal: Box<Refusal>,
    actor: Option<Actor>,
    step: &'static str,
    recorded: bool,
}

impl Refused {
    fn new(step: &'static str, actor: Actor, refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), actor: Some(actor), step, recorded: false }
    }

    /// Not worth a record: nobody was named.
    fn unreadable(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), actor: None, step: "", recorded: false }
    }

    fn recorded(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), actor: None, step: "", recorded: true }
    }
}

/// What every endpoint below does around its own matter.
async fn answered<Q, A, F>(
    service: &Arc<Service>,
    asker: &Asker,
    body: Result<Bytes, BytesRejection>,
    matter: F,
) -> Response
where
    Q: DeserializeOwned,
    A: Serialize,
    F: AsyncFnOnce(&Call<'_>, Q) -> Result<A, Refused>,
{
    if let Err(failure) = service.admit(asker.source) {
        return refusal_response(&throttled(&failure));
    }
    let call = Call { service, asker, snapshot: service.snapshot() };
    let outcome = match read(body) {
        Ok(question) => matter(&call, question).await,
        Err(refusal) => Err(Refused::unreadable(refusal)),
    };
    match outcome {
        Ok(answer) => respond::json(StatusCode::OK, &answer),
        Err(refused) => refusal_response(&call.refuse(refused).await),
    }
}

pub(crate) fn throttled(failure: &Failure) -> Refusal {
    Refusal::new(&code::RATE_LIMITED, failure.message.trim_end_matches('.').to_lowercase())
}

pub(crate) fn read<Q: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<Q, Refusal> {
    let body = body.map_err(|_| {
        Refusal::new(&code::TOO_LARGE, "the request body is too large, broken off or too slow")
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::new(&code::INVALID, format!("the request is not readable: {error}"))
    })
}

pub(crate) fn refusal_response(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.code.http).unwrap_or(StatusCode::BAD_REQUEST);
    respond::problem(
        status,
        &serde_json::json!({
            "type": format!("urn:portcullis:code:{}", refusal.code.id),
            "title": refusal.code.title,
            "status": refusal.code.http,
            "detail": refusal.message,
            "code": refusal.code.id,
            "hint": refusal.hint,
        }),
    )
    .into_response()
}

impl Call<'_> {
    fn event(&self, step: &str, actor: Actor, outcome: Outcome) -> EventBody {
        let source = Some(self.asker.source);
        EventBody::SignIn { actor, source, step: step.to_owned(), client: None, outcome }
    }

    /// Counts and records a refusal; what the person is told.
    async fn refuse(&self, refused: Refused) -> Refusal {
        let Refused { refusal, actor, step, recorded } = refused;
        self.service.failed(self.asker.source);
        let Some(actor) = actor.filter(|_| !recorded) else { return *refusal };
        let event = self.event(step, actor, outcome(&refusal));
        match self.service.record(event).await {
            Ok(()) => *refusal,
            Err(_) => unavailable(),
        }
    }
}

pub(crate) fn outcome(refusal: &Refusal) -> Outcome {
    Outcome::Refused { code: refusal.code.id.to_owned(), message: refusal.message.clone() }
}

pub(crate) fn unavailable() -> Refusal {
    Refusal::new(&code::AUDIT_FAILED, "the sign-in cannot be recorded, so it does not count")
}

/// The one answer to everything that is wrong before the key has proved itself.
pub(crate) fn failed() -> Refusal {
    Refusal::new(&code::SIGN_IN_FAILED, "the sign-in did not succeed")
}

/// The person under the name that was given, as the audit log may know them before they have proved anything.
fn claimed(user: &UserName) -> Actor {
    Actor::claimed(user.as_str())
}

/// `POST /signin/v1/enrol`.
pub(crate) async fn enrol(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered(&service, &asker, body, async |call: &Call<'_>, ask| enrol::enrol(call, ask).await)
        .await
}

/// `POST /signin/v1/challenge`.
pub(crate) async fn challenge(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered(&service, &asker, body, async |call: &Call<'_>, ask| challenge::issue(call, &ask))
        .await
}

/// `POST /signin/v1/token`.
pub(crate) async fn token(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered::<_, Value, _>(&service, &asker, body, async |call: &Call<'_>, ask| {
        session::sign_in(call, ask).await
    })
    .await
}

/// `POST /signin/v1/device`: sign in and look at what a device asks for; then decide.
pub(crate) async fn device(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered::<_, Value, _>(&service, &asker, body, async |call: &Call<'_>, ask| {
        decide::device(call, ask).await
    })
    .await
}

/// `POST /signin/v1/handle`.
pub(crate) async fn handle(
    State(service): State<Arc<Service>>,
    asker: Asker,
    headers: axum::http::HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Err(failure) = service.admit(asker.source) {
        return refusal_response(&throttled(&failure));
    }
    let body = match body {
        Ok(body) if body.is_empty() => Ok(handle::Ask::default()),
        other => read(other),
    };
    let made = match body {
        Ok(ask) => handle::make(&service, &asker, &headers, ask).await,
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(answer) => respond::json(StatusCode::OK, &answer),
        Err(refusal) => {
            service.failed(asker.source);
            refusal_response(&refusal)
        }
    }
}
