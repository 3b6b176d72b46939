//! The two factors: the signature by the machine's key, then the authenticator's code.

use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ParsedPublicKey, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use control::credentials::{Enrolment, SignInState, Used};
use control::{Keyring, Writing};
use model::event::{Actor, EventBody, Outcome};
use model::{Principal, PrincipalId, Refusal, UserName, code};
use runtime::Secret;
use serde::Deserialize;

use super::challenge::{self, Challenge};
use super::{Call, Refused, claimed, failed, outcome};
use crate::claims::SignedIn;
use crate::refresh::{self, Dead};
use crate::service::store_failed;

/// Wrong codes before the lock.
const FAILURES_MAX: u8 = 5;

/// How long no code counts after that.
const LOCK: Duration = Duration::from_mins(15);

/// `SubjectPublicKeyInfo` of an uncompressed P-256 point (RFC 5480): this, then 65 bytes.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_BYTES: usize = 65;

/// The generator of P-256: a public key whose private half is 1, so nobody would enrol it. Signatures of unknown users
/// are checked against it, and never count.
const NOBODYS_POINT: [u8; POINT_BYTES] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
    0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2,
    0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e,
    0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51,
    0xf5,
];

/// What a person presents.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proof {
    pub(super) user: UserName,
    challenge: String,
    /// base64url; DER or the two numbers, as the key's library has it.
    signature: String,
    code: Secret<String>,
}

/// The first factor holds: the machine's key signed the challenge.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) principal: Principal,
    challenge: Challenge,
    enrolment: Enrolment,
    code: Secret<String>,
}

/// Checks the first factor. Takes the same steps for users who do not exist.
pub(super) fn key(call: &Call<'_>, proof: Proof, step: &'static str) -> Result<Known, Refused> {
    let refuse = || Refused::new(step, claimed(&proof.user), failed());
    let service = call.service;
    let challenge = challenge::read(
        &service.sealer,
        (service.origin(), &proof.user),
        &proof.challenge,
        service.now(),
    )
    .ok_or_else(refuse)?;
    let user = call.snapshot.users.get(&proof.user);
    let id = user.map(|user| PrincipalId(user.uid()));
    let enrolment = service
        .store()
        .read(|reader| reader.record::<Enrolment>(&id.unwrap_or(NOBODY).to_string()))
        .map_err(|error| Refused::unreadable(unreadable(error)))?;
    let point = enrolment.as_ref().and_then(|enrolment| point(enrolment.public_key.as_deref()?));
    let signed =
        URL_SAFE_NO_PAD.decode(proof.signature.trim_end_matches('=')).is_ok_and(|signature| {
            verifies(&point.unwrap_or(NOBODYS_POINT), proof.challenge.as_bytes(), &signature)
        });
    let (Some(user), Some(enrolment), true) = (user, enrolment, signed && point.is_some()) else {
        return Err(refuse());
    };
    Ok(Known { principal: Principal::user(user), challenge, enrolment, code: proof.code })
}

const NOBODY: PrincipalId = PrincipalId(uuid::Uuid::nil());

fn unreadable(error: store::StoreError) -> Refusal {
    let _failure = store_failed(error);
    Refusal::new(&code::STORE_UNAVAILABLE, "the store cannot be read")
}

fn verifies(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let fixed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let der = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    if signature.len() == 64 {
        fixed.verify(message, signature).is_ok()
    } else {
        der.verify(message, signature).is_ok()
    }
}

/// The point of a P-256 public key in SubjectPublicKeyInfo, base64 of either alphabet; nothing if it is no such key, or
/// nobody's.
pub(super) fn point(public_key: &str) -> Option<[u8; POINT_BYTES]> {
    let text: String = public_key.chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    let spki = URL_SAFE_NO_PAD.decode(&text).or_else(|_| STANDARD.decode(padded(&text))).ok()?;
    let point: [u8; POINT_BYTES] = spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok()?;
    (point != NOBODYS_POINT).then_some(point)
}

/// The SubjectPublicKeyInfo of a point.
pub(super) fn spki(point: &[u8; POINT_BYTES]) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), point.as_slice()].concat()
}

fn padded(text: &str) -> String {
    let padding = (4 - text.len() % 4) % 4;
    format!("{text}{}", "=".repeat(padding))
}

