//! `/v1/activations`: asking for membership, and the steps that follow.

use access::activation::Ask;
use axum::Json as Answer;
use axum::extract::{Path, State};
use model::kind::activation::{Activation, Ticket};
use model::{ActivationId, Document, GroupName, Kind, Lifetime, Timestamp};
use serde::Deserialize;

use crate::Api;
use crate::answer::Written;
use crate::authenticate::Authenticated;
use crate::body::Json;
use crate::problem::Problem;
use crate::resources::{self, List};

/// The same as for every other kind; its address has a second method.
pub(crate) async fn list(api: State<Api>, caller: Authenticated) -> Result<Answer<List>, Problem> {
    let plural = Kind::Activation.plural().to_owned();
    resources::list(api, caller, Path(plural)).await
}

/// What someone asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    group: GroupName,
    duration: Option<Lifetime>,
    justification: Option<String>,
    ticket: Option<Ticket>,
    starts_at: Option<Timestamp>,
    /// The activation that is active now is to go on after its end.
    #[serde(default)]
    extend: bool,
}

pub(crate) async fn request(
    State(api): State<Api>,
    caller: Authenticated,
    Json(asked): Json<Asked>,
) -> Result<Written<Document<Activation>>, Problem> {
    let Asked { group, duration, justification, ticket, starts_at, extend } = asked;
    let user = caller.user()?;
    let extends = extend.then(|| api.control.active_of(&user, &group)).transpose()?;
    let ask = Ask { user, group, duration, justification, ticket, starts_at, extends };
    Ok(api.control.request(&caller.caller, ask).await?.into())
}

/// A step of an activation's life.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Step {
    Approve,
    Deny,
    Cancel,
    Deactivate,
    Revoke,
}

/// What is said to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Said {
    note: Option<String>,
}

pub(crate) async fn step(
    State(api): State<Api>,
    caller: Authenticated,
    Path((id, step)): Path<(ActivationId, Step)>,
    Json(Said { note }): Json<Said>,
) -> Result<Written<Document<Activation>>, Problem> {
    let (control, caller) = (&api.control, &caller.caller);
    let activation = match step {
        Step::Approve => control.approve(caller, id, note).await,
        Step::Deny => control.deny(caller, id, note).await,
        Step::Cancel => control.cancel(caller, id, note).await,
        Step::Deactivate => control.deactivate(caller, id, note).await,
        Step::Revoke => control.revoke(caller, id, note).await,
    };
    Ok(activation?.into())
}
