//! Authorization codes: opaque, kept as hashes, good for a minute and for one use. Who presents one a second time shows
//! that it was copied, and everything that it gave ends.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::{AuthorizationCode, BrowserSession, Hash, Program, end_families};
use control::{TOKEN_LIFETIME_MAX, Verb, Writing};
use model::event::{Actor, EventBody, Outcome};
use model::kind::revocation::{Revocation, RevokedTokens};
use model::{ApplicationId, Document, Refusal, Timestamp};
use uuid::Uuid;

use super::{Request, STEP};
use crate::client;
use crate::failure::{
    CODE_CLIENT, CODE_EXPIRED, CODE_USED, Failure, PKCE_MISSING, PKCE_WRONG, REDIRECT_OTHER,
};
use crate::form::Form;
use crate::refresh;
use crate::request::Asker;
use crate::service::{Service, keys_failed, store_failed};
use crate::web::{Session, Visit};

const PREFIX: &str = "pcc_";
const SECRET_BYTES: usize = 32;

/// How long a program may take from the redirect to the token endpoint.
const LIFETIME: Duration = Duration::from_mins(1);

/// A code is remembered this long after its end, so that a second use shows.
const MEMORY: Duration = Duration::from_hours(1);

/// Programs of one session that are remembered; the oldest is forgotten first.
const PROGRAMS_MAX: usize = 100;

/// Draws a code, and writes it down with the program that it is for.
pub(super) async fn issue(
    visit: &Visit,
    session: &Session,
    request: &Request,
) -> Result<String, Failure> {
    let secret = keys::random::<SECRET_BYTES>().map_err(|error| keys_failed(&error))?;
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let sign_in = Uuid::new_v4();
    let code = AuthorizationCode {
        client: request.client,
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        scope: request.scope.clone(),
        nonce: request.nonce.clone(),
        contexts: request.contexts.clone(),
        revocable: request.revocable,
        browser: session.key.clone(),
        principal: session.principal(),
        signed_in_at: session.record.signed_in_at,
        methods: session.record.methods.clone(),
        sign_in,
        expires_at: visit.now.plus(LIFETIME),
        used_at: None,
        replayed_at: None,
    };
    let program = Program { sign_in, client: request.client, at: visit.now };
    let name = client::name(request.client, &visit.snapshot);
    let event = visit.event(STEP, session.actor(), Some(name), Outcome::Succeeded);
    let key = Hash::of(text.as_bytes());
    let subject = session.principal().to_string();
    let written = visit.service.state.control.system(Verb::SignIn, subject, move |writing| {
        let session = writing.record::<BrowserSession>(&code.browser)?;
        let Some(mut session) = session.filter(|it| it.principal == code.principal) else {
            return Ok(false);
        };
        session.programs.push(program);
        if session.programs.len() > PROGRAMS_MAX {
            session.programs.remove(0);
        }
        writing.put_record(&code.browser, &session, Some(session.expires_at))?;
        writing.put_record(key.as_str(), &code, Some(code.expires_at.plus(MEMORY)))?;
        writing.note(event);
        Ok(true)
    });
    if written.await.map_err(store_failed)?.value {
        Ok(text)
    } else {
        // It was ended in this very moment.
        Err(Failure::new(&crate::failure::LOGIN_NEEDED, "The session was ended. Sign in again."))
    }
}

/// What a program presents.
#[derive(Clone, Debug)]
pub(crate) struct Redeemed {
    key: Hash,
    client: ApplicationId,
    redirect_uri: String,
    code_verifier: Option<String>,
    source: IpAddr,
}

impl Redeemed {
    /// Reads it from the form of a client that has proved itself.
    pub(crate) fn read(form: &Form, client: ApplicationId, asker: &Asker) -> Result<Self, Failure> {
        Ok(Self {
            key: Hash::of(form.required("code")?.as_bytes()),
            client,
            redirect_uri: form.required("redirect_uri")?.to_owned(),
            code_verifier: form.get("code_verifier").map(str::to_owned),
            source: asker.source,
        })
    }

    /// Whether the code was given to whoever presents it. Its own use and time are looked at apart.
    fn check(&self, code: &AuthorizationCode) -> Result<(), Failure> {
        if code.client != self.client {
            let message = "The authorization code was issued to another client.";
            return Err(Failure::new(&CODE_CLIENT, message));
        }
        if code.redirect_uri != self.redirect_uri {
            return Err(Failure::new(
                &REDIRECT_OTHER,
                "The reply address does not match the reply address provided when requesting the authorization code.",
            ));
        }
        match (&code.code_challenge, &self.code_verifier) {
            (None, None) => Ok(()),
            (Some(_), None) => {
                let message = "The request must contain the following parameter: 'code_verifier'.";
                Err(Failure::new(&PKCE_MISSING, message))
            }
            // Someone took the challenge out of the request on its way (RFC 9700 §4.8.2).
            (None, Some(_)) => Err(Failure::new(
                &PKCE_WRONG,
                "There is a code_verifier, but the authorization request had no code_challenge.",
            )),
            (Some(challenge), Some(verifier)) if matches(challenge, verifier) => Ok(()),
            (Some(_), Some(_)) => Err(Failure::new(
                &PKCE_WRONG,
                "The code_verifier does not match the code_challenge supplied in the authorization request.",
            )),
        }
    }
}

