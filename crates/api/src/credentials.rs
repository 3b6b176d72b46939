//! Credentials that are shown once, and tokens that no longer count.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{ApplicationName, HostName, Lifetime, PrincipalId, Timestamp, TokenId, UserName};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::answer::Written;
use crate::authenticate::Authenticated;
use crate::body::Json;
use crate::problem::{Problem, invalid};

/// A Temporary Access Pass, shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pass {
    pass: String,
    expires_at: Timestamp,
}

pub(crate) async fn issue_pass(
    State(api): State<Api>,
    caller: Authenticated,
    Path(user): Path<UserName>,
) -> Result<Answer<Pass>, Problem> {
    let (pass, expires_at) = api.control.issue_pass(&caller.caller, user).await?;
    Ok(Answer(Pass { pass: pass.expose().clone(), expires_at }))
}

/// What a machine joins with, shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinToken {
    token: String,
    expires_at: Timestamp,
}

pub(crate) async fn issue_join_token(
    State(api): State<Api>,
    caller: Authenticated,
    Path(host): Path<HostName>,
) -> Result<Answer<JoinToken>, Problem> {
    let (token, expires_at) = api.control.issue_join_token(&caller.caller, host).await?;
    Ok(Answer(JoinToken { token: token.expose().clone(), expires_at }))
}

/// A client secret, shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientSecret {
    id: String,
    secret: String,
    expires_at: Timestamp,
}

/// What the secret should be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Wanted {
    lifetime: Lifetime,
}

pub(crate) async fn add_secret(
    State(api): State<Api>,
    caller: Authenticated,
    Path(application): Path<ApplicationName>,
    Json(Wanted { lifetime }): Json<Wanted>,
) -> Result<Answer<ClientSecret>, Problem> {
    let (id, secret, expires_at) =
        api.control.add_client_secret(&caller.caller, application, lifetime).await?;
    Ok(Answer(ClientSecret { id, secret: secret.expose().clone(), expires_at }))
}

pub(crate) async fn remove_secret(
    State(api): State<Api>,
    caller: Authenticated,
    Path((application, id)): Path<(ApplicationName, String)>,
) -> Result<StatusCode, Problem> {
    api.control.remove_client_secret(&caller.caller, application, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which tokens no longer count: one of the two.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Which {
    principal: Option<String>,
    token: Option<TokenId>,
    reason: Option<String>,
}

pub(crate) async fn revoke_tokens(
    State(api): State<Api>,
    caller: Authenticated,
    Json(which): Json<Which>,
) -> Result<Written<()>, Problem> {
    let tokens = match (which.principal, which.token) {
        (Some(name), None) => {
            let principal: PrincipalId = caller.principal_named(&name)?.id;
            control::Revoke::Principal(principal)
        }
        (None, Some(token)) => control::Revoke::Token(token),
        (None, None) | (Some(_), Some(_)) => {
            return Err(invalid("name either `principal` or `token`"));
        }
    };
    let done = api.control.revoke_tokens(&caller.caller, tokens, which.reason).await?;
    Ok(Written::from(done))
}
