//! `/v1/apply`: files, as `portcullis apply` read them.

use axum::extract::State;
use control::{Applied, ApplyOptions, Conflicts, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Api;
use crate::answer::Written;
use crate::authenticate::Authenticated;
use crate::body::LargeJson;
use crate::problem::{Problem, invalid};

/// A set of documents.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Files {
    documents: Vec<Value>,
    #[serde(default)]
    prune: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    conflicts: Conflicts,
}

/// What became of each.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    items: Vec<Applied>,
}

pub(crate) async fn apply(
    State(api): State<Api>,
    caller: Authenticated,
    LargeJson(files): LargeJson<Files>,
) -> Result<Written<Outcome>, Problem> {
    let Files { documents, prune, dry_run, conflicts } = files;
    let documents: Vec<Manifest> = documents
        .into_iter()
        .enumerate()
        .map(|(index, document)| {
            let place = format!("document {}", index + 1);
            Manifest::read(document).map_err(|error| invalid(format!("{place}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    let options = ApplyOptions { prune, dry_run, conflicts };
    let done = api.control.apply(&caller.caller, documents, options).await?;
    Ok(Written::from(done).map(|items| Outcome { items }))
}
