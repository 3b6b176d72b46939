//! What applying files would do: a pure function of the files, the state, and what files said last.

use std::collections::{BTreeMap, BTreeSet};

use model::{Kind, Refusal, Resource, Snapshot, code};
use serde_json::Value;

use super::merge::{self, Disagreement};
use super::{Applied, AppliedChange, ApplyOptions, Conflicts, LastApplied, Manifest};
use crate::resources::writable;

/// At most so many fields are named in a refusal.
const FIELDS_NAMED_MAX: usize = 10;

/// Everything that is to be done, in order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// Records of documents that are gone and that files no longer speak of.
    pub(super) forgotten: Vec<String>,
}

/// What is to be done to one document.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) key: String,
    pub(super) before: Option<Resource>,
    /// Absent: it is deleted.
    pub(super) after: Option<Resource>,
    pub(super) owned: Vec<String>,
    pub(super) last: Option<LastApplied>,
    pub(super) applied: Applied,
}

impl Plan {
    pub(super) fn report(&self) -> Vec<Applied> {
        self.actions.iter().map(|action| action.applied.clone()).collect()
    }
}

type Last = BTreeMap<String, LastApplied>;

pub(super) fn plan(
    manifests: &[Manifest],
    options: ApplyOptions,
    state: &Snapshot,
    last: &Last,
) -> Result<Plan, Refusal> {
    let mut named = BTreeSet::new();
    let mut actions = Vec::new();
    let mut conflicts = Vec::new();
    for manifest in manifests {
        let key = key(manifest.resource.kind(), manifest.resource.name());
        if !named.insert(key.clone()) {
            return Err(Refusal::new(&code::INVALID, format!("`{key}` is in the files twice")));
        }
        acceptable(&manifest.resource)?;
        let known = Known { last: last.get(&key), state, options };
        match one(key, manifest, &known)? {
            Ok(action) => actions.push(action),
            Err(conflict) => conflicts.push(conflict),
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    // What is referred to comes first; what refers goes first.
    actions.sort_by_key(|action| action.applied.kind);
    let mut forgotten = Vec::new();
    if options.prune {
        let gone = last.keys().filter(|key| !named.contains(*key));
        for key in gone.rev() {
            match pruned(key, state) {
                Some(action) => actions.push(action),
                None => forgotten.push(key.clone()),
            }
        }
    }
    Ok(Plan { actions, forgotten })
}

fn key(kind: Kind, name: &str) -> String {
    format!("{kind}/{name}")
}

fn acceptable(resource: &Resource) -> Result<(), Refusal> {
    writable(resource)?;
    let document = serde_json::to_value(resource).unwrap_or_default();
    if document.get("status").is_some() {
        let message = format!(
            "`{}` has a `status`, which files cannot set",
            key(resource.kind(), resource.name())
        );
        return Err(Refusal::new(&code::INVALID, message).hint("leave `status` out"));
    }
    Ok(())
}

/// What is known about the document of a manifest.
struct Known<'a> {
    last: Option<&'a LastApplied>,
    state: &'a Snapshot,
    options: ApplyOptions,
}

/// Why a document cannot be applied, in words for people.
type Conflict = String;

fn one(
    key: String,
    manifest: &Manifest,
    known: &Known<'_>,
) -> Result<Result<Action, Conflict>, Refusal> {
    let (kind, name) = (manifest.resource.kind(), manifest.resource.name());
    let live = known.state.get(kind, name);
    let overwrite = known.options.conflicts == Conflicts::Overwrite;
    let created_anew = match (known.last, &live) {
        (Some(_), None) if !overwrite => {
            return Ok(Err(format!("`{key}` was deleted elsewhere")));
        }
        (Some(last), Some(live)) => live.metadata().uid != Some(last.uid),
        (_, None) | (None, Some(_)) => false,
    };
    if created_anew && !overwrite {
        return Ok(Err(format!("`{key}` was deleted and created anew elsewhere")));
    }
    let last = known.last.filter(|_| !created_anew && live.is_some());
    let owned: Vec<String> = manifest.owned.0.keys().cloned().collect();
    let applied = |change, fields| Applied { kind, name: name.to_owned(), change, fields };
    let Some(live) = live else {
        let applied = applied(AppliedChange::Created, Vec::new());
        let after = Some(fresh(&manifest.resource));
        return Ok(Ok(Action { key, before: None, after, owned, last: None, applied }));
    };
    let before = merge::spec(&live);
    let merged = match merge::merge(&manifest.owned, last, &before, known.options.conflicts) {
        Ok(merged) => merged,
        Err(disagreements) => return Ok(Err(told(&key, &disagreements))),
    };
    let after = with_spec(&live, merged)?;
    let fields = merge::differing(&before, &merge::spec(&after));
    let change = if fields.is_empty() { AppliedChange::Unchanged } else { AppliedChange::Changed };
    let applied = applied(change, fields);
    let (before, after, last) = (Some(live), Some(after), known.last.cloned());
    Ok(Ok(Action { key, before, after, owned, last, applied }))
}

/// Of a file's metadata only the name counts.
fn fresh(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    *resource.metadata_mut() = model::Metadata::named(resource.name());
    resource
}

fn with_spec(live: &Resource, spec: Value) -> Result<Resource, Refusal> {
    let mut document = serde_json::to_value(live).unwrap_or_default();
    if let Some(place) = document.get_mut("spec") {
        *place = spec;
    }
    Resource::from_value(live.kind(), document).map_err(|error| {
        let message = format!("`{}`: {error}", key(live.kind(), live.name()));
        Refusal::new(&code::INVALID, message)
    })
}

fn pruned(key: &str, state: &Snapshot) -> Option<Action> {
    let (kind, name) = key.split_once('/')?;
    let kind = Kind::find(kind)?;
    let before = state.get(kind, name)?;
    Some(Action {
        key: key.to_owned(),
        before: Some(before),
        after: None,
        owned: Vec::new(),
        last: None,
        applied: Applied {
            kind,
            name: name.to_owned(),
            change: AppliedChange::Deleted,
            fields: Vec::new(),
        },
    })
}

fn told(key: &str, disagreements: &[Disagreement]) -> Conflict {
    let shown =
        |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    let fields: Vec<String> = disagreements
        .iter()
        .take(FIELDS_NAMED_MAX)
        .map(|Disagreement { pointer, file, live }| {
            format!("`/spec{pointer}` is {} now, the file says {}", shown(live), shown(file))
        })
        .collect();
    format!("`{key}` was changed elsewhere: {}", fields.join("; "))
}

fn conflict(conflicts: &[Conflict]) -> Refusal {
    let shown: Vec<&str> = conflicts.iter().take(FIELDS_NAMED_MAX).map(String::as_str).collect();
    Refusal::new(&code::FILE_CONFLICT, shown.join(". "))
}
