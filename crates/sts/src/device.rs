//! The device authorization endpoint (RFC 8628 §3.1), and what a person decides about it.

pub(crate) mod decision;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::Verb;
use control::credentials::{DeviceGrant, DeviceGrantState, Hash};
use keys::KeyError;
use model::event::{EventBody, Outcome};
use model::{Snapshot, Timestamp};
use serde::Serialize;

use crate::client::{self, Address, OneTime};
use crate::failure::{FORM_MALFORMED, Failure};
use crate::form::Form;
use crate::limits::Spending;
use crate::polls;
use crate::request::Asker;
use crate::scope::{self, Asking};
use crate::service::{Service, keys_failed, store_failed};
use crate::{respond, tenant, token};

/// How long a device waits for a person.
const LIFETIME: Duration = Duration::from_mins(15);

/// A code that is over is remembered this long, so that its end can be told apart from one that never was.
const MEMORY: Duration = Duration::from_mins(15);

/// No letter or digit that looks like another.
const ALPHABET: &[u8; 28] = b"BCDFGHJKLMNPQRSTVWXZ23456789";

const USER_CODE_CHARACTERS: usize = 8;

/// Scopes longer than this are refused: they are stored until a person decides.
const SCOPE_BYTES_MAX: usize = 1_000;

/// What the device keeps: the user code, which finds the request, and a secret, which proves that it is the device's.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceCode {
    text: String,
    user_code: String,
}

impl std::fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceCode({})", self.user_code)
    }
}

impl DeviceCode {
    fn random() -> Result<Self, KeyError> {
        let user_code = random_user_code()?;
        let secret = URL_SAFE_NO_PAD.encode(keys::random::<32>()?);
        Ok(Self { text: format!("{user_code}.{secret}"), user_code })
    }

    /// As a device presents it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (user_code, _secret) = text.split_once('.')?;
        (user_code.len() == USER_CODE_CHARACTERS)
            .then(|| Self { text: text.to_owned(), user_code: user_code.to_owned() })
    }

    pub(crate) fn user_code(&self) -> &str {
        &self.user_code
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash::of(self.text.as_bytes())
    }
}

fn random_user_code() -> Result<String, KeyError> {
    let mut code = String::with_capacity(USER_CODE_CHARACTERS);
    while code.len() < USER_CODE_CHARACTERS {
        for byte in keys::random::<16>()? {
            // 252 is the greatest multiple of 28 in a byte: every character is equally likely.
            let letter = ALPHABET.get(usize::from(byte % 28)).filter(|_| byte < 252);
            if let Some(letter) = letter.filter(|_| code.len() < USER_CODE_CHARACTERS) {
                code.push(char::from(*letter));
            }
        }
    }
    Ok(code)
}

/// A user code as a person may type it.
pub(crate) fn typed(user_code: &str) -> String {
    let kept = user_code.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_uppercase()).take(USER_CODE_CHARACTERS + 1).collect()
}

/// When a request is forgotten.
pub(crate) fn forgotten_at(expires_at: Timestamp) -> Timestamp {
    expires_at.plus(MEMORY)
}

