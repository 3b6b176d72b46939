//! People in a browser: pages to sign in on, to look after one's keys and sessions, to approve a device.
//!
//! A page is plain HTML from the server. Only an authenticator needs a script to be asked; everything else works without.

mod account;
mod browser;
mod device;
mod factors;
mod flow;
mod html;
mod keys;
mod logout;
mod session;
mod sign_in;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::extract::rejection::BytesRejection;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use model::event::{Actor, EventBody, Outcome};
use model::{Refusal, Snapshot, Timestamp, code};

pub(crate) use flow::{Demand, Flow, Next};
pub(crate) use html::{Page, escaped, hidden};
pub(crate) use session::Session;
pub(crate) use sign_in::{Chooser, chooser, confirmation};

use crate::failure::Failure;
use crate::form::Form;
use crate::request::Asker;
use crate::service::Service;
use browser::Browser;

/// The addresses of the pages.
pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route(html::STYLE_PATH, get(html::style))
        .route(html::SCRIPT_PATH, get(html::script))
        .route("/signin/passkey", post(sign_in::passkey))
        .route("/signin/code", post(sign_in::authenticator))
        .route("/signin/pass", post(sign_in::pass))
        .route("/signin/again", post(sign_in::again))
        .route("/signin/continue", post(sign_in::go_on))
        .route("/signin/cancel", post(sign_in::cancel))
        .route("/device", get(device::page).post(device::look))
        .route("/device/decide", post(device::decide))
        .route("/account", get(account::page))
        .route("/account/passkeys", post(keys::add_passkey))
        .route("/account/passkeys/name", post(keys::name_passkey))
        .route("/account/passkeys/remove", post(keys::remove_passkey))
        .route("/account/authenticator", post(keys::show_authenticator))
        .route("/account/authenticator/confirm", post(keys::confirm_authenticator))
        .route("/account/authenticator/remove", post(keys::remove_authenticator))
        .route("/account/sessions/end", post(account::end_session))
        .route("/account/signout", post(logout::sign_out))
        .route("/{tenant}/oauth2/v2.0/logout", get(logout::page))
        .route("/{tenant}/oauth2/logout", get(logout::page))
}

/// One request of a browser.
pub(crate) struct Visit {
    pub(crate) service: Arc<Service>,
    pub(crate) asker: Asker,
    pub(crate) browser: Browser,
    pub(crate) session: Option<Session>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) now: Timestamp,
    /// Another site's page sent it.
    foreign: bool,
}

impl FromRequestParts<Arc<Service>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Response> {
        let Ok(asker) = Asker::from_request_parts(parts, service).await;
        Self::of(parts, service, asker).map_err(|failure| failure_page(&failure))
    }
}

impl Visit {
    fn of(parts: &Parts, service: &Arc<Service>, asker: Asker) -> Result<Self, Failure> {
        service.admit(asker.source)?;
        let browser = Browser::of(&parts.method, &parts.headers)?;
        let (snapshot, now) = (service.snapshot(), service.now());
        let session = match &browser.session {
            Some(secret) => Session::load(service, secret, &snapshot, now)?,
            None => None,
        };
        let foreign = foreign(&parts.headers);
        let service = Arc::clone(service);
        Ok(Self { service, asker, browser, session, snapshot, now, foreign })
    }

    /// A session that is more than an enrolment.
    pub(crate) fn signed_in(&self) -> Option<&Session> {
        self.session.as_ref().filter(|session| !session.enrols_only())
    }

    /// The answer, with the browser's cookie if it needs one.
    pub(crate) fn answer(&self, response: impl IntoResponse) -> Response {
        self.browser.remember(response.into_response())
    }

    pub(crate) fn event(
        &self,
        step: &str,
        actor: Actor,
        client: Option<String>,
        outcome: Outcome,
    ) -> EventBody {
        let source = Some(self.asker.source);
        EventBody::SignIn { actor, source, step: step.to_owned(), client, outcome }
    }

    /// Counts and records a refusal; what the person is told.
    pub(crate) async fn refuse(&self, refused: Refused) -> Refusal {
        let Refused { refusal, recorded } = refused;
        self.service.failed(self.asker.source);
        let Some((step, actor)) = recorded else { return *refusal };
        let outcome = crate::sign_in::outcome(&refusal);
        match self.service.record(self.event(step, actor, None, outcome)).await {
            Ok(()) => *refusal,
            Err(_) => unavailable(),
        }
    }

