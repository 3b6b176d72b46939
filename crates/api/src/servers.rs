//! What only the data path knows of database servers. It is injected, so that the API depends on no other door.

use std::fmt;
use std::pin::Pin;

use axum::Json as Answer;
use axum::extract::{Path, State};
use control::keyring::{RotatedAuthority, SigningRotation};
use control::{Caller, Verb, allowed};
use model::finding::Finding;
use model::{Refusal, ServerName, Timestamp, code};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Api;
use crate::authenticate::Authenticated;
use crate::body::Json;
use crate::problem::Problem;

/// What a trait object's method returns.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// An existing database user, and whose it becomes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adopt {
    /// Its name on the server.
    pub user: String,
    /// The person or workload.
    pub principal: String,
}

/// What the gateway does for the API.
pub trait DatabaseServers: fmt::Debug + Send + Sync {
    /// What an operator must change on the server, as `portcullis server enroll` understands it.
    fn enrollment<'a>(&'a self, server: &'a ServerName) -> Future<'a, Result<Value, Refusal>>;
    /// Takes an existing database user over. The caller has been authorised.
    fn adopt<'a>(
        &'a self,
        caller: &'a Caller,
        server: &'a ServerName,
        adopt: Adopt,
    ) -> Future<'a, Result<Value, Refusal>>;
    /// What is wrong with the installation and its servers, asked afresh.
    fn examine(&self) -> Future<'_, Vec<Finding>>;
}

/// What the doctor found, and the time here, for whoever compares clocks.
#[derive(Debug, Serialize)]
pub(crate) struct Examined {
    now: Timestamp,
    items: Vec<Finding>,
}

pub(crate) async fn doctor(
    State(api): State<Api>,
    caller: Authenticated,
) -> Result<Answer<Examined>, Problem> {
    authorise(&caller.caller, Verb::Diagnose, "ask for a diagnosis")?;
    let items = api.servers.examine().await;
    Ok(Answer(Examined { now: api.clock.now(), items }))
}

pub(crate) async fn enrollment(
    State(api): State<Api>,
    caller: Authenticated,
    Path(server): Path<ServerName>,
) -> Result<Answer<Value>, Problem> {
    authorise(&caller.caller, Verb::EnrollServer, "enroll servers")?;
    Ok(Answer(api.servers.enrollment(&server).await?))
}

pub(crate) async fn adopt(
    State(api): State<Api>,
    caller: Authenticated,
    Path(server): Path<ServerName>,
    Json(adopt): Json<Adopt>,
) -> Result<Answer<Value>, Problem> {
    authorise(&caller.caller, Verb::AdoptDatabaseUser, "adopt database users")?;
    Ok(Answer(api.servers.adopt(&caller.caller, &server, adopt).await?))
}

/// Whose authority takes a step of its rotation; the installation's own when no server is named.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Whose {
    server: Option<ServerName>,
}

pub(crate) async fn rotate_authority(
    State(api): State<Api>,
    caller: Authenticated,
    Json(Whose { server }): Json<Whose>,
) -> Result<Answer<RotatedAuthority>, Problem> {
    let rotated = api.keyring.rotate_authority(&caller.caller, server.as_ref()).await;
    Ok(Answer(rotated.map_err(Refusal::from)?))
}

/// How the next key that signs tokens takes over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rotation {
    #[serde(default)]
    at_once: bool,
}

/// The next key, and from when on it signs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NextKey {
    kid: String,
    signs_from: Timestamp,
}

pub(crate) async fn rotate_signing_key(
    State(api): State<Api>,
    caller: Authenticated,
    Json(Rotation { at_once }): Json<Rotation>,
) -> Result<Answer<NextKey>, Problem> {
    authorise(&caller.caller, Verb::RotateSigningKey, "rotate signing keys")?;
    let rotation = if at_once { SigningRotation::AtOnce } else { SigningRotation::Overlap };
    let rotated = api.keyring.rotate_signing_key(Some(&caller.caller), rotation).await;
    let (kid, signs_from) = rotated.map_err(Refusal::from)?;
    Ok(Answer(NextKey { kid, signs_from }))
}

/// Why a server is given up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GivenUp {
    reason: String,
}

/// Users that count as gone.
#[derive(Debug, Serialize)]
pub(crate) struct Abandoned {
    users: Vec<String>,
}

pub(crate) async fn abandon(
    State(api): State<Api>,
    caller: Authenticated,
    Path(server): Path<ServerName>,
    Json(GivenUp { reason }): Json<GivenUp>,
) -> Result<Answer<Abandoned>, Problem> {
    let users = api.control.abandon(&caller.caller, server, reason).await?;
    Ok(Answer(Abandoned { users }))
}

fn authorise(caller: &Caller, verb: Verb, what: &str) -> Result<(), Refusal> {
    if allowed(verb, caller.role) {
        return Ok(());
    }
    Err(Refusal::new(&code::FORBIDDEN, format!("role `{}` does not {what}", caller.role)))
}
