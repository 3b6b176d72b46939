//! The ways to sign in, each one write: what was shown is checked and used up, the session begins, the record is on disk.

use std::time::Duration;

use access::webauthn::{self, Assertion, Ceremony};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::{
    BrowserSession, Enrolment, Hash, Passkey, Passkeys, PastSignIn, SignInHistory, TrustedBrowser,
    Used, trusted_browser_key,
};
use control::{Verb, Writing};
use model::event::{Actor, EventBody, Outcome};
use model::kind::user::User;
use model::{Document, Principal, PrincipalId, Refusal, Timestamp, UserName};
use runtime::Secret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::session::{Opened, Opening, PASS};
use super::{Flow, Next, Refused, Session, Visit};
use crate::client;
use crate::failure::Failure;
use crate::form::Form;
use crate::sealed::Validity;
use crate::service::{store_failed, unavailable};
use crate::sign_in::{failed, outcome, pass as passes, proof};

/// How long an authenticator may take.
const CHALLENGE: Duration = Duration::from_mins(10);
const PURPOSE: &str = "passkey challenge";

/// A challenge, which is its own seal: nothing is stored until one comes back signed.
#[derive(Serialize, Deserialize)]
struct Challenge {
    browser: String,
    nonce: Uuid,
    #[serde(flatten)]
    validity: Validity,
}

/// Draws a challenge for this browser.
pub(super) fn challenge(visit: &Visit) -> Result<String, Failure> {
    let challenge = Challenge {
        browser: visit.browser.binding(),
        nonce: Uuid::new_v4(),
        validity: Validity { expires_at: visit.now.plus(CHALLENGE) },
    };
    visit.service.sealer.seal(PURPOSE, &challenge).ok_or_else(unavailable)
}

/// A challenge that came back: this browser's, in time. Whether it was used is for the write to find out.
pub(super) fn challenged<'f>(visit: &Visit, form: &'f Form) -> Option<(&'f str, Timestamp)> {
    let text = form.get("challenge")?;
    let challenge: Challenge = visit.service.sealer.open(PURPOSE, text)?;
    let counts =
        challenge.browser == visit.browser.binding() && challenge.validity.holds(visit.now);
    counts.then_some((text, challenge.validity.expires_at))
}

/// Uses a challenge up; whether it was unused.
pub(super) fn spend(
    writing: &mut Writing<'_, '_>,
    (challenge, expires_at): (&str, Timestamp),
) -> Result<bool, Refusal> {
    let key = Hash::of(format!("passkey challenge {challenge}").as_bytes());
    if writing.record::<Used>(key.as_str())?.is_some() {
        return Ok(false);
    }
    let used = Used { at: writing.now() };
    writing.put_record(key.as_str(), &used, Some(expires_at))?;
    Ok(true)
}

