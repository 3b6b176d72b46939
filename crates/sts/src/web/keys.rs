//! One's own keys: passkeys and an authenticator are added, named and removed, and the last one stays.

use access::webauthn::{self, Ceremony};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::{
    BrowserSession, Enrolment, Passkey, Passkeys, RefreshFamily, SignInState, end_families,
};
use control::{Verb, Writing};
use model::event::Outcome;
use model::{PrincipalId, Refusal, code};
use runtime::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::account::{Held, account_flow, end_browser, posted_by_owner, posted_fresh, shown};
use super::factors::{challenge, challenged, field, relying_party, spend};
use super::sign_in::{base64, empty};
use super::{
    Chooser, Flow, Page, Refused, Session, Visit, chooser, escaped, failure_page, hidden,
    refusal_page, sentence, unavailable, when,
};
use crate::authorize::revocation;
use crate::failure::Failure;
use crate::sealed::Validity;
use crate::sign_in::outcome;

/// Of one person; more would be a way to fill the store.
const PASSKEYS_MAX: usize = 20;
const NAME_CHARACTERS_MAX: usize = 40;
const SETUP_PURPOSE: &str = "authenticator setup";
const ISSUER: &str = "Portcullis";

/// A seed that waits for its first code. It travels with the person's own page, sealed, and is kept only when the code
/// shows that an authenticator has it.
#[derive(Serialize, Deserialize)]
struct Setup {
    principal: PrincipalId,
    seed: String,
    #[serde(flatten)]
    validity: Validity,
}