/// Checks the second factor and uses up challenge and code, in a write. Wrong codes are counted here, and only here:
/// who does not hold the key cannot lock a person out.
pub(super) fn code(
    writing: &mut Writing<'_, '_>,
    known: &Known,
    keyring: &Keyring,
) -> Result<Result<SignedIn, Refusal>, Refusal> {
    let now = writing.now();
    let key = known.challenge.key();
    if writing.record::<Used>(key.as_str())?.is_some() {
        return Ok(Err(failed()));
    }
    writing.put_record(key.as_str(), &Used { at: now }, Some(known.challenge.expires_at))?;
    let id = known.principal.id.to_string();
    match refresh::ended(writing, known.principal.id, (now, &[]))? {
        None => {}
        Some(Dead::UserDisabled) => {
            let message = format!("`{}` is disabled", known.principal.name);
            return Ok(Err(Refusal::new(&code::PRINCIPAL_DISABLED, message)));
        }
        Some(_) => return Ok(Err(failed())),
    }
    if writing.record::<Enrolment>(&id)?.as_ref() != Some(&known.enrolment) {
        return Ok(Err(failed()));
    }
    let whose = (known.principal.id, &known.enrolment);
    let outcome = authenticator(writing, whose, &known.code, keyring)?;
    Ok(outcome.map(|()| SignedIn {
        at: now,
        methods: super::METHODS.map(str::to_owned).to_vec(),
        session: uuid::Uuid::new_v4(),
    }))
}

/// Checks the code of a person's authenticator and uses it up, or counts it. For those only who have shown something
/// else of the person's.
pub(crate) fn authenticator(
    writing: &mut Writing<'_, '_>,
    (person, enrolment): (PrincipalId, &Enrolment),
    code: &Secret<String>,
    keyring: &Keyring,
) -> Result<Result<(), Refusal>, Refusal> {
    let (id, now) = (person.to_string(), writing.now());
    let state = writing.record::<SignInState>(&id)?.unwrap_or_default();
    if state.locked_until.is_some_and(|until| now < until) {
        return Ok(Err(locked()));
    }
    let sealed = URL_SAFE_NO_PAD.decode(&enrolment.sealed_seed).unwrap_or_default();
    let seed = keyring.open_seed(person, enrolment.sealed_at, &sealed)?;
    let (state, outcome) = judge(state, &seed, code, now);
    writing.put_record(&id, &state, None)?;
    Ok(outcome)
}

fn judge(
    state: SignInState,
    seed: &Secret<Vec<u8>>,
    code: &Secret<String>,
    now: model::Timestamp,
) -> (SignInState, Result<(), Refusal>) {
    let digits = code.expose().trim();
    if let Some(step) = keys::totp::verify(seed.expose(), digits, now, state.last_step) {
        let fresh = SignInState { last_step: Some(step), failures: 0, locked_until: None };
        return (fresh, Ok(()));
    }
    // A code that is right but was used is nobody's guess: it is refused and not counted.
    if keys::totp::verify(seed.expose(), digits, now, None).is_some() {
        let message = "the code was used before; each counts once";
        return (state, Err(Refusal::new(&code::CODE_USED, message)));
    }
    let failures = state.failures.saturating_add(1);
    if failures < FAILURES_MAX {
        return (SignInState { failures, ..state }, Err(failed()));
    }
    let shut = SignInState { failures: 0, locked_until: Some(now.plus(LOCK)), ..state };
    (shut, Err(locked()))
}

fn locked() -> Refusal {
    Refusal::new(&code::SIGN_IN_LOCKED, "too many wrong codes; no code counts for 15 minutes")
}

/// The record of a sign-in whose key has proved itself.
pub(super) fn event(
    call: &Call<'_>,
    known: &Known,
    step: &str,
) -> impl Fn(&Result<SignedIn, Refusal>) -> EventBody + Send + 'static {
    let succeeded = call.event(step, Actor::from(&known.principal), Outcome::Succeeded);
    move |signed_in| match (signed_in, succeeded.clone()) {
        (Err(refusal), EventBody::SignIn { actor, source, step, client, .. }) => {
            EventBody::SignIn { actor, source, step, client, outcome: outcome(refusal) }
        }
        (_, event) => event,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    };
    use proptest::prelude::*;

    use super::*;

    fn written(point: &[u8]) -> Vec<u8> {
        [&SPKI_PREFIX, point].concat()
    }

    #[test]
    fn a_public_key_is_read_in_either_alphabet_and_only_on_the_curve() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let bytes = pair.public_key().as_ref();
        let expected: [u8; POINT_BYTES] = bytes.try_into().unwrap();
        for text in [STANDARD.encode(written(bytes)), URL_SAFE_NO_PAD.encode(written(bytes))] {
            assert_eq!(point(&text), Some(expected), "{text}");
        }
        let mut off = bytes.to_vec();
        off[64] ^= 1;
        for wrong in
            [written(&off), written(&NOBODYS_POINT), bytes.to_vec(), written(&bytes[..64]), vec![]]
        {
            assert_eq!(point(&STANDARD.encode(wrong)), None);
        }
    }

    #[test]
    fn both_forms_of_a_signature_verify_and_over_the_challenge_only() {
        for algorithm in [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_ASN1_SIGNING] {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let signature = pair.sign(&SystemRandom::new(), b"challenge").unwrap();
            let point = pair.public_key().as_ref();
            assert!(verifies(point, b"challenge", signature.as_ref()));
            assert!(!verifies(point, b"another", signature.as_ref()));
            assert!(!verifies(&NOBODYS_POINT, b"challenge", signature.as_ref()));
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_key(text in "\\PC{0,140}") {
            prop_assert_eq!(point(&text), None);
        }
    }
}