#[derive(Serialize)]
struct Answer {
    user_code: String,
    device_code: String,
    verification_uri: String,
    expires_in: u64,
    interval: u64,
    message: String,
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`.
pub(crate) async fn authorization(
    State(service): State<Arc<Service>>,
    Path(segment): Path<String>,
    asker: Asker,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let begun = match service.admit(asker.source).and_then(|()| token::read(body)) {
        Ok(form) => {
            let begun = begin(&service, &segment, &asker, (&form, &headers)).await;
            if begun.is_err() {
                service.failed(asker.source);
            }
            begun
        }
        Err(failure) => Err(failure),
    };
    match begun {
        Ok(answer) => asker.echo(respond::json(StatusCode::OK, &answer)),
        Err(failure) => failure.respond(&asker, service.origin(), service.now()),
    }
}

async fn begin(
    service: &Service,
    segment: &str,
    asker: &Asker,
    (form, headers): (&Form, &HeaderMap),
) -> Result<Answer, Failure> {
    let snapshot = service.snapshot();
    let tenant = tenant::named(segment, &snapshot)?;
    let presented = client::presented(form, headers)?;
    let address = Address { tenant, segment };
    let (client, one_time) = client::authenticate(service, &presented, address, &snapshot).await?;
    let scope = form.get("scope").unwrap_or_default();
    if scope.len() > SCOPE_BYTES_MAX {
        return Err(Failure::new(&FORM_MALFORMED, "The scope is too long."));
    }
    scope::of_scope(Some(scope), Asking::Person)?;
    service.spend(asker.source, Spending::DeviceCode)?;
    let code = DeviceCode::random().map_err(|error| keys_failed(&error))?;
    let now = service.now();
    let grant = DeviceGrant {
        hash: code.hash(),
        client: client.id(),
        scope: scope.to_owned(),
        source: asker.source,
        asked_at: now,
        expires_at: now.plus(LIFETIME),
        state: DeviceGrantState::Pending,
    };
    keep(service, &code, grant, one_time, &snapshot).await?;
    Ok(answer(service.origin(), code))
}

/// Keeps the request, and spends the proof that counts once. A user code that another request has is not taken over.
async fn keep(
    service: &Service,
    code: &DeviceCode,
    grant: DeviceGrant,
    one_time: Option<OneTime>,
    snapshot: &Snapshot,
) -> Result<(), Failure> {
    let event = EventBody::SignIn {
        actor: client::actor(grant.client, snapshot),
        source: Some(grant.source),
        step: "deviceRequest".to_owned(),
        client: None,
        outcome: Outcome::Succeeded,
    };
    let user_code = code.user_code.clone();
    let written = service.state.control.system(Verb::SignIn, user_code.clone(), move |writing| {
        if writing.record::<DeviceGrant>(&user_code)?.is_some() {
            return Ok(Ok(false));
        }
        if let Some(one_time) = &one_time
            && let Err(replayed) = one_time.spend(writing)?
        {
            return Ok(Err(replayed));
        }
        let keep_until = forgotten_at(grant.expires_at);
        writing.put_record(&user_code, &grant, Some(keep_until))?;
        writing.note(event);
        Ok(Ok(true))
    });
    if written.await.map_err(store_failed)?.value? {
        return Ok(());
    }
    // One in 3·10^11 for each request that waits.
    Err(store_failed("two devices drew the same code"))
}

fn answer(origin: &str, code: DeviceCode) -> Answer {
    let verification_uri = format!("{origin}/device");
    // az prints this sentence, and scripts look for it.
    let message = format!(
        "To sign in, use a web browser to open the page {verification_uri} and enter the code {} to authenticate.",
        code.user_code
    );
    Answer {
        user_code: code.user_code,
        device_code: code.text,
        verification_uri,
        expires_in: LIFETIME.as_secs(),
        interval: polls::INTERVAL.as_secs(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_device_code_finds_its_request_by_the_user_code_and_proves_itself_by_the_rest() {
        let code = DeviceCode::random().unwrap();
        assert!(code.user_code.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(code.user_code.len(), 8);
        let read = DeviceCode::parse(&code.text).unwrap();
        assert_eq!((read.user_code(), read.hash()), (code.user_code(), code.hash()));
        let guessed = DeviceCode::parse(&format!("{}.guess", code.user_code)).unwrap();
        assert_ne!(guessed.hash(), code.hash());
    }

    #[test]
    fn people_may_type_the_code_with_dashes_spaces_and_small_letters() {
        assert_eq!(typed("bcdf-2345"), "BCDF2345");
        assert_eq!(typed(" BCDF 2345 "), "BCDF2345");
    }

    #[test]
    fn the_message_is_the_one_that_scripts_look_for() {
        let code = DeviceCode { text: "ABCD1234.x".to_owned(), user_code: "ABCD1234".to_owned() };
        assert_eq!(
            serde_json::to_value(answer("https://sts.test:8443", code)).unwrap(),
            serde_json::json!({
                "user_code": "ABCD1234", "device_code": "ABCD1234.x",
                "verification_uri": "https://sts.test:8443/device", "expires_in": 900, "interval": 5,
                "message": "To sign in, use a web browser to open the page https://sts.test:8443/device \
                            and enter the code ABCD1234 to authenticate.",
            })
        );
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(text in "\\PC{0,60}") {
            if let Some(code) = DeviceCode::parse(&text) {
                prop_assert_eq!(code.user_code().len(), 8);
            }
            prop_assert!(typed(&text).len() <= 9);
        }
    }
}
