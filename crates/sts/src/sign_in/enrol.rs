//! Enrolment: a Temporary Access Pass, once, for a machine's key and a new TOTP seed. What was enrolled before, and
//! every token that came of it, ends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::{Enrolment, Hash, SignInState};
use control::{Keyring, TOKEN_LIFETIME_MAX, Verb, Writing};
use model::event::{Actor, Outcome};
use model::kind::revocation::{Revocation, RevokedTokens};
use model::{Document, Principal, PrincipalId, Refusal, Timestamp, UserName, code};
use runtime::Secret;
use serde::{Deserialize, Serialize};

use super::{Call, Refused, claimed, failed, outcome, pass, proof};

const STEP: &str = "enrol";

/// What authenticator apps show beside the user's name.
pub(crate) const ISSUER: &str = "Portcullis";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ask {
    user: UserName,
    pass: Secret<String>,
    /// P-256, SubjectPublicKeyInfo, base64.
    public_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    totp_seed: String,
    totp_uri: String,
}

/// Whose pass was right, and what is enrolled with it.
struct Enrolling {
    principal: Option<Principal>,
    hash: Hash,
    public_key: String,
    seed: Secret<Vec<u8>>,
}

pub(super) async fn enrol(call: &Call<'_>, ask: Ask) -> Result<Answer, Refused> {
    let service = call.service;
    let Some(point) = proof::point(&ask.public_key) else {
        let message = "the public key is not a P-256 key in SubjectPublicKeyInfo (DER, base64)";
        let refusal = Refusal::new(&code::INVALID, message);
        return Err(Refused::new(STEP, claimed(&ask.user), refusal));
    };
    let user = call.snapshot.users.get(&ask.user).filter(|user| user.spec.enabled);
    let seed = keys::totp::seed().map_err(|error| Refused::unreadable(unmade(&error)))?;
    let answer = Answer {
        totp_seed: keys::totp::base32(seed.expose()),
        totp_uri: keys::totp::provisioning_uri(ISSUER, ask.user.as_str(), seed.expose()),
    };
    let enrolling = Enrolling {
        principal: user.map(|user| Principal::user(user)),
        hash: Hash::of(ask.pass.expose().trim().as_bytes()),
        public_key: URL_SAFE_NO_PAD.encode(proof::spki(&point)),
        seed,
    };
    let actor = enrolling.principal.as_ref().map_or_else(|| claimed(&ask.user), Actor::from);
    let succeeded = call.event(STEP, actor, Outcome::Succeeded);
    let name = ask.user.clone();
    let source = Some(call.asker.source);
    let keyring = service.state.keyring.clone();
    let subject = ask.user.to_string();
    let written = service.state.control.system(Verb::SignIn, subject, move |writing| {
        let enrolled = take(writing, &enrolling, &keyring)?;
        writing.note(match &enrolled {
            Ok(()) => succeeded,
            Err(refusal) => model::event::EventBody::SignIn {
                actor: claimed(&name),
                source,
                step: STEP.to_owned(),
                client: None,
                outcome: outcome(refusal),
            },
        });
        Ok(enrolled)
    });
    written.await.map_err(Refused::recorded)?.value.map_err(Refused::recorded)?;
    Ok(answer)
}

fn unmade(error: &keys::KeyError) -> Refusal {
    tracing::error!(%error, "an enrolment could not be made");
    Refusal::new(&code::INTERNAL, "the enrolment could not be made")
}

/// Uses the pass up and enrols, or counts the wrong try.
fn take(
    writing: &mut Writing<'_, '_>,
    enrolling: &Enrolling,
    keyring: &Keyring,
) -> Result<Result<(), Refusal>, Refusal> {
    let id = enrolling.principal.as_ref().map(|principal| principal.id);
    let (Some(id), true) = (id, pass::spend(writing, id, &enrolling.hash)?) else {
        return Ok(Err(failed()));
    };
    let (key, now) = (id.to_string(), writing.now());
    let before = writing.record::<Enrolment>(&key)?;
    let enrolment = seal(writing, enrolling, (id, keyring))?;
    writing.put_record(&key, &enrolment, None)?;
    writing.put_record(&key, &SignInState::default(), None)?;
    if before.is_some() {
        writing.put(revocation(id, now))?;
    }
    Ok(Ok(()))
}

fn seal(
    writing: &Writing<'_, '_>,
    enrolling: &Enrolling,
    (id, keyring): (PrincipalId, &Keyring),
) -> Result<Enrolment, Refusal> {
    let sealed_at = writing.revision().0;
    let sealed = keyring.seal_seed(id, sealed_at, enrolling.seed.expose())?;
    Ok(Enrolment {
        public_key: Some(enrolling.public_key.clone()),
        sealed_seed: URL_SAFE_NO_PAD.encode(sealed),
        sealed_at,
        enrolled_at: writing.now(),
    })
}

/// Ends every token of the former enrolment.
fn revocation(principal: PrincipalId, now: Timestamp) -> Document<Revocation> {
    Document::new(
        uuid::Uuid::new_v4().to_string(),
        Revocation {
            tokens: RevokedTokens::IssuedBefore { principal, before: now },
            keep_until: now.plus(TOKEN_LIFETIME_MAX),
            reason: Some("enrolled anew".to_owned()),
        },
    )
}
