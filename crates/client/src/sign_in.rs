//! Signing in without a browser: the machine's key signs a challenge, the authenticator gives a code.

use std::path::{Path, PathBuf};

use model::{Timestamp, UserName, code};
use runtime::{Clock, Secret};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::authenticator::{self, Authenticator};
use crate::device_key::DeviceKey;
use crate::home::{self, Home};
use crate::installation::{Installation, Sent};
use crate::tokens::{self, Answered};
use crate::{CONTROL_AUDIENCE, ClientError};

/// Codes tried before giving up: the present one, the next, and one after waiting.
const TRIES_MAX: usize = 4;

/// What a sign-in works with.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Where to.
    pub installation: &'a Installation,
    /// Where keys and tokens lie.
    pub home: &'a Home,
    /// The time.
    pub clock: &'a Clock,
}

/// What enrolment leaves with the person.
#[derive(Debug)]
pub struct Enrolled {
    /// Where the key lies.
    pub key_file: PathBuf,
    /// The TOTP secret in base32, to be shown once, or written to a file.
    pub totp_secret: Secret<String>,
    /// The same as an authenticator scans it.
    pub totp_uri: Secret<String>,
}

/// A sign-in that succeeded; its tokens are kept.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub user: UserName,
    /// Until when the first token counts; it renews itself.
    pub expires_at: Timestamp,
}

/// What a device asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRequest {
    /// The client's name.
    pub client: String,
    /// The address it asks from.
    pub address: String,
    /// When it asked.
    pub asked_at: Timestamp,
    /// What for.
    pub scope: String,
    ticket: Secret<String>,
}

/// What a person says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The device gets tokens of theirs.
    Approve,
    /// It does not.
    Deny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnrolAnswer {
    totp_seed: Secret<String>,
    totp_uri: Secret<String>,
}

#[derive(Deserialize)]
struct ChallengeAnswer {
    challenge: String,
}

