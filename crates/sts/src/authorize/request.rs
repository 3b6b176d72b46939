//! What a program asks for. First who it is and where it may be answered; everything else can be refused there.

use std::time::Duration;

use model::redirect::{self, Public};
use model::{ApplicationId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client::{self, PUBLIC_CLIENT};
use crate::contexts;
use crate::failure::{
    APPLICATION_DISABLED, APPLICATION_UNKNOWN, FIELD_MISSING, Failure, PKCE_METHOD, PKCE_NEEDED,
    REDIRECT_UNKNOWN, REQUEST_INVALID, RESPONSE_MODE, RESPONSE_TYPE, quoted,
};
use crate::form::Form;
use crate::scope::{self, Asking};
use crate::tenant;
use crate::web::Visit;

/// Texts that travel through the browser and back.
const TEXT_BYTES_MAX: usize = 2_048;
/// base64url of SHA-256.
const CHALLENGE_CHARACTERS: usize = 43;
/// What [`PUBLIC_CLIENT`] may be answered at when it is not registered: programs on the person's own machine.
const PUBLIC_CLIENT_REDIRECTS: [&str; 2] = ["http://localhost", "http://127.0.0.1"];

/// How the answer gets to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    Query,
    Fragment,
    FormPost,
}

/// What a program asks for, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) tenant: TenantId,
    pub(crate) client: ApplicationId,
    pub(crate) public: Public,
    pub(crate) redirect_uri: String,
    pub(crate) mode: Mode,
    pub(crate) state: Option<String>,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) code_challenge: Option<String>,
    pub(crate) login_hint: Option<String>,
    pub(crate) contexts: Vec<String>,
    pub(crate) revocable: bool,
    pub(crate) client_info: bool,
}

/// What the person must be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// As is needed.
    Unsaid,
    /// Nothing: answer at once.
    None,
    Login,
    SelectAccount,
}

/// How the person is to be met.
pub(super) struct Asked {
    pub(super) prompt: Prompt,
    /// A sign-in from before this does not count (`max_age`).
    pub(super) since: Option<Timestamp>,
}

/// A request whose client and address are known, and whether the rest of it can be served.
pub(super) struct Read {
    pub(super) request: Request,
    pub(super) outcome: Result<Asked, Failure>,
}

/// Reads the query. A refusal from here is for a page of our own: no address is known to be the program's.
pub(super) fn read(visit: &Visit, segment: &str, form: &Form) -> Result<Read, Failure> {
    let tenant = tenant::named(segment, &visit.snapshot)?;
    let (client, redirects, public) = registered(visit, form.required("client_id")?)?;
    let redirect_uri = form.required("redirect_uri")?;
    if !redirect::allowed(&redirects, redirect_uri, public) {
        return Err(Failure::new(
            &REDIRECT_UNKNOWN,
            format!(
                "The redirect URI {} does not match the redirect URIs configured for the application.",
                quoted(redirect_uri)
            ),
        ));
    }
    let text =
        |name: &str| form.get(name).filter(|text| text.len() <= TEXT_BYTES_MAX).map(str::to_owned);
    let mut request = Request {
        tenant,
        client,
        public,
        redirect_uri: redirect_uri.to_owned(),
        mode: Mode::Query,
        state: text("state"),
        scope: text("scope").unwrap_or_default(),
        nonce: text("nonce"),
        code_challenge: None,
        login_hint: text("login_hint"),
        contexts: Vec::new(),
        revocable: false,
        client_info: form.get("client_info") == Some("1"),
    };
    let outcome = rest(form, &mut request, visit.now);
    Ok(Read { request, outcome })
}

