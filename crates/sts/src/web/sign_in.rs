//! The pages before and behind a sign-in: choose a way, say yes to a program, go on to what one came for.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::{Refusal, code, redirect};
use runtime::Secret;
use serde_json::json;

use super::{
    Flow, Next, Page, Posted, Refused, Session, Visit, browser, device, escaped, factors,
    failure_page, hidden, keys, refusal_page, see_other, sentence,
};
use crate::authorize::{self, Request};
use crate::client;
use crate::failure::{DECLINED, Failure};

/// What the page to sign in on says beside itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chooser {
    user: Option<String>,
    bad: Option<String>,
    good: Option<String>,
    /// The way that is open from the start.
    open: Way,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Passkey,
    Authenticator,
    Pass,
}

impl Chooser {
    /// With the name that the program gave.
    pub(crate) fn hinted(user: Option<&str>) -> Self {
        Self { user: user.map(str::to_owned), ..Self::default() }
    }

    /// With a word on why.
    pub(crate) fn told(why: impl Into<String>) -> Self {
        Self { bad: Some(why.into()), ..Self::default() }
    }

    /// After something that went well.
    pub(super) fn done(what: impl Into<String>) -> Self {
        Self { good: Some(what.into()), ..Self::default() }
    }
}

/// The page to sign in on.
pub(crate) fn chooser(visit: &Visit, flow: &Flow, chooser: &Chooser) -> Response {
    let made = flow.sealed(visit).and_then(|sealed| {
        let body = choices(visit, flow, &sealed, chooser)?;
        Ok(leading(flow, Page::new("Sign in", body)))
    });
    match made {
        Ok(page) => {
            let status =
                if chooser.bad.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
            visit.answer(page.status(status))
        }
        Err(failure) => failure_page(&failure),
    }
}

/// Its forms may lead to the program: browsers check the redirect that follows a form as well.
fn leading(flow: &Flow, page: Page) -> Page {
    match &flow.next {
        Next::Program(request) => page.leads_to(redirect::origin(&request.redirect_uri)),
        Next::Device(_) | Next::Account => page,
    }
}

fn choices(visit: &Visit, flow: &Flow, sealed: &str, chooser: &Chooser) -> Result<String, Failure> {
    let thread = hidden("flow", sealed);
    let challenge = factors::challenge(visit)?;
    let options = json!({
        "challenge": base64(challenge.as_bytes()),
        "rpId": factors::relying_party(visit.service.origin()),
        "userVerification": "required",
        "allowCredentials": [],
        "timeout": 300_000,
    });
    let user = escaped(chooser.user.as_deref().unwrap_or_default());
    let open = |way: Way| if chooser.open == way { " open" } else { "" };
    let said = said(chooser);
    let purpose = purpose(visit, flow);
    let cancel = match &flow.next {
        Next::Program(_) => format!(
            "<form method=\"post\" action=\"/signin/cancel\">{thread}\
             <button class=\"second\">Cancel</button></form>"
        ),
        Next::Device(_) | Next::Account => String::new(),
    };
    Ok(format!(
        "{purpose}{said}\
         <form method=\"post\" action=\"/signin/passkey\" data-passkey=\"get\" data-options=\"{options}\">\
         {thread}{challenge}{fields}\
         <p class=\"bad\" role=\"alert\" hidden></p>\
         <button hidden>Sign in with a passkey</button>\
         <noscript><p class=\"soft\">Passkeys need JavaScript. The other ways work without.</p></noscript></form>\
         <details{open_code}><summary>Use a code of your authenticator</summary>\
         <form method=\"post\" action=\"/signin/code\">{thread}\
         <p class=\"soft\">In a browser in which you have used a passkey or a pass before.</p>\
         <label for=\"code-user\">User name</label>\
         <input type=\"text\" id=\"code-user\" name=\"user\" value=\"{user}\" autocomplete=\"username\" \
          autocapitalize=\"none\" spellcheck=\"false\" required>\
         <label for=\"otp\">Code</label>\
         <input type=\"text\" class=\"code\" id=\"otp\" name=\"otp\" inputmode=\"numeric\" \
          autocomplete=\"one-time-code\" maxlength=\"7\" required>\
         <button>Sign in</button></form></details>\
         <details{open_pass}><summary>Use a Temporary Access Pass</summary>\
         <form method=\"post\" action=\"/signin/pass\">{thread}\
         <p class=\"soft\">The first time, or when you have lost your keys. An owner gives it to you.</p>\
         <label for=\"pass-user\">User name</label>\
         <input type=\"text\" id=\"pass-user\" name=\"user\" value=\"{user}\" autocomplete=\"username\" \
          autocapitalize=\"none\" spellcheck=\"false\" required>\
         <label for=\"pass\">Pass</label>\
         <input type=\"text\" class=\"code\" id=\"pass\" name=\"pass\" autocomplete=\"off\" \
          autocapitalize=\"none\" spellcheck=\"false\" required>\
         <button>Set up a key</button></form></details>{cancel}",
        options = escaped(&options.to_string()),
        challenge = hidden("challenge", &challenge),
        fields =
            empty(&["credential", "client_data", "authenticator_data", "signature", "user_handle"]),
        open_code = open(Way::Authenticator),
        open_pass = open(Way::Pass),
    ))
}

fn said(chooser: &Chooser) -> String {
    let bad = chooser.bad.as_deref().map(|text| alert("bad", text));
    let good = chooser.good.as_deref().map(|text| alert("good", text));
    [bad, good].into_iter().flatten().collect()
}

