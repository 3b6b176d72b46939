//! `portcullis apply`: files to resources.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::address::Address;
use crate::cli::{Apply, Common};
use crate::documents;
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;
use crate::table::Table;

#[derive(Deserialize)]
struct Outcome {
    items: Vec<Applied>,
}

/// What became of one document.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    kind: String,
    name: String,
    change: String,
    #[serde(default)]
    fields: Vec<String>,
}

pub(crate) fn run(common: &Common, apply: &Apply) -> Result<(), Failure> {
    let documents: Vec<Value> =
        documents::read_all(&apply.files)?.into_iter().map(|document| document.value).collect();
    let what = if apply.dry_run { "check the files" } else { "apply the files" };
    let remote = Remote::open(common, what)?;
    let conflicts = if apply.overwrite { "overwrite" } else { "refuse" };
    let body = json!({
        "documents": documents,
        "prune": apply.prune,
        "dryRun": apply.dry_run,
        "conflicts": conflicts,
    });
    let outcome: Outcome = remote.post(&Address::of(&["v1", "apply"]), &body)?;
    output::show_all(common.output, &outcome.items, || table(&outcome.items))?;
    if apply.dry_run {
        output::note("nothing was changed (--dry-run)");
    }
    Ok(())
}

fn table(items: &[Applied]) -> String {
    let mut table = Table::new(&["KIND", "NAME", "CHANGE", "FIELDS"]);
    for item in items {
        let fields = item.fields.join(", ");
        table.row([item.kind.clone(), item.name.clone(), item.change.clone(), fields]);
    }
    table.render()
}
