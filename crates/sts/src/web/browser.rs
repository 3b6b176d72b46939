//! The browser that asks: its two cookies, and what it calls itself.
//!
//! One cookie is a secret of the browser, drawn at its first visit: forms are bound to it, and codes of an authenticator
//! count only where it is known. The other is the session of whoever is signed in.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::Hash;
use runtime::Secret;

use crate::failure::Failure;
use crate::service::keys_failed;

/// `__Host-`: of this host only, over HTTPS only, for every path.
const BROWSER: &str = "__Host-portcullis-browser";
const SESSION: &str = "__Host-portcullis-session";

const SECRET_BYTES: usize = 32;
const SECRET_CHARACTERS: usize = 43;

/// How long a browser keeps its secret.
pub(crate) const BROWSER_DAYS: u64 = 180;

/// Names of browsers are shown to people; only their beginning is kept.
const NAME_CHARACTERS_MAX: usize = 80;

/// A browser, as its request tells of it.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) secret: Secret<String>,
    /// The secret was drawn now.
    new: bool,
    pub(crate) session: Option<Secret<String>>,
    pub(crate) name: String,
}

impl Browser {
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Result<Self, Failure> {
        let known = cookie(headers, BROWSER);
        // A form that another site posts comes without cookies: it must not replace the ones that the browser has.
        let new = known.is_none() && method == Method::GET;
        let secret = match known {
            Some(secret) => secret,
            None => random()?,
        };
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let name = named(agent.unwrap_or_default());
        Ok(Self { secret, new, session: cookie(headers, SESSION), name })
    }

    /// What forms are bound to.
    pub(crate) fn binding(&self) -> String {
        Hash::of(format!("browser {}", self.secret.expose()).as_bytes()).as_str().to_owned()
    }

    /// The answer, with the secret on it if the browser does not have it yet.
    pub(crate) fn remember(&self, mut response: Response) -> Response {
        if self.new {
            let seconds = BROWSER_DAYS * 24 * 3600;
            set(&mut response, BROWSER, self.secret.expose(), Some(seconds));
        }
        response
    }
}

/// A fresh secret.
pub(crate) fn random() -> Result<Secret<String>, Failure> {
    let bytes = keys::random::<SECRET_BYTES>().map_err(|error| keys_failed(&error))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// The key under which a session's record lies.
pub(crate) fn session_key(secret: &str) -> String {
    Hash::of(format!("session {secret}").as_bytes()).as_str().to_owned()
}

/// Gives the browser a session; it ends with the browser's own, or when its record does.
pub(crate) fn begin_session(mut response: Response, secret: &str) -> Response {
    set(&mut response, SESSION, secret, None);
    response
}

/// Takes the session from the browser.
pub(crate) fn end_session(mut response: Response) -> Response {
    set(&mut response, SESSION, "", Some(0));
    response
}

fn set(response: &mut Response, name: &str, value: &str, seconds: Option<u64>) {
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let cookie = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret<String>> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let value = pairs.find_map(|(known, value)| (known.trim() == name).then(|| value.trim()))?;
    let secret = value.len() == SECRET_CHARACTERS
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    secret.then(|| Secret::new(value.to_owned()))
}

/// `Firefox on Linux`: enough for a person to know it again.
fn named(agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    // Each says that it is those below it too.
    let browser = find(&[
        ("Edg/", "Edge"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = find(&[
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) if agent.is_empty() => "unknown".to_owned(),
        (None, _) => agent.chars().filter(|c| !c.is_control()).take(NAME_CHARACTERS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_among_others_and_only_if_it_is_a_secret() {
        let secret = "A".repeat(43);
        let mut headers = HeaderMap::new();
        let line = format!("a=b; {SESSION}={secret}; {BROWSER}=short");
        headers.insert(header::COOKIE, HeaderValue::from_str(&line).unwrap());
        let browser = Browser::of(&Method::GET, &headers).unwrap();
        assert_eq!(browser.session.unwrap().expose(), &secret);
        assert!(browser.new && browser.secret.expose().len() == 43);
    }

    #[test]
    fn cookies_are_of_this_host_only_and_out_of_reach_of_scripts() {
        let response = begin_session(Response::default(), "s");
        assert_eq!(
            response.headers()[header::SET_COOKIE],
            "__Host-portcullis-session=s; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_browser_is_named_so_that_its_person_knows_it_again() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/150.0.0.0 Safari/537.36";
        assert_eq!(named(chrome), "Chrome on Linux");
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36 Edg/149.0.0.0";
        assert_eq!(named(edge), "Edge on Windows");
        assert_eq!(named("curl/8.5"), "curl/8.5");
        assert_eq!(named(""), "unknown");
    }
}
