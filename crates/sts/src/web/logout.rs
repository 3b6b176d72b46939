//! The end of a browser's session (OpenID Connect RP-Initiated Logout 1.0). Nobody is signed out by a link alone: another
//! site could have put it there.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery};
use axum::response::Response;
use control::Verb;
use control::credentials::BrowserSession;
use model::event::Outcome;
use model::redirect::{self, Public};
use model::{ApplicationId, Refusal, code};

use super::{
    Demand, Flow, Next, Page, Visit, browser, escaped, failure_page, hidden, refusal_page,
    see_other,
};
use crate::failure::Failure;
use crate::form::{self, Form};
use crate::{client, tenant};

/// `GET /{tenant}/oauth2/v2.0/logout`.
pub(super) async fn page(
    Path(segment): Path<String>,
    RawQuery(query): RawQuery,
    visit: Visit,
) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    match asking(&visit, &segment, &query) {
        Ok(page) => visit.answer(page),
        Err(failure) => failure_page(&failure),
    }
}

fn asking(visit: &Visit, segment: &str, query: &Form) -> Result<Page, Failure> {
    tenant::named(segment, &visit.snapshot)?;
    let back = back(visit, query);
    let Some(session) = &visit.session else {
        let on = back
            .map(|address| format!("<a class=\"button\" href=\"{}\">Go on</a>", escaped(&address)));
        let text = "<p>Nobody is signed in in this browser.</p>";
        return Ok(Page::new("You are signed out", format!("{text}{}", on.unwrap_or_default())));
    };
    let thread = Flow::new(visit, Next::Account, Demand::default()).sealed(visit)?;
    let back_field = back.as_deref().map(|address| hidden("back", address)).unwrap_or_default();
    let body = format!(
        "<p>You are signed in as <strong>{}</strong>.</p>\
         <form method=\"post\" action=\"/account/signout\">{}{back_field}<button>Sign out</button></form>\
         <p class=\"soft\">Programs that you have signed in go on until their time is over. \
         <a href=\"/account\">Your account</a> shows them and ends them.</p>",
        escaped(session.user.name()),
        hidden("flow", &thread),
    );
    let page = Page::new("Sign out?", body);
    Ok(match &back {
        Some(address) => page.leads_to(redirect::origin(address)),
        None => page,
    })
}

/// Where the program wants its person back: only an address that it has registered.
fn back(visit: &Visit, query: &Form) -> Option<String> {
    let address = query.get("post_logout_redirect_uri")?;
    let id: ApplicationId = query.get("client_id")?.parse().ok()?;
    let application = client::find(id, &visit.snapshot)?;
    let public = Public::from(application.spec.public_client);
    if !redirect::allowed(&application.spec.redirect_uris, address, public) {
        return None;
    }
    let joint = if address.contains('?') { '&' } else { '?' };
    Some(match query.get("state") {
        Some(state) => format!("{address}{joint}state={}", form::encoded(state)),
        None => address.to_owned(),
    })
}

/// `POST /account/signout`.
pub(super) async fn sign_out(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let (posted, session) = match visit.posted_by(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let key = session.key.clone();
    let event = visit.event("signOut", session.actor(), None, Outcome::Succeeded);
    let subject = session.principal().to_string();
    let written = visit.service.state.control.system(Verb::SignIn, subject, move |writing| {
        writing.delete_record::<BrowserSession>(&key)?;
        writing.note(event);
        Ok(())
    });
    if written.await.is_err() {
        let message = "the sign-out cannot be recorded now";
        return refusal_page(&Refusal::new(&code::AUDIT_FAILED, message));
    }
    // The field was in a sealed page's form, but is not sealed itself: it must be somebody's address all the same.
    let back = posted.form.get("back").filter(|address| known(&visit, address));
    let response = back.map_or_else(|| visit.answer(signed_out()), see_other);
    browser::end_session(response)
}

fn signed_out() -> Page {
    let text = "<p class=\"good\" role=\"status\">This browser holds no session any more.</p>\
                <a class=\"button\" href=\"/account\">Sign in again</a>";
    Page::new("You are signed out", text)
}

fn known(visit: &Visit, address: &str) -> bool {
    let plain = address.split("?state=").next().unwrap_or(address);
    let plain = plain.split("&state=").next().unwrap_or(plain);
    visit.snapshot.applications.iter().any(|application| {
        let public = Public::from(application.spec.public_client);
        redirect::allowed(&application.spec.redirect_uris, plain, public)
    })
}