    /// Reads a form that one of our pages made for this browser.
    pub(crate) async fn posted(
        &self,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Posted, Response> {
        let form = crate::token::read(body).map_err(|failure| failure_page(&failure))?;
        let flow = form.get("flow").and_then(|sealed| Flow::opened(self, sealed));
        if let Some(flow) = flow.filter(|_| !self.foreign) {
            return Ok(Posted { form, flow });
        }
        let message = "the form was not given to this browser, or too long ago";
        let refusal = Refusal::new(&code::FORM_STALE, message);
        let refused = Refused::new("form", self.someone(), refusal);
        Err(refusal_page(&self.refuse(refused).await))
    }

    /// The same for a page of whoever is signed in: it was shown to this very session.
    pub(crate) async fn posted_by(
        &self,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<(Posted, &Session), Response> {
        let posted = self.posted(body).await?;
        if let Some(session) = self.session.as_ref().filter(|_| posted.flow.of_session(self)) {
            return Ok((posted, session));
        }
        let flow = posted.flow.again(self);
        Err(chooser(self, &flow, &Chooser::told("You are not signed in any more.")))
    }

    /// Whoever the browser is, as far as is known.
    pub(crate) fn someone(&self) -> Actor {
        let session = self.session.as_ref().map(Session::actor);
        session.unwrap_or_else(|| Actor::claimed("browser"))
    }
}

/// A form that came back, and the thread that it belongs to.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) form: Form,
    pub(crate) flow: Flow,
}

/// A refusal, and, unless the write that found it has recorded it, as which step of whose.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Box<Refusal>,
    recorded: Option<(&'static str, Actor)>,
}

impl Refused {
    pub(crate) fn new(step: &'static str, actor: Actor, refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), recorded: Some((step, actor)) }
    }

    /// On disk already, or not worth it.
    pub(crate) fn recorded(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), recorded: None }
    }
}

impl From<Failure> for Refused {
    /// The store or the random source failed.
    fn from(_: Failure) -> Self {
        Self::recorded(unavailable())
    }
}

/// Browsers say where a form came from. One that does not is held by the form's own seal.
fn foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

pub(crate) fn unavailable() -> Refusal {
    Refusal::new(&code::AUDIT_FAILED, "it cannot be recorded now, so it does not count")
}

/// A page that says what was refused, under which code, and what to do.
pub(crate) fn refusal_page(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.code.http).unwrap_or(StatusCode::BAD_REQUEST);
    let hint = refusal.hint.as_deref().unwrap_or_default();
    let body = format!(
        "<p class=\"bad\" role=\"alert\">{}</p><p>{}</p><p class=\"soft\">Code {}</p>",
        escaped(&sentence(&refusal.message)),
        escaped(&sentence(hint)),
        refusal.code.id
    );
    Page::new("This did not work", body).status(status).into_response()
}

/// The same for refusals with Entra's numbers. Nothing leads on from here.
pub(crate) fn failure_page(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.kind.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = format!(
        "<p class=\"bad\" role=\"alert\">{}</p>\
         <p>Go back to the program and start again. If it happens once more, tell its owner this code.</p>\
         <p class=\"soft\">Code {}</p>",
        escaped(&failure.message),
        failure.code()
    );
    let mut response = Page::new("This did not work", body).status(status).into_response();
    if let Some(seconds) = failure.kind.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// `what happened` → `What happened.`
pub(crate) fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let Some(first) = characters.next() else { return String::new() };
    let rest = characters.as_str();
    let end = if rest.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{rest}{end}", first.to_uppercase())
}

/// On to another page of ours, or back to a program: with GET, whatever came before.
pub(crate) fn see_other(address: &str) -> Response {
    match HeaderValue::from_str(address) {
        Ok(address) => (StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// As a person reads an instant.
pub(crate) fn when(at: Timestamp) -> String {
    let text = Timestamp::from_seconds(at.seconds()).to_string();
    // To the minute: nobody knows their own sign-ins by the second.
    let shown: String = text.replace('T', " ").chars().take(16).collect();
    let shown = format!("{shown} UTC");
    format!("<time datetime=\"{}\">{}</time>", escaped(&text), escaped(&shown))
}
