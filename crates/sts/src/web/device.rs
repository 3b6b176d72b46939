//! `/device`: someone else's program shows a code, and a person who has just signed in says yes or no to it.

use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use control::credentials::DeviceGrant;
use model::Refusal;
use model::event::Outcome;
use uuid::Uuid;

use super::{
    Chooser, Demand, Flow, Next, Page, Refused, Session, Visit, chooser, escaped, failure_page,
    hidden, refusal_page, sentence, when,
};
use crate::device::decision::{self, Ticket, Verdict};
use crate::device::typed;
use crate::failure::Failure;
use crate::form::{self, Form};
use crate::{client, contexts};

const STEP: &str = "deviceCode";

/// Where a code is looked at.
pub(super) fn address(user_code: Option<&str>) -> String {
    match user_code {
        Some(code) => format!("/device?user_code={}", form::encoded(code)),
        None => "/device".to_owned(),
    }
}

/// A device gets what its person has: they must have signed in for it, or just before.
fn demand() -> Demand {
    Demand { since: None, contexts: vec![contexts::KNOWN[0].to_owned()] }
}

/// `GET /device`.
pub(super) async fn page(RawQuery(query): RawQuery, visit: Visit) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let user_code = query.get("user_code").map(typed);
    let flow = Flow::new(&visit, Next::Device(user_code.clone()), demand());
    match entered(&visit, &flow) {
        Ok(_) => typing(&visit, &flow, user_code.as_deref(), None),
        Err(response) => *response,
    }
}

/// Whoever has signed in just now.
fn entered<'v>(visit: &'v Visit, flow: &Flow) -> Result<&'v Session, Box<Response>> {
    let Some(session) = visit.signed_in() else {
        return Err(Box::new(chooser(visit, flow, &Chooser::default())));
    };
    let signed_in = session.signed_in(session.record.id);
    match flow.demand.missing(&signed_in, visit.now) {
        None => Ok(session),
        Some(missing) => Err(Box::new(chooser(visit, flow, &Chooser::told(missing)))),
    }
}

fn typing(
    visit: &Visit,
    flow: &Flow,
    user_code: Option<&str>,
    refusal: Option<&Refusal>,
) -> Response {
    let sealed = match flow.sealed(visit) {
        Ok(sealed) => sealed,
        Err(failure) => return failure_page(&failure),
    };
    let said = refusal.map(|refusal| {
        let hint = sentence(refusal.hint.as_deref().unwrap_or_default());
        let text = format!("{} {hint} ({})", sentence(&refusal.message), refusal.code.id);
        format!("<p class=\"bad\" role=\"alert\">{}</p>", escaped(&text))
    });
    let body = format!(
        "<p>A program on another device wants to sign in as you. It shows a code.</p>{}\
         <form method=\"post\" action=\"/device\">{}\
         <label for=\"user-code\">Code</label>\
         <input type=\"text\" class=\"code\" id=\"user-code\" name=\"user_code\" value=\"{}\" \
          autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\" maxlength=\"12\" required>\
         <button>Look at the request</button></form>\
         <p class=\"soft\">Nobody who helps you has a reason to send you a code. If you did not start this \
         yourself, close this page.</p>",
        said.unwrap_or_default(),
        hidden("flow", &sealed),
        escaped(user_code.unwrap_or_default()),
    );
    let status = match refusal {
        None => StatusCode::OK,
        Some(refusal) => StatusCode::from_u16(refusal.code.http).unwrap_or(StatusCode::BAD_REQUEST),
    };
    visit.answer(Page::new("Approve a device", body).status(status))
}

/// `POST /device`: what is asked under a code.
pub(super) async fn look(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let (posted, _) = match visit.posted_by(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let flow = Flow::new(&visit, posted.flow.next, demand());
    let session = match entered(&visit, &flow) {
        Ok(session) => session,
        Err(response) => return *response,
    };
    let user_code = typed(posted.form.get("user_code").unwrap_or_default());
    match decision::asked(&visit.service, &user_code) {
        Ok(found) => match deciding(&visit, session, &flow, (&user_code, &found)).await {
            Ok(page) => visit.answer(page),
            Err(failure) => failure_page(&failure),
        },
        Err(refusal) => {
            // Guesses cost the source its budget, and each is on record under the person's name.
            let refused = Refused::new(STEP, session.actor(), refusal);
            let refusal = visit.refuse(refused).await;
            typing(&visit, &flow, None, Some(&refusal))
        }
    }
}

async fn deciding(
    visit: &Visit,
    session: &Session,
    flow: &Flow,
    (user_code, found): (&str, &DeviceGrant),
) -> Result<Page, Failure> {
    let client = client::name(found.client, &visit.snapshot);
    let event = visit.event(STEP, session.actor(), Some(client.clone()), Outcome::Succeeded);
    visit.service.record(event).await?;
    let signed_in = session.signed_in(Uuid::new_v4());
    let ticket = Ticket::new(&visit.service, session.principal(), user_code, signed_in);
    let ticket = ticket.sealed(&visit.service).map_err(|_| crate::service::unavailable())?;
    let thread = format!("{}{}", hidden("flow", &flow.sealed(visit)?), hidden("ticket", &ticket));
    let here = if found.source == visit.asker.source {
        "the address that you come from too"
    } else {
        "not the address that you come from"
    };
    let button = |approve: &str, class: &str, text: &str| {
        format!(
            "<form method=\"post\" action=\"/device/decide\">{thread}{}<button{class}>{text}</button></form>",
            hidden("approve", approve)
        )
    };
    let body = format!(
        "<p>This program will act as <strong>{}</strong>.</p>\
         <dl><dt>Program</dt><dd>{}</dd><dt>Client id</dt><dd>{}</dd>\
         <dt>Asks from</dt><dd>{} <span class=\"soft\">{here}</span></dd>\
         <dt>Since</dt><dd>{}</dd><dt>For</dt><dd>{}</dd></dl>\
         <p class=\"soft\">Say yes only if it is you who started it, a moment ago.</p>\
         <div class=\"both\">{}{}</div>",
        escaped(session.user.name()),
        escaped(&client),
        found.client,
        escaped(&found.source.to_string()),
        when(found.asked_at),
        escaped(&found.scope),
        button("no", " class=\"second\"", "No, not me"),
        button("yes", "", "Yes, it is me"),
    );
    Ok(Page::new("Sign this program in?", body))
}

/// `POST /device/decide`.
pub(super) async fn decide(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let (posted, session) = match visit.posted_by(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let verdict = match posted.form.get("approve") {
        Some("yes") => Verdict::Approve,
        _ => Verdict::Deny,
    };
    let ticket = posted.form.get("ticket").and_then(|text| Ticket::opened(&visit.service, text));
    let Some(ticket) = ticket.filter(|ticket| ticket.principal() == session.principal()) else {
        let refusal = crate::sign_in::failed();
        let refused = Refused::new(verdict.step(), session.actor(), refusal);
        return refusal_page(&visit.refuse(refused).await);
    };
    match decision::decide(&visit.service, &visit.asker, ticket, verdict).await {
        Ok(()) => {
            let (title, text) = match verdict {
                Verdict::Approve => (
                    "The program is signed in",
                    "You can close this page and go back to the device.",
                ),
                Verdict::Deny => (
                    "The program was turned away",
                    "Nobody was signed in. You can close this page.",
                ),
            };
            visit.answer(Page::new(title, format!("<p class=\"good\" role=\"status\">{text}</p>")))
        }
        Err(refusal) => refusal_page(&visit.refuse(Refused::recorded(refusal)).await),
    }
}
