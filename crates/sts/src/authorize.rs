//! The authorization endpoint (RFC 6749 §3.1, RFC 7636, OpenID Connect Core §3.1): a program sends a person's browser
//! here, and gets it back with a code.
//!
//! Nothing is sent to an address that the program had not registered: until client and address are known, refusals are
//! pages of our own.

mod code;
mod request;
mod respond;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use model::event::{Actor, Outcome};
use model::redirect::Public;

pub(crate) use code::{Redeemed, peek, redeem, revocation};
pub(crate) use request::{Mode, Request};

use crate::failure::{Failure, INTERACTION_NEEDED, LOGIN_NEEDED};
use crate::form::Form;
use crate::request::Asker;
use crate::service::Service;
use crate::web::{self, Demand, Flow, Next, Session, Visit};
use crate::{client, token};
use request::{Prompt, Read};

const STEP: &str = "authorize";

/// `GET /{tenant}/oauth2/v2.0/authorize`.
pub(crate) async fn get(
    Path(segment): Path<String>,
    RawQuery(query): RawQuery,
    visit: Visit,
) -> Response {
    let response = match begin(&visit, &segment, &query.unwrap_or_default()).await {
        Ok(response) => response,
        Err(failure) => {
            visit.service.failed(visit.asker.source);
            web::failure_page(&recorded(&visit, None, failure).await)
        }
    };
    visit.asker.echo(visit.answer(response))
}

/// `POST /{tenant}/oauth2/v2.0/authorize`: another site's form comes without our cookies, so it is sent on as a GET.
pub(crate) async fn post(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let form = match service.admit(asker.source).and_then(|()| token::read(body)) {
        Ok(form) => form,
        Err(failure) => return web::failure_page(&failure),
    };
    let segment = crate::form::encoded(&segment);
    web::see_other(&format!("/{segment}/oauth2/v2.0/authorize?{}", form.written()))
}

async fn begin(visit: &Visit, segment: &str, query: &str) -> Result<Response, Failure> {
    let form = Form::parse(query.as_bytes())?;
    let Read { request, outcome } = request::read(visit, segment, &form)?;
    let asked = match outcome {
        Ok(asked) => asked,
        Err(failure) => return Ok(refused(visit, &request, failure).await),
    };
    let demand = Demand {
        since: match asked.prompt {
            Prompt::Login => Some(visit.now),
            Prompt::None | Prompt::SelectAccount | Prompt::Unsaid => asked.since,
        },
        contexts: request.contexts.clone(),
    };
    let next = Next::Program(Box::new(request.clone()));
    let flow = Flow::new(visit, next, demand);
    let session = usable(visit, &request, &flow);
    match (asked.prompt, session) {
        // Who a program on a person's machine is cannot be known, so a person says yes to each (RFC 8252 §8.6).
        (Prompt::Unsaid | Prompt::None, Ok(session)) if request.public == Public::No => {
            grant(visit, session, &request).await
        }
        (Prompt::None, Ok(_)) => {
            let message = "A person must say yes to a program on their own machine.";
            let failure = Failure::new(&INTERACTION_NEEDED, message);
            Ok(refused(visit, &request, failure).await)
        }
        (Prompt::None, Err(())) => {
            let kind = match visit.signed_in() {
                Some(_) => &INTERACTION_NEEDED,
                None => &LOGIN_NEEDED,
            };
            let message = "A silent sign-in was asked for, but the person must sign in.";
            Ok(refused(visit, &request, Failure::new(kind, message)).await)
        }
        (Prompt::Unsaid | Prompt::SelectAccount, Ok(session)) => {
            Ok(web::confirmation(visit, session, &flow, &request))
        }
        (Prompt::Login, _) | (_, Err(())) => {
            Ok(web::chooser(visit, &flow, &web::Chooser::hinted(request.login_hint.as_deref())))
        }
    }
}

/// The session, if it will do for the request.
fn usable<'v>(visit: &'v Visit, request: &Request, flow: &Flow) -> Result<&'v Session, ()> {
    let session = visit.signed_in().ok_or(())?;
    let meant = request.login_hint.as_deref().is_none_or(|hint| {
        let name = session.user.name();
        hint.eq_ignore_ascii_case(name)
            || !visit.snapshot.users.iter().any(|user| hint.eq_ignore_ascii_case(user.name()))
    });
    let signed_in = session.signed_in(session.record.id);
    let enough = flow.demand.missing(&signed_in, visit.now).is_none();
    if meant && enough { Ok(session) } else { Err(()) }
}

/// Gives the program its code. The code and its record are one write.
pub(crate) async fn grant(
    visit: &Visit,
    session: &Session,
    request: &Request,
) -> Result<Response, Failure> {
    let code = code::issue(visit, session, request).await?;
    Ok(respond::succeeded(visit, session, request, &code))
}

/// Tells the program why it gets no code, once that is on disk.
pub(crate) async fn refused(visit: &Visit, request: &Request, failure: Failure) -> Response {
    let failure = recorded(visit, Some(request), failure).await;
    respond::failed(visit, request, &failure)
}

async fn recorded(visit: &Visit, request: Option<&Request>, failure: Failure) -> Failure {
    let client = request.map(|request| client::name(request.client, &visit.snapshot));
    let actor = visit.session.as_ref().map(Session::actor);
    let actor = actor.unwrap_or_else(|| match request {
        Some(request) => client::actor(request.client, &visit.snapshot),
        None => Actor::claimed("browser"),
    });
    let outcome = Outcome::Refused { code: failure.code(), message: failure.message.clone() };
    match visit.service.record(visit.event(STEP, actor, client, outcome)).await {
        Ok(()) => failure,
        Err(unavailable) => unavailable,
    }
}