/// The host that passkeys are for.
pub(super) fn relying_party(origin: &str) -> &str {
    let host = origin.strip_prefix("https://").unwrap_or(origin);
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

/// Binary fields of a form.
pub(super) fn field(form: &Form, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(form.get(name)?).ok()
}

/// What every way below leaves behind.
struct Trace {
    actor: Actor,
    succeeded: EventBody,
    past: PastSignIn,
}

impl Trace {
    fn new(visit: &Visit, flow: &Flow, step: &'static str, user: &Document<User>) -> Self {
        let client = program(visit, flow);
        let actor = Actor::from(&Principal::user(user));
        Self {
            succeeded: visit.event(step, actor.clone(), client.clone(), Outcome::Succeeded),
            actor,
            past: PastSignIn {
                at: visit.now,
                source: visit.asker.source,
                browser: visit.browser.name.clone(),
                how: step.to_owned(),
                client,
            },
        }
    }

    /// The record and the person's own history, in the same write.
    fn leave<T>(
        self,
        writing: &mut Writing<'_, '_>,
        person: PrincipalId,
        result: &Result<T, Refusal>,
    ) -> Result<(), Refusal> {
        let mut history = writing.record::<SignInHistory>(&person.to_string())?.unwrap_or_default();
        match result {
            Ok(_) => history.add(self.past),
            Err(_) => history.add_refused(self.past),
        }
        writing.put_record(&person.to_string(), &history, None)?;
        writing.note(match (result, self.succeeded) {
            (Err(refusal), EventBody::SignIn { source, step, client, .. }) => {
                // They have not proved who they are.
                let (actor, outcome) = (Actor::claimed(self.actor.name), outcome(refusal));
                EventBody::SignIn { actor, source, step, client, outcome }
            }
            (_, event) => event,
        });
        Ok(())
    }
}

/// The program that the person signs in for, by name.
pub(super) fn program(visit: &Visit, flow: &Flow) -> Option<String> {
    match &flow.next {
        Next::Program(request) => Some(client::name(request.client, &visit.snapshot)),
        Next::Device(_) | Next::Account => None,
    }
}

/// Runs the write of a sign-in; the new session and its cookie.
async fn open<W>(
    visit: &Visit,
    trace: Trace,
    user: &Document<User>,
    work: W,
) -> Result<(Session, Secret<String>), Refused>
where
    W: FnOnce(&mut Writing<'_, '_>, &Opened) -> Result<Result<Opening, Refusal>, Refusal>
        + Send
        + 'static,
{
    let opened = Opened::of(visit)?;
    let secret = opened.secret.clone();
    let principal = PrincipalId(user.uid());
    let written =
        visit.service.state.control.system(Verb::SignIn, principal.to_string(), move |writing| {
            // The snapshot may be older than this write.
            let enabled = writing.state().users.by_uid(principal.0).map(|user| user.spec.enabled);
            let result = match enabled {
                Some(true) => work(writing, &opened)?,
                Some(false) | None => Err(failed()),
            };
            let result = match result {
                Ok(opening) => Ok(opened.write(writing, opening)?),
                Err(refusal) => Err(refusal),
            };
            trace.leave(writing, principal, &result)?;
            Ok(result)
        });
    let record: BrowserSession =
        written.await.map_err(Refused::recorded)?.value.map_err(Refused::recorded)?;
    let key = super::browser::session_key(secret.expose());
    let user = visit.snapshot.users.by_uid(principal.0).cloned();
    let user = user.ok_or_else(|| Refused::recorded(failed()))?;
    Ok((Session { key, record, user }, secret))
}

/// A passkey: whose it is, it says itself.
pub(super) async fn passkey(
    visit: &Visit,
    flow: &Flow,
    form: &Form,
) -> Result<(Session, Secret<String>), Refused> {
    const STEP: &str = "passkey";
    let unknown = || Refused::new(STEP, Actor::claimed("passkey"), failed());
    let (challenge, expires_at) = challenged(visit, form).ok_or_else(unknown)?;
    let handle = field(form, "user_handle").and_then(|handle| Uuid::from_slice(&handle).ok());
    let user = handle.and_then(|id| visit.snapshot.users.by_uid(id)).ok_or_else(unknown)?;
    let id = PrincipalId(user.uid()).to_string();
    let known = visit.service.store().read(|reader| reader.record::<Passkeys>(&id));
    let credential = form.get("credential").unwrap_or_default();
    let keys = known.map_err(store_failed)?.unwrap_or_default().keys;
    let key = keys.into_iter().find(|key| key.credential == credential).ok_or_else(unknown)?;
    let asserted = verify(visit, form, challenge, &key).map_err(|error| {
        let message = format!("{}: {error}", failed().message);
        Refused::new(STEP, Actor::claimed(user.name()), Refusal { message, ..failed() })
    })?;
    let trace = Trace::new(visit, flow, STEP, user);
    let copied = copied(visit, &trace.actor, &key);
    let challenge = challenge.to_owned();
    open(visit, trace, user, move |writing, opened| {
        if !spend(writing, (&challenge, expires_at))? {
            return Ok(Err(failed()));
        }
        let mut known = writing.record::<Passkeys>(&id)?.unwrap_or_default();
        let now = writing.now();
        let Some(found) = known.keys.iter_mut().find(|known| known.id == key.id) else {
            return Ok(Err(failed()));
        };
        // A counter that does not grow is the original's, or the copy's (§6.1.1).
        let counts = asserted.sign_count > 0 || found.sign_count > 0;
        if counts && asserted.sign_count <= found.sign_count {
            writing.note(copied);
            return Ok(Err(failed()));
        }
        found.sign_count = asserted.sign_count;
        found.backed_up = asserted.backed_up;
        found.used_at = Some(now);
        writing.put_record(&id, &known, None)?;
        let principal = PrincipalId(id.parse().unwrap_or_default());
        opened.trust(writing, principal)?;
        let methods = ["fido", "pop", "mfa"].map(str::to_owned).to_vec();
        Ok(Ok(Opening { principal, methods, passkey: Some(key.id) }))
    })
    .await
}

fn verify(
    visit: &Visit,
    form: &Form,
    challenge: &str,
    key: &Passkey,
) -> Result<webauthn::Asserted, webauthn::WebAuthnError> {
    let malformed = webauthn::WebAuthnError::Malformed;
    let origin = visit.service.origin();
    let ceremony =
        Ceremony { origin, relying_party: relying_party(origin), challenge: challenge.as_bytes() };
    let assertion = Assertion {
        client_data: &field(form, "client_data").ok_or(malformed)?,
        authenticator_data: &field(form, "authenticator_data").ok_or(malformed)?,
        signature: &field(form, "signature").ok_or(malformed)?,
    };
    let public_key = URL_SAFE_NO_PAD.decode(&key.public_key).map_err(|_| malformed)?;
    webauthn::asserted(&ceremony, &assertion, &public_key)
}

fn copied(visit: &Visit, actor: &Actor, key: &Passkey) -> EventBody {
    EventBody::Alert {
        actor: actor.clone(),
        source: Some(visit.asker.source),
        alert: "passkeyCopied".to_owned(),
        message: format!(
            "the counter of the passkey `{}` went back, so it was copied; the sign-in was refused",
            key.name
        ),
    }
}

/// A code of the person's authenticator, in a browser that has been theirs before. Wrong codes are counted only there, so
/// nobody can lock a stranger out; everything else that is wrong gets one answer.
pub(super) async fn authenticator(
    visit: &Visit,
    flow: &Flow,
    form: &Form,
) -> Result<(Session, Secret<String>), Refused> {
    const STEP: &str = "authenticator";
    let user = named(visit, form, STEP).await?;
    let principal = PrincipalId(user.uid());
    let code = Secret::new(form.get("otp").unwrap_or_default().replace(' ', ""));
    let browser = trusted_browser_key(visit.browser.secret.expose(), principal);
    let keyring = visit.service.state.keyring.clone();
    let trace = Trace::new(visit, flow, STEP, user);
    open(visit, trace, user, move |writing, _| {
        let trusted = writing.record::<TrustedBrowser>(browser.as_str())?;
        let enrolment = writing.record::<Enrolment>(&principal.to_string())?;
        let (Some(_), Some(enrolment)) = (trusted, enrolment) else {
            return Ok(Err(failed()));
        };
        let right = proof::authenticator(writing, (principal, &enrolment), &code, &keyring)?;
        let methods = ["otp", "mfa"].map(str::to_owned).to_vec();
        Ok(right.map(|()| Opening { principal, methods, passkey: None }))
    })
    .await
}

/// A Temporary Access Pass: it opens the page on which keys are added, and nothing else.
pub(super) async fn pass(
    visit: &Visit,
    flow: &Flow,
    form: &Form,
) -> Result<(Session, Secret<String>), Refused> {
    const STEP: &str = "pass";
    let hash = Hash::of(form.get("pass").unwrap_or_default().trim().as_bytes());
    let user = named(visit, form, STEP).await?;
    let principal = PrincipalId(user.uid());
    let trace = Trace::new(visit, flow, STEP, user);
    open(visit, trace, user, move |writing, opened| {
        if !passes::spend(writing, Some(principal), &hash)? {
            return Ok(Err(failed()));
        }
        opened.trust(writing, principal)?;
        let methods = vec![PASS.to_owned()];
        Ok(Ok(Opening { principal, methods, passkey: None }))
    })
    .await
}

/// The enabled person under the name that was typed. For anyone else there is a write all the same, so that whether a
/// user exists does not show in the time that an answer takes.
async fn named<'v>(
    visit: &'v Visit,
    form: &Form,
    step: &'static str,
) -> Result<&'v Document<User>, Refused> {
    let typed = form.get("user").unwrap_or_default().trim();
    let name: Option<UserName> = typed.parse().ok();
    let user = name.and_then(|name| visit.snapshot.users.get(&name));
    if let Some(user) = user.filter(|user| user.spec.enabled) {
        return Ok(user);
    }
    let nobodys = Hash::of(typed.as_bytes());
    let work = move |writing: &mut Writing<'_, '_>| passes::spend(writing, None, &nobodys);
    let written = visit.service.state.control.system(Verb::SignIn, "nobody", work);
    written.await.map_err(Refused::recorded)?;
    let claimed: String = typed.chars().take(100).collect();
    Err(Refused::new(step, Actor::claimed(claimed), failed()))
}
