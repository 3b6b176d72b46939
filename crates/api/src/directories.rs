//! Credentials of directories that push people and groups.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use control::Release;
use model::{Lifetime, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::authenticate::Authenticated;
use crate::body::{Asked, Json};
use crate::problem::Problem;
use crate::scim;

/// What the credential should be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Wanted {
    name: String,
    lifetime: Lifetime,
}

/// A credential, shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    name: String,
    token: String,
    expires_at: Timestamp,
    /// What directories ask for as the tenant's URL.
    base: String,
}

/// A credential, as it may be shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Known {
    name: String,
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    items: Vec<Known>,
}

/// What becomes of the directory's people and groups.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Removal {
    #[serde(default)]
    release: bool,
}

pub(crate) async fn add(
    State(api): State<Api>,
    caller: Authenticated,
    Json(Wanted { name, lifetime }): Json<Wanted>,
) -> Result<Answer<Made>, Problem> {
    let made = api.control.add_scim_credential(&caller.caller, name.clone(), lifetime).await;
    let (token, expires_at) = made?;
    Ok(Answer(Made { name, token: token.expose().clone(), expires_at, base: scim::base(&api) }))
}

pub(crate) async fn list(
    State(api): State<Api>,
    caller: Authenticated,
) -> Result<Answer<List>, Problem> {
    let known = api.control.scim_credentials(&caller.caller)?;
    let shown =
        |control::Known { name, created_at, expires_at }| Known { name, created_at, expires_at };
    Ok(Answer(List { items: known.into_iter().map(shown).collect() }))
}

pub(crate) async fn remove(
    State(api): State<Api>,
    caller: Authenticated,
    Path(name): Path<String>,
    Asked(Removal { release }): Asked<Removal>,
) -> Result<StatusCode, Problem> {
    let release = if release { Release::Yes } else { Release::No };
    api.control.remove_scim_credential(&caller.caller, name, release).await?;
    Ok(StatusCode::NO_CONTENT)
}
