//! Tokens of the signed-in person: kept in a file, renewed five minutes before they die.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Timestamp, UserName};
use runtime::Secret;
use serde::{Deserialize, Serialize};

use crate::home::{self, Home};
use crate::{ClientError, Installation};

/// A token that dies sooner than this is renewed first.
const AHEAD: Duration = Duration::from_mins(5);

/// The client id under which people sign in; every installation knows it.
const CLIENT: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

const TOKEN_PATH: &str = "/organizations/oauth2/v2.0/token";

/// A token, and until when it counts.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token.
    pub text: Secret<String>,
    /// Dead at this instant.
    pub expires_at: Timestamp,
    /// Whose it is: a user name, or a workload's client id.
    pub owner: String,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
pub(crate) struct Answered {
    pub(crate) access_token: Secret<String>,
    pub(crate) expires_in: u64,
    #[serde(default)]
    pub(crate) refresh_token: Option<Secret<String>>,
}

/// The file. Written as a whole under a lock.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    user: String,
    refresh_token: String,
    /// By audience.
    access: BTreeMap<String, KeptToken>,
    /// The authenticator's step that was used last.
    #[serde(default)]
    pub(crate) used_step: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptToken {
    token: String,
    expires_at: Timestamp,
}

impl Kept {
    pub(crate) fn load(home: &Home, user: &UserName) -> Result<Self, ClientError> {
        let path = home.tokens_file(user);
        let Some(text) = home::read(&path)? else { return Ok(Self::default()) };
        // A file that cannot be read is as good as none: signing in again writes a new one.
        Ok(serde_json::from_str::<Self>(text.expose())
            .ok()
            .filter(|kept| kept.user == user.as_str())
            .unwrap_or_default())
    }

    fn save(&self, home: &Home, user: &UserName) -> Result<(), ClientError> {
        let path = home.tokens_file(user);
        let text = serde_json::to_string(self)
            .map_err(|error| home::file("write", &path)(error.into()))?;
        home::write(&path, Secret::new(text).expose())
    }

    fn take(&mut self, audience: &str, answered: Answered, now: Timestamp) -> Timestamp {
        let expires_at = now.plus(Duration::from_secs(answered.expires_in));
        if let Some(refresh_token) = answered.refresh_token {
            self.refresh_token.clone_from(refresh_token.expose());
        }
        let token = answered.access_token.expose().clone();
        self.access.insert(audience.to_owned(), KeptToken { token, expires_at });
        expires_at
    }

    fn fresh(&self, audience: &str, now: Timestamp) -> Option<Token> {
        let kept = self.access.get(audience).filter(|kept| now.plus(AHEAD) < kept.expires_at)?;
        Some(Token {
            text: Secret::new(kept.token.clone()),
            expires_at: kept.expires_at,
            owner: self.user.clone(),
        })
    }
}

/// Keeps what a sign-in brought. Tokens of a former sign-in go.
pub(crate) fn keep(
    home: &Home,
    user: &UserName,
    (audience, answered): (&str, Answered),
    used_step: Option<u64>,
    now: Timestamp,
) -> Result<Timestamp, ClientError> {
    let _locked = home.lock()?;
    let mut kept = Kept { user: user.as_str().to_owned(), used_step, ..Kept::default() };
    let expires_at = kept.take(audience, answered, now);
    kept.save(home, user)?;
    home::write(&home.account_file(), user.as_str())?;
    Ok(expires_at)
}

/// Keeps which step of the authenticator was used, beside the tokens of a former sign-in.
pub(crate) fn keep_step(home: &Home, user: &UserName, step: u64) -> Result<(), ClientError> {
    let _locked = home.lock()?;
    let mut kept = Kept::load(home, user)?;
    user.as_str().clone_into(&mut kept.user);
    kept.used_step = Some(step);
    kept.save(home, user)
}

/// Who signed in last.
pub fn account(home: &Home) -> Result<Option<UserName>, ClientError> {
    let text = home::read(&home.account_file())?;
    Ok(text.and_then(|text| text.expose().trim().parse().ok()))
}

