//! What a browser signs people in with, and what it holds afterwards.

use std::net::IpAddr;

use model::{ApplicationId, PrincipalId, Refusal, Timestamp};
use serde::{Deserialize, Serialize};
use store::Record;
use uuid::Uuid;

use super::{Enrolment, Hash, RefreshFamily, SignInState};
use crate::write::Writing;

/// The passkeys of a person. Key: the user's object id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkeys {
    /// In the order in which they were added.
    pub keys: Vec<Passkey>,
}

/// One passkey (WebAuthn credential).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// Names it in forms.
    pub id: Uuid,
    /// What its person calls it.
    pub name: String,
    /// The credential's id, base64url without padding.
    pub credential: String,
    /// Its public key as the authenticator wrote it (COSE_Key), base64url without padding.
    pub public_key: String,
    /// The authenticator's counter at the last sign-in; 0 when it does not count.
    pub sign_count: u32,
    /// Whether it is kept in more than one place, as synchronised passkeys are.
    pub backed_up: bool,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it last signed someone in.
    #[serde(default)]
    pub used_at: Option<Timestamp>,
}

impl Record for Passkeys {
    const COLLECTION: &'static str = "passkeys";
}

/// A browser in which a person has signed in with a passkey or a Temporary Access Pass: only there do codes of their
/// authenticator count. Key: a hash of the browser's secret and the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedBrowser {
    /// Whose.
    pub principal: PrincipalId,
    /// As the browser names itself, in short.
    pub browser: String,
    /// Since when.
    pub added_at: Timestamp,
    /// Until when at most.
    pub expires_at: Timestamp,
}

impl Record for TrustedBrowser {
    const COLLECTION: &'static str = "trusted-browsers";
}

/// A browser in which a person is signed in. Key: the hash of its cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserSession {
    /// Names it in forms.
    pub id: Uuid,
    /// Who.
    pub principal: PrincipalId,
    /// When they last proved it.
    pub signed_in_at: Timestamp,
    /// How (`amr`).
    pub methods: Vec<String>,
    /// With which passkey.
    #[serde(default)]
    pub passkey: Option<Uuid>,
    /// From where.
    pub source: IpAddr,
    /// As the browser names itself, in short.
    pub browser: String,
    /// Dead at this instant.
    pub expires_at: Timestamp,
    /// What programs were given out of it.
    #[serde(default)]
    pub programs: Vec<Program>,
}

/// A program that was given tokens out of a browser's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// `sid` of all its tokens.
    pub sign_in: Uuid,
    /// Which.
    pub client: ApplicationId,
    /// When.
    pub at: Timestamp,
}

impl Record for BrowserSession {
    const COLLECTION: &'static str = "browser-sessions";
}

/// An authorization code. Key: its hash. It is remembered for a while after it was used, so that a second use shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationCode {
    /// For whom.
    pub client: ApplicationId,
    /// Where it was taken; redeemed with the same words only.
    pub redirect_uri: String,
    /// S256, as the client sent it.
    pub code_challenge: Option<String>,
    /// What was asked for.
    pub scope: String,
    /// For the id token.
    pub nonce: Option<String>,
    /// Authentication contexts that were asked for and hold.
    pub contexts: Vec<String>,
    /// Whether the client can be told that its token was revoked (`xms_cc`).
    pub revocable: bool,
    /// Key of the browser's session that it came from.
    pub browser: String,
    /// Whose.
    pub principal: PrincipalId,
    /// When they signed in.
    pub signed_in_at: Timestamp,
    /// How (`amr`).
    pub methods: Vec<String>,
    /// `sid` of the tokens that it gives.
    pub sign_in: Uuid,
    /// Dead at this instant.
    pub expires_at: Timestamp,
    /// When it was redeemed.
    #[serde(default)]
    pub used_at: Option<Timestamp>,
    /// When it was presented once more, and what it gave was ended.
    #[serde(default)]
    pub replayed_at: Option<Timestamp>,
}

impl Record for AuthorizationCode {
    const COLLECTION: &'static str = "authorization-codes";
}

/// What happened lately at a person's sign-ins, newest first. Key: the user's object id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInHistory {
    /// The newest that succeeded.
    pub succeeded: Vec<PastSignIn>,
    /// The newest that were refused: a stranger's tries do not push out what succeeded.
    pub refused: Vec<PastSignIn>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSignIn {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub source: IpAddr,
    /// As the browser or program names itself, in short.
    pub browser: String,
    /// How: `passkey`, `authenticator`, `pass`, `command line`.
    pub how: String,
    /// For which program.
    pub client: Option<String>,
}

/// Kept of each list.
const PAST_MAX: usize = 20;

impl SignInHistory {
    /// Adds one that succeeded.
    pub fn add(&mut self, past: PastSignIn) {
        push(&mut self.succeeded, past);
    }

    /// Adds one that was refused.
    pub fn add_refused(&mut self, past: PastSignIn) {
        push(&mut self.refused, past);
    }
}

fn push(list: &mut Vec<PastSignIn>, past: PastSignIn) {
    list.insert(0, past);
    list.truncate(PAST_MAX);
}

impl Record for SignInHistory {
    const COLLECTION: &'static str = "sign-in-histories";
}

/// Ends every sign-in of a principal, in browsers and in programs: no refresh token of theirs counts any more.
pub fn end_sign_ins(writing: &mut Writing<'_, '_>, principal: PrincipalId) -> Result<(), Refusal> {
    for (key, family) in writing.records::<RefreshFamily>()? {
        if family.principal == principal {
            writing.delete_record::<RefreshFamily>(&key)?;
        }
    }
    for (key, session) in writing.records::<BrowserSession>()? {
        if session.principal == principal {
            writing.delete_record::<BrowserSession>(&key)?;
        }
    }
    Ok(())
}

/// Ends the refresh tokens of one sign-in of a program; whether there were any.
pub fn end_families(writing: &mut Writing<'_, '_>, sign_in: Uuid) -> Result<bool, Refusal> {
    let mut found = false;
    for (key, family) in writing.records::<RefreshFamily>()? {
        if family.session == sign_in {
            writing.delete_record::<RefreshFamily>(&key)?;
            found = true;
        }
    }
    Ok(found)
}

/// Everything with which a person signs in.
pub(crate) fn forget_factors(
    writing: &mut Writing<'_, '_>,
    person: PrincipalId,
) -> Result<(), Refusal> {
    let key = person.to_string();
    writing.delete_record::<Enrolment>(&key)?;
    writing.delete_record::<SignInState>(&key)?;
    writing.delete_record::<Passkeys>(&key)?;
    writing.delete_record::<SignInHistory>(&key)?;
    for (key, browser) in writing.records::<TrustedBrowser>()? {
        if browser.principal == person {
            writing.delete_record::<TrustedBrowser>(&key)?;
        }
    }
    Ok(())
}

/// The key under which a browser is trusted for a person.
pub fn trusted_browser_key(secret: &str, person: PrincipalId) -> Hash {
    Hash::of(format!("trusted browser {person} {secret}").as_bytes())
}