/// RFC 7636 §4.6. Compared as hashes, in constant time.
fn matches(challenge: &str, verifier: &str) -> bool {
    let long_enough = (43..=128).contains(&verifier.len());
    let computed = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    long_enough && Hash::of(computed.as_bytes()) == Hash::of(challenge.as_bytes())
}

/// The code as it stands, if it may be redeemed. A second use is recorded, and ends what the first gave.
pub(crate) async fn peek(
    service: &Service,
    redeemed: &Redeemed,
) -> Result<AuthorizationCode, Failure> {
    let key = redeemed.key.clone();
    let found = service
        .store()
        .read(|reader| reader.record::<AuthorizationCode>(key.as_str()))
        .map_err(store_failed)?;
    let code = found.ok_or_else(expired)?;
    if code.used_at.is_some() {
        replayed(service, redeemed).await?;
        return Err(used());
    }
    redeemed.check(&code)?;
    if code.expires_at <= service.now() {
        return Err(expired());
    }
    Ok(code)
}

/// Uses the code up, in the write that issues its tokens.
pub(crate) fn redeem(
    writing: &mut Writing<'_, '_>,
    redeemed: &Redeemed,
) -> Result<Result<AuthorizationCode, Failure>, Refusal> {
    let Some(code) = writing.record::<AuthorizationCode>(redeemed.key.as_str())? else {
        return Ok(Err(expired()));
    };
    let now = writing.now();
    if code.used_at.is_some() {
        end(writing, redeemed, code)?;
        return Ok(Err(used()));
    }
    let signed_in = (code.signed_in_at, code.methods.as_slice());
    let ended = refresh::ended(writing, code.principal, signed_in)?;
    // Whoever signed out in between does not sign a program in.
    let gone = writing.record::<BrowserSession>(&code.browser)?.is_none();
    if let Some(dead) = ended.or(gone.then_some(refresh::Dead::Revoked)) {
        return Ok(Err(dead.failure()));
    }
    if code.expires_at <= now {
        return Ok(Err(expired()));
    }
    let used = AuthorizationCode { used_at: Some(now), ..code.clone() };
    writing.put_record(redeemed.key.as_str(), &used, Some(now.plus(MEMORY)))?;
    Ok(Ok(code))
}

async fn replayed(service: &Service, redeemed: &Redeemed) -> Result<(), Failure> {
    let redeemed = redeemed.clone();
    let written =
        service.state.control.system(
            Verb::SignIn,
            "AuthorizationCode",
            move |writing| match writing.record::<AuthorizationCode>(redeemed.key.as_str())? {
                Some(code) => end(writing, &redeemed, code),
                None => Ok(()),
            },
        );
    written.await.map(drop).map_err(store_failed)
}

/// Everything that the code gave, the first time that it comes back.
fn end(
    writing: &mut Writing<'_, '_>,
    redeemed: &Redeemed,
    code: AuthorizationCode,
) -> Result<(), Refusal> {
    if code.replayed_at.is_some() {
        return Ok(());
    }
    let now = writing.now();
    end_families(writing, code.sign_in)?;
    writing.put(revocation(code.sign_in, now, "its authorization code was used twice"))?;
    let alert = alert(writing, &code, redeemed.source);
    writing.note(alert);
    let code = AuthorizationCode { replayed_at: Some(now), ..code };
    Ok(writing.put_record(redeemed.key.as_str(), &code, Some(now.plus(MEMORY)))?)
}

/// Every token of one sign-in.
pub(crate) fn revocation(sign_in: Uuid, now: Timestamp, reason: &str) -> Document<Revocation> {
    Document::new(
        Uuid::new_v4().to_string(),
        Revocation {
            tokens: RevokedTokens::SignIn(sign_in),
            keep_until: now.plus(TOKEN_LIFETIME_MAX),
            reason: Some(reason.to_owned()),
        },
    )
}

fn alert(writing: &Writing<'_, '_>, code: &AuthorizationCode, source: IpAddr) -> EventBody {
    let person = writing.state().principal(code.principal);
    let client = client::name(code.client, writing.state());
    EventBody::Alert {
        actor: person.as_ref().map_or_else(|| Actor::claimed("unknown"), Actor::from),
        source: Some(source),
        alert: "authorizationCodeReused".to_owned(),
        message: format!(
            "an authorization code of `{client}` was presented twice, so it was copied; every token that it gave is revoked"
        ),
    }
}

fn expired() -> Failure {
    Failure::new(
        &CODE_EXPIRED,
        "The provided authorization code is not valid: it has expired, or was never issued. Sign in again.",
    )
}

fn used() -> Failure {
    Failure::new(
        &CODE_USED,
        "The authorization code was already redeemed. What it gave is revoked; sign in again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_matches_its_challenge() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(matches(challenge, verifier));
        assert!(!matches(challenge, challenge));
        assert!(!matches(verifier, verifier), "plain does not count");
        assert!(!matches(challenge, verifier.trim_end_matches('k')));
    }
}
