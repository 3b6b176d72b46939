//! The client's side: HTTPS to an installation, the sign-in of a person on this machine, tokens for databases, and what
//! hands them over: `connect` starts a client, `proxy` serves those that know no tokens.
//!
//! Files under `PORTCULLIS_HOME` are the store of keys and tokens: servers and containers have no keyring. No secret
//! stands in an argument, a log line or an error.
#![forbid(unsafe_code)]

pub mod agent;
mod authenticator;
mod connect;
mod connection;
mod device_key;
mod error;
mod home;
mod installation;
pub mod proxy;
mod sign_in;
mod tokens;
mod workload;

use model::{ServerName, Timestamp};
use runtime::{Environment, Secret};
use serde::Deserialize;
use serde_json::json;

pub use authenticator::Authenticator;
pub use connect::Invocation;
pub use connection::{Connection, connection};
pub use device_key::DeviceKey;
pub use error::ClientError;
pub use home::Home;
pub use installation::{Answer, Installation, Sent, refusal_in_line};
pub use sign_in::{DeviceRequest, Enrolled, Machine, SignedIn, Verdict};
pub use tokens::{Token, account};
pub use ureq::http::Method;

use workload::Workload;

/// Audience of database tokens.
const DATABASE_AUDIENCE: &str = "https://ossrdbms-aad.database.windows.net";

/// Audience of tokens for Portcullis' own API.
const CONTROL_AUDIENCE: &str = "api://portcullis";

/// A token for Portcullis' own API, of the signed-in person.
pub fn control_token(
    installation: &Installation,
    home: &Home,
    now: Timestamp,
) -> Result<Token, ClientError> {
    tokens::of_person(installation, home, (CONTROL_AUDIENCE, None), now)
}

/// A token for Portcullis' own API, of the workload that the environment describes, else of the signed-in person.
pub fn own_control_token(
    environment: &Environment,
    now: Timestamp,
) -> Result<(Installation, Token), ClientError> {
    own_token(environment, (CONTROL_AUDIENCE, None), now)
}

/// A database token, and where it came from: of the workload that the environment describes, else of the signed-in
/// person.
pub fn database_token(
    environment: &Environment,
    now: Timestamp,
) -> Result<(Installation, Token), ClientError> {
    own_token(environment, (DATABASE_AUDIENCE, None), now)
}

/// A database token in place of one that the gateway no longer takes.
pub fn database_token_instead_of(
    refused: &Token,
    environment: &Environment,
    now: Timestamp,
) -> Result<(Installation, Token), ClientError> {
    own_token(environment, (DATABASE_AUDIENCE, Some(refused)), now)
}

/// For an audience, and not the one that was refused.
fn own_token(
    environment: &Environment,
    (audience, refused): (&str, Option<&Token>),
    now: Timestamp,
) -> Result<(Installation, Token), ClientError> {
    let authority = environment.ca.as_deref();
    if let Some(workload) = Workload::of(environment)? {
        let host = workload::authority(environment)?.or_else(|| environment.url.clone());
        let installation = Installation::new(host.as_deref(), authority)?;
        // Asked for afresh each time: none is kept that could have been refused.
        let token = workload.token(&installation, audience, now)?;
        return Ok((installation, token));
    }
    let installation = Installation::new(environment.url.as_deref(), authority)?;
    let home = Home::open(environment.home.as_deref(), installation.origin())?;
    let token = tokens::of_person(&installation, &home, (audience, refused), now)?;
    Ok((installation, token))
}

/// A handle: at most 100 characters that stand for a database token, until it dies.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handle {
    /// `pct_…`.
    pub handle: Secret<String>,
    /// Dead at this instant.
    pub expires_at: Timestamp,
}

/// Exchanges a database token for a handle, good for one server or for all.
pub fn handle(
    installation: &Installation,
    token: &Token,
    server: Option<&ServerName>,
) -> Result<Handle, ClientError> {
    let body = json!({ "server": server });
    let sent = Sent { body: Some(&body), token: Some(&token.text) };
    installation.call(&Method::POST, "/signin/v1/handle", sent)
}