/// The account page's part on keys.
pub(super) fn section(visit: &Visit, held: &Held, thread: &str) -> String {
    let rows: String = held.passkeys.keys.iter().map(|key| row(key, thread)).collect();
    let table = if rows.is_empty() {
        "<p>You have no passkey yet.</p>".to_owned()
    } else {
        format!(
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Passkey</th><th scope=\"col\">Added</th>\
             <th scope=\"col\">Last used</th><td></td></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    };
    let authenticator = match &held.enrolment {
        Some(enrolment) => format!(
            "<p>Set up {}{}.</p><div class=\"both\">{}{}</div>",
            when(enrolment.enrolled_at),
            if enrolment.public_key.is_some() {
                ", together with a machine of the command line"
            } else {
                ""
            },
            small(thread, "/account/authenticator", "Set up anew"),
            small(thread, "/account/authenticator/remove", "Remove"),
        ),
        None => format!(
            "<p>Not set up.</p>{}",
            small(thread, "/account/authenticator", "Set up an authenticator")
        ),
    };
    format!(
        "<h2>Passkeys</h2>{table}{}<h2>Authenticator</h2>\
         <p class=\"soft\">Its codes count in browsers in which you have used a passkey or a pass, and on the command \
         line.</p>{authenticator}",
        adding(visit, held, thread).unwrap_or_default()
    )
}

fn small(thread: &str, action: &str, text: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\">{thread}<button class=\"second\">{text}</button></form>"
    )
}

fn row(key: &Passkey, thread: &str) -> String {
    let id = hidden("id", &key.id.to_string());
    let name = escaped(&key.name);
    let place = if key.backed_up { "synchronised" } else { "on one device" };
    format!(
        "<tr><td><form class=\"inline\" method=\"post\" action=\"/account/passkeys/name\">{thread}{id}\
         <input type=\"text\" name=\"name\" value=\"{name}\" maxlength=\"{NAME_CHARACTERS_MAX}\" \
          aria-label=\"Name of this passkey\" required>\
         <button class=\"second small\">Rename</button></form><span class=\"soft\">{place}</span></td>\
         <td>{}</td><td>{}</td>\
         <td><form method=\"post\" action=\"/account/passkeys/remove\">{thread}{id}\
         <button class=\"second small\" aria-label=\"Remove {name}\">Remove</button></form></td></tr>",
        when(key.added_at),
        key.used_at.map_or_else(|| "never".to_owned(), when),
    )
}

/// The form that has an authenticator make a key.
fn adding(visit: &Visit, held: &Held, thread: &str) -> Option<String> {
    let session = visit.session.as_ref()?;
    adding_for(visit, session, held, thread).ok()
}

fn adding_for(
    visit: &Visit,
    session: &Session,
    held: &Held,
    thread: &str,
) -> Result<String, Failure> {
    let challenge = challenge(visit)?;
    let known: Vec<_> = held
        .passkeys
        .keys
        .iter()
        .map(|key| json!({ "type": "public-key", "id": key.credential }))
        .collect();
    let algorithms = webauthn::ALGORITHMS.map(|alg| json!({ "type": "public-key", "alg": alg }));
    let options = json!({
        "challenge": base64(challenge.as_bytes()),
        "rp": { "id": relying_party(visit.service.origin()), "name": ISSUER },
        "user": {
            "id": base64(session.principal().0.as_bytes()),
            "name": session.user.name(),
            "displayName": session.user.spec.display_name,
        },
        "pubKeyCredParams": algorithms,
        "authenticatorSelection": { "residentKey": "required", "userVerification": "required" },
        "attestation": "none",
        "excludeCredentials": known,
        "timeout": 300_000,
    });
    Ok(format!(
        "<form method=\"post\" action=\"/account/passkeys\" data-passkey=\"create\" data-options=\"{}\">\
         {thread}{}{}\
         <label for=\"key-name\">Name of the new passkey</label>\
         <input type=\"text\" id=\"key-name\" name=\"name\" value=\"{}\" maxlength=\"{NAME_CHARACTERS_MAX}\">\
         <p class=\"bad\" role=\"alert\" hidden></p><button hidden>Add a passkey</button>\
         <noscript><p class=\"soft\">Passkeys need JavaScript.</p></noscript></form>",
        escaped(&options.to_string()),
        hidden("challenge", &challenge),
        empty(&["client_data", "authenticator_data"]),
        escaped(&visit.browser.name),
    ))
}

/// The page that a Temporary Access Pass opens.
pub(super) fn enrolment(visit: &Visit, session: &Session, flow: &Flow) -> Response {
    // The session is newer than the visit when the pass has just been used.
    let made = Held::of(visit, session.principal()).and_then(|held| {
        let thread = hidden("flow", &flow.clone().of(visit, session).sealed(visit)?);
        Ok(format!(
            "<p>You are <strong>{}</strong>, by your pass. Add a key within 15 minutes; then sign in with it.</p>{}\
             <details><summary>Use an authenticator app instead</summary>\
             <p class=\"soft\">Its codes count in this browser, in which you have used the pass.</p>{}</details>",
            escaped(session.user.name()),
            adding_for(visit, session, &held, &thread)?,
            small(&thread, "/account/authenticator", "Set up an authenticator"),
        ))
    });
    match made {
        Ok(body) => visit.answer(Page::new("Set up your sign-in", body)),
        Err(failure) => failure_page(&failure),
    }
}

/// After a change: those who are signed in see their account, those who came with a pass sign in.
fn after(visit: &Visit, session: &Session, flow: Flow, done: &str) -> Response {
    if session.enrols_only() {
        return chooser(visit, &flow.again(visit), &Chooser::done(format!("{done} Now sign in.")));
    }
    shown(visit, session, Some(done))
}

/// One change of a person's keys, with its record, in one write.
async fn change<F>(
    visit: &Visit,
    session: &Session,
    step: &'static str,
    work: F,
) -> Result<(), Refusal>
where
    F: FnOnce(&mut Writing<'_, '_>, PrincipalId) -> Result<Result<(), Refusal>, Refusal>
        + Send
        + 'static,
{
    let (person, key) = (session.principal(), session.key.clone());
    let event = |result: Outcome| visit.event(step, session.actor(), None, result);
    let succeeded = event(Outcome::Succeeded);
    let refused = |refusal: &Refusal| event(outcome(refusal));
    let gone = Refusal::new(&code::FORM_STALE, "your session has ended");
    let written =
        visit.service.state.control.system(Verb::SignIn, person.to_string(), move |writing| {
            if writing.record::<BrowserSession>(&key)?.is_none() {
                return Ok(Err(gone));
            }
            let result = work(writing, person)?;
            if result.is_ok() {
                writing.note(succeeded);
            }
            Ok(result)
        });
    let result = written.await?.value;
    if let Err(refusal) = &result {
        let recorded = visit.service.record(refused(refusal)).await;
        recorded.map_err(|_| unavailable())?;
    }
    result
}

/// `POST /account/passkeys`.
pub(super) async fn add_passkey(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    const STEP: &str = "addPasskey";
    let (posted, session) = match posted_fresh(&visit, body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let origin = visit.service.origin();
    let unusable = |why: &str| {
        let refusal = Refusal::new(&code::KEY_UNUSABLE, why);
        Refused::new(STEP, session.actor(), refusal)
    };
    let Some((challenge, expires_at)) = challenged(&visit, &posted.form) else {
        let refused = unusable("the page was open for too long");
        return refusal_page(&visit.refuse(refused).await);
    };
    let ceremony =
        Ceremony { origin, relying_party: relying_party(origin), challenge: challenge.as_bytes() };
    let (data, authenticator) =
        (field(&posted.form, "client_data"), field(&posted.form, "authenticator_data"));
    let registered = webauthn::registered(
        &ceremony,
        &data.unwrap_or_default(),
        &authenticator.unwrap_or_default(),
    );
    let registered = match registered {
        Ok(registered) => registered,
        Err(error) => {
            let refused = unusable(&error.to_string());
            return refusal_page(&visit.refuse(refused).await);
        }
    };
    let key = Passkey {
        id: Uuid::new_v4(),
        name: named(posted.form.get("name"), &visit.browser.name),
        credential: URL_SAFE_NO_PAD.encode(&registered.credential),
        public_key: URL_SAFE_NO_PAD.encode(&registered.public_key),
        sign_count: registered.sign_count,
        backed_up: registered.backed_up,
        added_at: visit.now,
        used_at: None,
    };
    let challenge = challenge.to_owned();
    let added = change(&visit, session, STEP, move |writing, person| {
        let mut known = writing.record::<Passkeys>(&person.to_string())?.unwrap_or_default();
        let unused = spend(writing, (&challenge, expires_at))?;
        let twin = known.keys.iter().any(|it| it.credential == key.credential);
        if !unused || twin || known.keys.len() >= PASSKEYS_MAX {
            let message = if twin { "it is one of yours already" } else { "you have too many" };
            return Ok(Err(Refusal::new(&code::KEY_UNUSABLE, message)));
        }
        known.keys.push(key);
        writing.put_record(&person.to_string(), &known, None)?;
        Ok(Ok(()))
    });
    match added.await {
        Ok(()) => after(&visit, session, posted.flow, "The passkey was added."),
        Err(refusal) => refusal_page(&refusal),
    }
}

fn named(name: Option<&str>, otherwise: &str) -> String {
    let kept: String = name
        .unwrap_or(otherwise)
        .chars()
        .filter(|c| !c.is_control())
        .take(NAME_CHARACTERS_MAX)
        .collect();
    let kept = kept.trim();
    if kept.is_empty() { "Passkey".to_owned() } else { kept.to_owned() }
}

/// `POST /account/passkeys/name`.
pub(super) async fn name_passkey(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let (posted, session) = match posted_by_owner(&visit, body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let id = posted.form.get("id").and_then(|id| id.parse::<Uuid>().ok()).unwrap_or_default();
    let name = named(posted.form.get("name"), "Passkey");
    let changed = change(&visit, session, "namePasskey", move |writing, person| {
        let mut known = writing.record::<Passkeys>(&person.to_string())?.unwrap_or_default();
        let Some(key) = known.keys.iter_mut().find(|key| key.id == id) else {
            return Ok(Err(missing()));
        };
        key.name = name;
        writing.put_record(&person.to_string(), &known, None)?;
        Ok(Ok(()))
    });
    match changed.await {
        Ok(()) => after(&visit, session, posted.flow, "The passkey has its new name."),
        Err(refusal) => refusal_page(&refusal),
    }
}

fn missing() -> Refusal {
    Refusal::new(&code::NOT_FOUND, "you have no such key")
}

fn last() -> Refusal {
    Refusal::new(&code::LAST_FACTOR, "without it you could not sign in any more")
}

/// `POST /account/passkeys/remove`: what was opened with it ends.
pub(super) async fn remove_passkey(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let (posted, session) = match posted_by_owner(&visit, body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let id = posted.form.get("id").and_then(|id| id.parse::<Uuid>().ok()).unwrap_or_default();
    let own = session.record.id;
    let removed = change(&visit, session, "removePasskey", move |writing, person| {
        let mut known = writing.record::<Passkeys>(&person.to_string())?.unwrap_or_default();
        if !known.keys.iter().any(|key| key.id == id) {
            return Ok(Err(missing()));
        }
        known.keys.retain(|key| key.id != id);
        let other = writing.record::<Enrolment>(&person.to_string())?.is_some();
        if known.keys.is_empty() && !other {
            return Ok(Err(last()));
        }
        writing.put_record(&person.to_string(), &known, None)?;
        for (_, it) in writing.records::<BrowserSession>()? {
            if it.principal == person && it.passkey == Some(id) && it.id != own {
                end_browser(writing, person, it.id)?;
            }
        }
        Ok(Ok(()))
    });
    match removed.await {
        Ok(()) => {
            let done = "The passkey was removed; what was signed in with it elsewhere has ended.";
            after(&visit, session, posted.flow, done)
        }
        Err(refusal) => refusal_page(&refusal),
    }
}

/// `POST /account/authenticator`: a seed to put into an app.
pub(super) async fn show_authenticator(
    visit: Visit,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (posted, session) = match posted_fresh(&visit, body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let seed = match keys::totp::seed() {
        Ok(seed) => seed,
        Err(error) => return failure_page(&crate::service::keys_failed(&error)),
    };
    match setting_up(&visit, session, posted.flow, (&seed, None)) {
        Ok(page) => visit.answer(page),
        Err(failure) => failure_page(&failure),
    }
}

fn setting_up(
    visit: &Visit,
    session: &Session,
    flow: Flow,
    (seed, bad): (&Secret<Vec<u8>>, Option<&Refusal>),
) -> Result<Page, Failure> {
    let validity = Validity { expires_at: visit.now.plus(super::session::FRESH) };
    let secret = keys::totp::base32(seed.expose());
    let setup = Setup { principal: session.principal(), seed: secret.clone(), validity };
    let setup = visit.service.sealer.seal(SETUP_PURPOSE, &setup);
    let setup = setup.ok_or_else(crate::service::unavailable)?;
    let thread = hidden("flow", &flow.again(visit).sealed(visit)?);
    let uri = keys::totp::provisioning_uri(ISSUER, session.user.name(), seed.expose());
    let groups: Vec<String> = secret
        .as_bytes()
        .chunks(4)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    let bad = bad.map(|refusal| {
        let text = format!("{} ({})", sentence(&refusal.message), refusal.code.id);
        format!("<p class=\"bad\" role=\"alert\">{}</p>", escaped(&text))
    });
    let body = format!(
        "<p>Put this secret into your authenticator app, or \
         <a href=\"{}\">open the app on this device</a>.</p>\
         <p><span class=\"secret\">{}</span></p>{}\
         <form method=\"post\" action=\"/account/authenticator/confirm\">{thread}{}\
         <label for=\"otp\">The code that the app shows now</label>\
         <input type=\"text\" class=\"code\" id=\"otp\" name=\"otp\" inputmode=\"numeric\" \
          autocomplete=\"one-time-code\" maxlength=\"7\" required>\
         <button>Confirm</button></form>",
        escaped(&uri),
        escaped(&groups.join(" ")),
        bad.unwrap_or_default(),
        hidden("setup", &setup),
    );
    Ok(Page::new("Set up an authenticator", body))
}

/// `POST /account/authenticator/confirm`.
pub(super) async fn confirm_authenticator(
    visit: Visit,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (posted, session) = match posted_fresh(&visit, body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let setup = posted.form.get("setup").and_then(|text| {
        let setup: Setup = visit.service.sealer.open(SETUP_PURPOSE, text)?;
        let own = setup.principal == session.principal() && setup.validity.holds(visit.now);
        keys::totp::from_base32(&setup.seed).ok().filter(|_| own)
    });
    let Some(seed) = setup else {
        return refusal_page(&Refusal::new(&code::FORM_STALE, "the page was open for too long"));
    };
    let code = posted.form.get("otp").unwrap_or_default().replace(' ', "");
    let Some(step) = keys::totp::verify(seed.expose(), &code, visit.now, None) else {
        let refused = Refused::new("addAuthenticator", session.actor(), crate::sign_in::failed());
        let refusal = visit.refuse(refused).await;
        return match setting_up(&visit, session, posted.flow, (&seed, Some(&refusal))) {
            Ok(page) => visit.answer(page),
            Err(failure) => failure_page(&failure),
        };
    };
    let keyring = visit.service.state.keyring.clone();
    let kept = change(&visit, session, "addAuthenticator", move |writing, person| {
        let (key, now) = (person.to_string(), writing.now());
        let before = writing.record::<Enrolment>(&key)?;
        let sealed_at = writing.revision().0;
        let sealed = keyring.seal_seed(person, sealed_at, seed.expose())?;
        let enrolment = Enrolment {
            public_key: before.as_ref().and_then(|before| before.public_key.clone()),
            sealed_seed: URL_SAFE_NO_PAD.encode(sealed),
            sealed_at,
            enrolled_at: before.map_or(now, |before| before.enrolled_at),
        };
        writing.put_record(&key, &enrolment, None)?;
        let state = SignInState { last_step: Some(step), ..SignInState::default() };
        writing.put_record(&key, &state, None)?;
        Ok(Ok(()))
    });
    match kept.await {
        Ok(()) => {
            let done = "The authenticator is set up. Its next code signs you in.";
            after(&visit, session, posted.flow, done)
        }
        Err(refusal) => refusal_page(&refusal),
    }
}

/// `POST /account/authenticator/remove`: the command line's machine goes with it, which needs its codes.
pub(super) async fn remove_authenticator(
    visit: Visit,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (_, session) = match posted_by_owner(&visit, body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let removed = change(&visit, session, "removeAuthenticator", move |writing, person| {
        let key = person.to_string();
        if writing.record::<Enrolment>(&key)?.is_none() {
            return Ok(Err(missing()));
        }
        if writing.record::<Passkeys>(&key)?.is_none_or(|known| known.keys.is_empty()) {
            return Ok(Err(last()));
        }
        writing.delete_record::<Enrolment>(&key)?;
        writing.delete_record::<SignInState>(&key)?;
        let now = writing.now();
        for (_, family) in writing.records::<RefreshFamily>()? {
            if family.principal == person && family.methods.iter().any(|method| method == "otp") {
                end_families(writing, family.session)?;
                writing.put(revocation(family.session, now, "its authenticator was removed"))?;
            }
        }
        Ok(Ok(()))
    });
    match removed.await {
        Ok(()) => after(&visit, session, account_flow(&visit), "The authenticator was removed."),
        Err(refusal) => refusal_page(&refusal),
    }
}
