//! `/v1/{plural}` and `/v1/{plural}/{name}`: documents as they are stored.

use axum::Json as Answer;
use axum::extract::{Path, State};
use model::{Kind, Refusal, Resource, code, suggest};
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::Api;
use crate::answer::Written;
use crate::authenticate::Authenticated;
use crate::body::Json;
use crate::problem::{Problem, invalid};

/// A list of documents.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    items: Vec<Resource>,
}

/// One document's address.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    kind: String,
    name: String,
}

pub(crate) async fn list(
    State(api): State<Api>,
    caller: Authenticated,
    Path(plural): Path<String>,
) -> Result<Answer<List>, Problem> {
    let items = api.control.list(&caller.caller, kind(&plural)?)?;
    Ok(Answer(List { items }))
}

pub(crate) async fn get(
    State(api): State<Api>,
    caller: Authenticated,
    Path(named): Path<Named>,
) -> Result<Answer<Resource>, Problem> {
    let kind = kind(&named.kind)?;
    Ok(Answer(api.control.get(&caller.caller, kind, &named.name)?))
}

pub(crate) async fn put(
    State(api): State<Api>,
    caller: Authenticated,
    Path(named): Path<Named>,
    Json(document): Json<Value>,
) -> Result<Written<Resource>, Problem> {
    let kind = kind(&named.kind)?;
    let resource = Resource::read(document).map_err(|error| invalid(error.to_string()))?;
    if resource.kind() != kind || resource.name() != named.name {
        let message = format!(
            "the address names {kind} `{}`, the document {} `{}`",
            named.name,
            resource.kind(),
            resource.name()
        );
        return Err(invalid(message));
    }
    Ok(api.control.put(&caller.caller, resource).await?.into())
}

pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Authenticated,
    Path(named): Path<Named>,
) -> Result<Written<Resource>, Problem> {
    let kind = kind(&named.kind)?;
    Ok(api.control.delete(&caller.caller, kind, &named.name).await?.into())
}

fn kind(plural: &str) -> Result<Kind, Refusal> {
    let known = || Kind::ALL.iter().map(|kind| kind.plural());
    if let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.plural() == plural) {
        return Ok(kind);
    }
    let refusal = Refusal::new(&code::NOT_FOUND, format!("`{plural}` is not a kind"));
    Err(match suggest::nearest(plural, known()) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal.hint(format!("kinds are: {}", known().collect::<Vec<_>>().join(", "))),
    })
}