fn alert(class: &str, text: &str) -> String {
    format!("<p class=\"{class}\" role=\"alert\">{}</p>", escaped(text))
}

/// Hidden fields for the script to fill.
pub(super) fn empty(names: &[&str]) -> String {
    names.iter().map(|name| hidden(name, "")).collect()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn purpose(visit: &Visit, flow: &Flow) -> String {
    let to = match &flow.next {
        Next::Program(request) => {
            format!("to go on to <strong>{}</strong>", described(visit, request))
        }
        Next::Device(_) => "to approve a device".to_owned(),
        Next::Account => "to your account".to_owned(),
    };
    format!("<p>{to}</p>")
}

/// The program, and where it will be answered.
fn described(visit: &Visit, request: &Request) -> String {
    let name = escaped(&client::name(request.client, &visit.snapshot));
    let place = if request.public == redirect::Public::Yes {
        "on this computer".to_owned()
    } else {
        let origin = redirect::origin(&request.redirect_uri);
        format!("at {}", escaped(origin.trim_start_matches("https://")))
    };
    format!("{name}</strong> <span class=\"soft\">{place}</span><strong>")
}

/// Someone is signed in already: they say whether it is they who want this.
pub(crate) fn confirmation(
    visit: &Visit,
    session: &Session,
    flow: &Flow,
    request: &Request,
) -> Response {
    let sealed = match flow.sealed(visit) {
        Ok(sealed) => sealed,
        Err(failure) => return failure_page(&failure),
    };
    let thread = hidden("flow", &sealed);
    let body = format!(
        "<p><strong>{}</strong> wants to sign you in.</p>\
         <p class=\"soft\">Go on only if you have just started this yourself.</p>\
         <form method=\"post\" action=\"/signin/continue\">{thread}<button>Go on as {}</button></form>\
         <form method=\"post\" action=\"/signin/again\">{thread}\
         <button class=\"second\">Use another account</button></form>\
         <form method=\"post\" action=\"/signin/cancel\">{thread}\
         <button class=\"second\">Cancel</button></form>",
        described(visit, request),
        escaped(session.user.name()),
    );
    visit.answer(leading(flow, Page::new("Is this you?", body)))
}

/// `POST /signin/passkey`.
pub(super) async fn passkey(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let posted = match visit.posted(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let opened = factors::passkey(&visit, &posted.flow, &posted.form).await;
    conclude(&visit, posted, opened, Way::Passkey).await
}

/// `POST /signin/code`.
pub(super) async fn authenticator(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let posted = match visit.posted(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let opened = factors::authenticator(&visit, &posted.flow, &posted.form).await;
    conclude(&visit, posted, opened, Way::Authenticator).await
}

/// `POST /signin/pass`.
pub(super) async fn pass(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let posted = match visit.posted(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let opened = factors::pass(&visit, &posted.flow, &posted.form).await;
    conclude(&visit, posted, opened, Way::Pass).await
}

/// On with the new session, or once more with a word on why not.
async fn conclude(
    visit: &Visit,
    posted: Posted,
    opened: Result<(Session, Secret<String>), Refused>,
    way: Way,
) -> Response {
    match opened {
        Ok((session, secret)) => {
            let response = proceed(visit, &session, posted.flow).await;
            browser::begin_session(response, secret.expose())
        }
        Err(refused) => {
            let refusal = visit.refuse(refused).await;
            let user = posted.form.get("user").map(str::to_owned);
            let bad = Some(told(&refusal));
            chooser(visit, &posted.flow, &Chooser { user, bad, good: None, open: way })
        }
    }
}

/// In a browser nobody is asked to use a command.
fn told(refusal: &Refusal) -> String {
    let hint = if refusal.code == &code::SIGN_IN_FAILED {
        "Check what you typed; a code or a pass counts once, and codes count only in a browser that you have used before."
    } else {
        refusal.hint.as_deref().unwrap_or_default()
    };
    format!("{} {} ({})", sentence(&refusal.message), sentence(hint), refusal.code.id)
}

/// What one came for.
async fn proceed(visit: &Visit, session: &Session, flow: Flow) -> Response {
    if session.enrols_only() {
        return keys::enrolment(visit, session, &flow);
    }
    let signed_in = session.signed_in(session.record.id);
    if let Some(missing) = flow.demand.missing(&signed_in, visit.now) {
        return chooser(visit, &flow, &Chooser::told(missing));
    }
    match flow.next {
        Next::Program(request) => match authorize::grant(visit, session, &request).await {
            Ok(response) => response,
            Err(failure) => failure_page(&failure),
        },
        Next::Device(user_code) => see_other(&device::address(user_code.as_deref())),
        Next::Account => see_other("/account"),
    }
}

/// `POST /signin/continue`.
pub(super) async fn go_on(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    match visit.posted_by(body).await {
        Ok((posted, session)) => proceed(&visit, session, posted.flow).await,
        Err(response) => response,
    }
}

/// `POST /signin/again`: as someone else, or once more.
pub(super) async fn again(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    match visit.posted(body).await {
        Ok(posted) => chooser(&visit, &posted.flow, &Chooser::default()),
        Err(response) => response,
    }
}

/// `POST /signin/cancel`: the program is told.
pub(super) async fn cancel(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let posted = match visit.posted(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    match posted.flow.next {
        Next::Program(request) => {
            let failure = Failure::new(&DECLINED, "The person declined the request.");
            authorize::refused(&visit, &request, failure).await
        }
        Next::Device(_) | Next::Account => {
            refusal_page(&Refusal::new(&code::INVALID, "there is nothing to cancel"))
                .into_response()
        }
    }
}