impl Machine<'_> {
    /// Enrols a new key with a Temporary Access Pass. The former key of the person counts no longer, anywhere.
    pub fn enrol(
        &self,
        user: &UserName,
        pass: &Secret<String>,
        key_file: Option<&Path>,
    ) -> Result<Enrolled, ClientError> {
        let key_file = key_file.map_or_else(|| self.home.key_file(user), Path::to_owned);
        let key = DeviceKey::generate(user.clone())?;
        // First where it may fail without using the pass up.
        let waiting = key_file.with_extension("new");
        key.save(&waiting)?;
        let body = json!({ "user": user, "pass": pass.expose(), "publicKey": key.public_key()? });
        let enrolled: Result<EnrolAnswer, _> = self.post("/signin/v1/enrol", &body);
        let EnrolAnswer { totp_seed, totp_uri } = match enrolled {
            Ok(enrolled) => enrolled,
            Err(error) => {
                // Its enrolment failed: the key is worth nothing, and the error is what counts.
                let _removed = std::fs::remove_file(&waiting);
                return Err(error);
            }
        };
        std::fs::rename(&waiting, &key_file).map_err(home::file("write", &key_file))?;
        Ok(Enrolled { key_file, totp_secret: totp_seed, totp_uri })
    }

    /// Signs in and keeps the tokens.
    pub fn sign_in(
        &self,
        key: &DeviceKey,
        authenticator: &Authenticator,
    ) -> Result<SignedIn, ClientError> {
        let (answered, step): (Answered, _) =
            self.prove(key, authenticator, "/signin/v1/token", &json!({}))?;
        let now = self.clock.now();
        let user = key.user().clone();
        let expires_at = tokens::keep(self.home, &user, (CONTROL_AUDIENCE, answered), step, now)?;
        Ok(SignedIn { user, expires_at })
    }

    /// Signs in to look at what the device with this code asks for.
    pub fn device_request(
        &self,
        key: &DeviceKey,
        authenticator: &Authenticator,
        user_code: &str,
    ) -> Result<DeviceRequest, ClientError> {
        let more = json!({ "userCode": user_code });
        let (request, step) = self.prove(key, authenticator, "/signin/v1/device", &more)?;
        if let Some(step) = step {
            tokens::keep_step(self.home, key.user(), step)?;
        }
        Ok(request)
    }

    /// Says yes or no to it.
    pub fn decide(&self, request: &DeviceRequest, verdict: Verdict) -> Result<(), ClientError> {
        let approve = verdict == Verdict::Approve;
        let body = json!({ "ticket": request.ticket.expose(), "approve": approve });
        self.post::<Value>("/signin/v1/device", &body).map(drop)
    }

    /// Proves both factors to an endpoint; the step whose code counted. A code that was used before is followed by the
    /// next one, for which this waits.
    fn prove<T: serde::de::DeserializeOwned>(
        &self,
        key: &DeviceKey,
        authenticator: &Authenticator,
        path: &str,
        more: &Value,
    ) -> Result<(T, Option<u64>), ClientError> {
        let mut used = tokens::Kept::load(self.home, key.user())?.used_step;
        for _ in 1..TRIES_MAX {
            let (digits, step) = self.code(authenticator, used);
            match self.attempt(key, &digits, path, more) {
                Err(ClientError::Refused(refusal))
                    if refusal.code == &code::CODE_USED && step.is_some() =>
                {
                    used = step;
                }
                answered => return answered.map(|answer| (answer, step)),
            }
        }
        let (digits, step) = self.code(authenticator, used);
        self.attempt(key, &digits, path, more).map(|answer| (answer, step))
    }

    fn attempt<T: serde::de::DeserializeOwned>(
        &self,
        key: &DeviceKey,
        digits: &Secret<String>,
        path: &str,
        more: &Value,
    ) -> Result<T, ClientError> {
        let user = key.user();
        let ChallengeAnswer { challenge } =
            self.post("/signin/v1/challenge", &json!({ "user": user }))?;
        self.check(&challenge, user)?;
        let mut body = json!({
            "user": user,
            "challenge": challenge,
            "signature": key.sign(&challenge)?,
            "code": digits.expose(),
        });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        self.post(path, &body)
    }

    /// The challenge names the installation that made it: one that a third party passes on is not signed.
    fn check(&self, challenge: &str, user: &UserName) -> Result<(), ClientError> {
        let origin = self.installation.origin();
        if challenge.starts_with(&format!("portcullis-sign-in {origin} {user} ")) {
            return Ok(());
        }
        let named = challenge.split(' ').nth(1).unwrap_or_default().to_owned();
        if challenge.starts_with("portcullis-sign-in ") && named != origin {
            return Err(ClientError::OtherOrigin { origin: origin.to_owned(), named });
        }
        let reason = "its challenge is for someone else".to_owned();
        Err(ClientError::Unintelligible { origin: origin.to_owned(), reason })
    }

    /// The code to send, and its step when it is made here.
    fn code(
        &self,
        authenticator: &Authenticator,
        used: Option<u64>,
    ) -> (Secret<String>, Option<u64>) {
        match authenticator {
            Authenticator::Typed(digits) => (digits.clone(), None),
            Authenticator::Seed(seed) => {
                let (step, from) = authenticator::next_step(used, self.clock.now());
                wait_until(self.clock, from);
                (authenticator::code(seed, step), Some(step))
            }
        }
    }

    fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, ClientError> {
        self.installation.call(&Method::POST, path, Sent { body: Some(body), token: None })
    }
}

/// Waits on the command line, where there is nothing else to do: at most a minute, for the authenticator's next code.
#[expect(
    clippy::disallowed_methods,
    reason = "a command has one thread and nothing to do until the code counts"
)]
fn wait_until(clock: &Clock, at: Timestamp) {
    let wait = at.since(clock.now());
    if !wait.is_zero() {
        std::thread::sleep(wait.min(std::time::Duration::from_mins(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_of_another_installation_or_for_another_user_is_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("ca.pem");
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        std::fs::write(&authority, pem).unwrap();
        let installation =
            Installation::new(Some("https://sts.test:8443/"), Some(&authority)).unwrap();
        let home = Home::open(Some(folder.path()), installation.origin()).unwrap();
        let clock = Clock::system();
        let machine = Machine { installation: &installation, home: &home, clock: &clock };
        let ada: UserName = "ada@example.com".parse().unwrap();
        let check = |challenge: &str| machine.check(challenge, &ada).map_err(|e| e.to_string());
        assert_eq!(check("portcullis-sign-in https://sts.test:8443 ada@example.com x.y"), Ok(()));
        for (challenge, reason) in [
            (
                "portcullis-sign-in https://other.test ada@example.com x.y",
                "the installation calls itself `https://other.test`, but was reached as `https://sts.test:8443`",
            ),
            (
                "portcullis-sign-in https://sts.test:8443 eve@example.com x.y",
                "the answer of https://sts.test:8443 is not understood: its challenge is for someone else",
            ),
            (
                "something else",
                "the answer of https://sts.test:8443 is not understood: its challenge is for someone else",
            ),
        ] {
            assert_eq!(check(challenge), Err(reason.to_owned()), "{challenge}");
        }
    }
}
