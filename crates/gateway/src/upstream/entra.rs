//! Entra access tokens of the gateway's own managed identity, from the instance metadata service of the machine that it
//! runs on (Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access
//! token"): what Azure Database takes in place of a password.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Timestamp, code};
use runtime::Secret;
use serde::Deserialize;
use serde_json::Value;

use crate::outcome::Denied;

/// For whom tokens are: Azure Database for PostgreSQL, MySQL and MariaDB.
const RESOURCE: &str = "https%3A%2F%2Fossrdbms-aad.database.windows.net";
/// A token that ends sooner is not used for another login.
const RENEW_BEFORE: Duration = Duration::from_mins(5);
/// No token lives longer.
const LIVES_MAX: Duration = Duration::from_hours(24);
/// The service answers from the machine itself.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 * 1_024;

/// Tokens that are still good, by client id.
#[derive(Debug)]
pub(super) struct Tokens {
    service: String,
    known: Mutex<BTreeMap<String, Token>>,
    /// One asks, the others wait for what it hears.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Token {
    value: Secret<Vec<u8>>,
    expires_at: Timestamp,
}

/// Numbers are numbers or texts, whichever service answers.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<Value>,
    expires_on: Option<Value>,
}

impl Tokens {
    pub(super) fn new(service: &str) -> Self {
        let service = service.trim_end_matches('/').to_owned();
        Self { service, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// A token of the identity, at least five minutes good; the former one as long as the service does not answer.
    pub(super) async fn get(
        &self,
        client_id: Option<&str>,
        now: Timestamp,
    ) -> Result<Secret<Vec<u8>>, Denied> {
        let identity = client_id.unwrap_or_default();
        if let Some(known) = self.known_until(identity, now.plus(RENEW_BEFORE)) {
            return Ok(known);
        }
        let _turn = self.turn.lock().await;
        if let Some(known) = self.known_until(identity, now.plus(RENEW_BEFORE)) {
            return Ok(known);
        }
        match self.fetch(client_id, now).await {
            Ok(token) => {
                let value = token.value.clone();
                self.lock().insert(identity.to_owned(), token);
                Ok(value)
            }
            Err(cause) => {
                let Some(known) = self.known_until(identity, now) else {
                    let message = "the gateway's managed identity gets no token";
                    return Err(Denied::new(&code::UPSTREAM_CREDENTIAL, message).because(cause));
                };
                tracing::warn!(
                    cause,
                    "the managed identity's token could not be renewed; the former one is used"
                );
                Ok(known)
            }
        }
    }

    /// What is known of the identity, if it is good beyond this instant.
    fn known_until(&self, identity: &str, at: Timestamp) -> Option<Secret<Vec<u8>>> {
        let known = self.lock();
        known.get(identity).filter(|known| at < known.expires_at).map(|known| known.value.clone())
    }

    async fn fetch(&self, client_id: Option<&str>, now: Timestamp) -> Result<Token, String> {
        let mut address = format!(
            "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={RESOURCE}",
            self.service
        );
        if let Some(client_id) = client_id {
            address.push_str("&client_id=");
            address.push_str(client_id);
        }
        let asked = tokio::task::spawn_blocking(move || ask(&address)).await;
        asked.map_err(|error| error.to_string())?.and_then(|answer| token(answer, now))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Token>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask(address: &str) -> Result<Answer, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWERED_WITHIN))
        // A proxy of the environment's is no part of the machine.
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .into();
    let asked = agent.get(address).header("Metadata", "true").call();
    let mut answered = asked.map_err(|error| error.to_string())?;
    let status = answered.status();
    let body = answered.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    if !status.is_success() {
        let said = body.read_to_string().unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
        return Err(format!("the instance metadata service answered {status}: {said}"));
    }
    // What the error would quote may be the token.
    let read = body.read_json();
    read.map_err(|_| "the instance metadata service's answer is not as documented".to_owned())
}

fn token(answer: Answer, now: Timestamp) -> Result<Token, String> {
    let number = |value: &Option<Value>| match value {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let Answer { access_token, expires_in, expires_on } = answer;
    let value = Secret::new(access_token.into_bytes());
    let expires_at = match (number(&expires_in), number(&expires_on)) {
        (Some(seconds), _) => now.plus(Duration::from_secs(seconds).min(LIVES_MAX)),
        (None, Some(at)) => {
            Timestamp::from_seconds(i64::try_from(at).unwrap_or(i64::MAX)).min(now.plus(LIVES_MAX))
        }
        (None, None) => return Err("the token's end is not told".to_owned()),
    };
    if value.expose().is_empty() {
        return Err("the token is empty".to_owned());
    }
    Ok(Token { value, expires_at })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

    fn read(answer: Value) -> Result<(Vec<u8>, Timestamp), String> {
        let token = token(serde_json::from_value(answer).unwrap(), NOW)?;
        Ok((token.value.expose().clone(), token.expires_at))
    }

    #[test]
    fn both_ways_to_tell_an_end_are_read_as_number_or_text() {
        let ends = NOW.plus(Duration::from_hours(1));
        for end in [
            json!({"access_token": "t", "expires_in": "3600"}),
            json!({"access_token": "t", "expires_in": 3600, "expires_on": "1"}),
            json!({"access_token": "t", "expires_on": (1_795_000_000 + 3_600).to_string()}),
        ] {
            assert_eq!(read(end), Ok((b"t".to_vec(), ends)));
        }
        assert!(read(json!({"access_token": "t"})).is_err());
        assert!(read(json!({"access_token": "", "expires_in": 1})).is_err());
        let day = NOW.plus(LIVES_MAX);
        assert_eq!(
            read(json!({"access_token": "t", "expires_on": u64::MAX})),
            Ok((b"t".to_vec(), day))
        );
    }

    #[tokio::test]
    async fn a_token_is_used_until_its_end_when_no_newer_one_is_to_be_had() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tokens = Tokens::new(&format!("http://{closed}"));
        let ends = NOW.plus(Duration::from_mins(4));
        let token = Token { value: b"t".to_vec().into(), expires_at: ends };
        tokens.lock().insert(String::new(), token);
        assert_eq!(tokens.get(None, NOW).await.unwrap().expose(), b"t");
        assert_eq!(tokens.get(None, ends).await.unwrap_err().refusal.code.id, "PC1308");
    }
}