/// The client, where it may be answered, and whether it is a public one.
fn registered(visit: &Visit, id: &str) -> Result<(ApplicationId, Vec<String>, Public), Failure> {
    let unknown = || {
        let message =
            format!("Application with identifier {} was not found in the directory.", quoted(id));
        Failure::new(&APPLICATION_UNKNOWN, message)
    };
    let id: ApplicationId = id.parse().map_err(|_| unknown())?;
    match client::find(id, &visit.snapshot) {
        Some(application) if !application.spec.enabled => {
            Err(Failure::new(&APPLICATION_DISABLED, format!("Application '{id}' is disabled.")))
        }
        Some(application) => {
            let spec = &application.spec;
            Ok((id, spec.redirect_uris.clone(), spec.public_client.into()))
        }
        None if id == PUBLIC_CLIENT => {
            Ok((id, PUBLIC_CLIENT_REDIRECTS.map(str::to_owned).to_vec(), Public::Yes))
        }
        None => Err(unknown()),
    }
}

fn rest(form: &Form, request: &mut Request, now: Timestamp) -> Result<Asked, Failure> {
    request.mode = match form.get("response_mode") {
        None | Some("query") => Mode::Query,
        Some("fragment") => Mode::Fragment,
        Some("form_post") => Mode::FormPost,
        Some(other) => {
            let message = format!("The response_mode {} is not supported.", quoted(other));
            return Err(Failure::new(&RESPONSE_MODE, message));
        }
    };
    match form.get("response_type") {
        Some("code") => {}
        None => {
            let message = "The request must contain the following parameter: 'response_type'.";
            return Err(Failure::new(&FIELD_MISSING, message));
        }
        Some(other) => {
            let message =
                format!("The response_type {} is not supported; use 'code'.", quoted(other));
            return Err(Failure::new(&RESPONSE_TYPE, message));
        }
    }
    for name in ["state", "nonce", "scope", "login_hint"] {
        if form.get(name).is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(invalid(name));
        }
    }
    scope::of_scope(Some(&request.scope), Asking::Person)?;
    request.code_challenge = challenge(form, request.public)?;
    let claims = contexts::Asked::parse(form.get("claims"))?;
    request.contexts = claims.essential;
    request.revocable = claims.revocable;
    Ok(Asked { prompt: prompt(form.get("prompt"))?, since: since(form.get("max_age"), now)? })
}

/// S256 only: with `plain` whoever sees the request could redeem the code (RFC 9700 §2.1.1).
fn challenge(form: &Form, public: Public) -> Result<Option<String>, Failure> {
    let Some(challenge) = form.get("code_challenge") else {
        if form.get("code_challenge_method").is_some() || public == Public::Yes {
            return Err(Failure::new(
                &PKCE_NEEDED,
                "Proof Key for Code Exchange is required: the request must contain 'code_challenge' and 'code_challenge_method=S256'.",
            ));
        }
        return Ok(None);
    };
    let right = challenge.len() == CHALLENGE_CHARACTERS
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match form.get("code_challenge_method") {
        Some("S256") if right => Ok(Some(challenge.to_owned())),
        Some("S256") => {
            let message = "The 'code_challenge' is not base64url of a SHA-256 hash.";
            Err(Failure::new(&PKCE_METHOD, message))
        }
        Some(_) | None => Err(Failure::new(
            &PKCE_METHOD,
            "The 'code_challenge_method' must be 'S256'; 'plain', which is also meant when it is left out, is not accepted.",
        )),
    }
}

fn prompt(prompt: Option<&str>) -> Result<Prompt, Failure> {
    match prompt {
        // Every program on a person's machine is asked for anyway; other consent there is none to give.
        None | Some("consent") => Ok(Prompt::Unsaid),
        Some("none") => Ok(Prompt::None),
        Some("login") => Ok(Prompt::Login),
        Some("select_account") => Ok(Prompt::SelectAccount),
        Some(_) => Err(invalid("prompt")),
    }
}

fn since(max_age: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let Some(max_age) = max_age else { return Ok(None) };
    let seconds: u32 = max_age.parse().map_err(|_| invalid("max_age"))?;
    let age = Duration::from_secs(seconds.into());
    Ok(Some(now.minus(age)))
}

fn invalid(name: &str) -> Failure {
    Failure::new(&REQUEST_INVALID, format!("The parameter '{name}' is not valid."))
}