/// A token of the signed-in person for an audience: the one that is kept, unless it was refused, or a new one. Processes
/// that renew at the same time wait for one another, because a refresh token counts once.
pub(crate) fn of_person(
    installation: &Installation,
    home: &Home,
    (audience, refused): (&str, Option<&Token>),
    now: Timestamp,
) -> Result<Token, ClientError> {
    let counts = |kept: &Token| refused.is_none_or(|refused| refused.text != kept.text);
    let nobody = || ClientError::NotSignedIn { origin: installation.origin().to_owned() };
    let user = account(home)?.ok_or_else(nobody)?;
    if let Some(fresh) = Kept::load(home, &user)?.fresh(audience, now).filter(counts) {
        return Ok(fresh);
    }
    let _locked = home.lock()?;
    let mut kept = Kept::load(home, &user)?;
    if let Some(fresh) = kept.fresh(audience, now).filter(counts) {
        return Ok(fresh);
    }
    if kept.refresh_token.is_empty() {
        return Err(nobody());
    }
    let scope = format!("{audience}/.default offline_access openid profile");
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", kept.refresh_token.as_str()),
        ("scope", scope.as_str()),
    ];
    let answered = installation.form(TOKEN_PATH, &fields).map_err(|error| over(error, &user))?;
    let expires_at = kept.take(audience, answered, now);
    kept.save(home, &user)?;
    let kept = kept.access.remove(audience).ok_or_else(nobody)?;
    Ok(Token { text: Secret::new(kept.token), expires_at, owner: user.as_str().to_owned() })
}

fn over(error: ClientError, user: &UserName) -> ClientError {
    match error {
        ClientError::TokenRefused { error, description } if error == "invalid_grant" => {
            ClientError::SignInOver { user: user.as_str().to_owned(), reason: first(&description) }
        }
        other => other,
    }
}

/// The sentence before Entra's trailer of ids.
fn first(description: &str) -> String {
    let end = description.find(" Trace ID:").unwrap_or(description.len());
    description.get(..end).unwrap_or(description).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(token: &str, refresh_token: Option<&str>) -> Answered {
        Answered {
            access_token: Secret::new(token.to_owned()),
            expires_in: 3_600,
            refresh_token: refresh_token.map(|text| Secret::new(text.to_owned())),
        }
    }

    #[test]
    fn tokens_are_kept_by_account_and_audience_until_five_minutes_before_they_die() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(Some(root.path()), "https://sts.test").unwrap();
        let ada: UserName = "ada@example.com".parse().unwrap();
        let now = Timestamp::from_seconds(1_000_000);
        assert_eq!(account(&home).unwrap(), None);
        let expires_at =
            keep(&home, &ada, ("api://x", answered("a", Some("r"))), Some(7), now).unwrap();
        assert_eq!(expires_at, now.plus(Duration::from_hours(1)));
        assert_eq!(account(&home).unwrap(), Some(ada.clone()));
        let kept = Kept::load(&home, &ada).unwrap();
        assert_eq!((kept.refresh_token.as_str(), kept.used_step), ("r", Some(7)));
        let at = |seconds| {
            let fresh = kept.fresh("api://x", now.plus(Duration::from_secs(seconds)));
            fresh.map(|token| token.text.expose().clone())
        };
        assert_eq!(
            (at(0), at(3_299), at(3_300)),
            (Some("a".to_owned()), Some("a".to_owned()), None)
        );
        assert!(kept.fresh("api://y", now).is_none());
    }

    #[test]
    fn a_used_step_is_kept_beside_the_tokens() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(Some(root.path()), "https://sts.test").unwrap();
        let ada: UserName = "ada@example.com".parse().unwrap();
        let now = Timestamp::from_seconds(1_000_000);
        keep(&home, &ada, ("api://x", answered("a", Some("r"))), None, now).unwrap();
        keep_step(&home, &ada, 9).unwrap();
        let kept = Kept::load(&home, &ada).unwrap();
        assert_eq!((kept.used_step, kept.refresh_token.as_str()), (Some(9), "r"));
        assert!(kept.fresh("api://x", now).is_some());
    }

    #[test]
    fn the_reason_is_the_first_sentence_only() {
        let error = ClientError::TokenRefused {
            error: "invalid_grant".to_owned(),
            description: "AADSTS50173: revoked. Trace ID: 1 Correlation ID: 2".to_owned(),
        };
        let over = over(error, &"ada@example.com".parse().unwrap());
        assert_eq!(
            over.to_string(),
            "the sign-in of `ada@example.com` is over: AADSTS50173: revoked."
        );
    }
}
