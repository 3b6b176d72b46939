//! Files. A file owns the fields that it writes, and only those: what it does not mention stays as it is, what it used
//! to mention goes back to its default, and what was changed elsewhere in between is a conflict that names the fields.

mod merge;
mod plan;

use std::collections::BTreeSet;

use model::{Kind, Refusal, Resource, code};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::caller::Caller;
use crate::check;
use crate::control::Control;
use crate::resources::{take_out, with_own_status};
use crate::rules;
use crate::verb::Verb;
use crate::write::{Done, Writing};

use merge::Owned;
use plan::{Action, Plan, plan};

/// One call applies at most so many documents.
const DOCUMENTS_MAX: usize = 10_000;

/// A document as a file holds it.
#[derive(Clone, Debug)]
pub struct Manifest {
    resource: Resource,
    owned: Owned,
}

impl Manifest {
    /// Reads a document and remembers which fields it writes.
    pub fn read(value: Value) -> Result<Self, serde_json::Error> {
        let written = value.get("spec").cloned().unwrap_or_default();
        let resource = Resource::read(value)?;
        let owned = Owned::by(&written, &resource);
        Ok(Self { resource, owned })
    }

    /// What it asks for.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }
}

/// A document without its text writes every field that it would be written with.
impl From<Resource> for Manifest {
    fn from(resource: Resource) -> Self {
        let document = serde_json::to_value(&resource).unwrap_or_default();
        let written = document.get("spec").cloned().unwrap_or_default();
        let owned = Owned::by(&written, &resource);
        Self { resource, owned }
    }
}

/// How files are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Deletes documents that files once created and that are in none of these.
    pub prune: bool,
    /// Says what would happen, and does nothing.
    pub dry_run: bool,
    /// What to do when files and a change made elsewhere disagree.
    pub conflicts: Conflicts,
}

/// What to do when files and a change made elsewhere disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Conflicts {
    /// Nothing is applied; the refusal names the fields.
    #[default]
    Refuse,
    /// The files win. Someone has looked.
    Overwrite,
}

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What was done.
    pub change: AppliedChange,
    /// The fields that changed, as JSON Pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// What was done to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AppliedChange {
    /// It was not there.
    Created,
    /// Some fields changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// It was pruned.
    Deleted,
}

/// What files owned of a document, and what it looked like, when they were last applied. Key: `Kind/name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastApplied {
    /// The object id: a document that was deleted and created anew elsewhere has another.
    uid: uuid::Uuid,
    /// The fields that the files wrote.
    owned: Vec<String>,
    /// The whole `spec` after it.
    spec: Value,
}

impl store::Record for LastApplied {
    const COLLECTION: &'static str = "applied";
}

impl Control {
    /// Applies documents together: all of them, or none.
    pub async fn apply(
        &self,
        caller: &Caller,
        documents: Vec<impl Into<Manifest>>,
        options: ApplyOptions,
    ) -> Result<Done<Vec<Applied>>, Refusal> {
        let manifests: Vec<Manifest> = documents.into_iter().map(Into::into).collect();
        if options.dry_run {
            return self.rehearse(caller, &manifests, options);
        }
        let (asking, subject) = (caller.clone(), format!("{} documents", manifests.len()));
        let work =
            move |writing: &mut Writing<'_, '_>| carry_out(writing, &asking, &manifests, options);
        let committed = self.write(caller, Verb::Apply, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// What `apply` would do to what is committed now.
    fn rehearse(
        &self,
        caller: &Caller,
        manifests: &[Manifest],
        options: ApplyOptions,
    ) -> Result<Done<Vec<Applied>>, Refusal> {
        let state = self.snapshots().load();
        caller.authorise(Verb::Apply, &state)?;
        let last = self
            .store()
            .read(|reader| Ok(reader.records::<LastApplied>()?.into_iter().collect()))?;
        let plan = plan(manifests, options, &state, &last)?;
        let mut after = (*state).clone();
        for Action { before, after: resource, .. } in &plan.actions {
            match (before, resource) {
                (_, Some(resource)) => after.insert(resource.clone()),
                (Some(before), None) => after.remove(before.kind(), before.name()),
                (None, None) => {}
            }
        }
        whole(&plan, &after)?;
        check::invariants(&state, &after)?;
        Ok(Done { value: plan.report(), revision: state.revision, lag: None })
    }
}

pub(crate) fn carry_out(
    writing: &mut Writing<'_, '_>,
    caller: &Caller,
    manifests: &[Manifest],
    options: ApplyOptions,
) -> Result<Vec<Applied>, Refusal> {
    if manifests.len() > DOCUMENTS_MAX {
        let message = format!("{} documents at once; {DOCUMENTS_MAX} are allowed", manifests.len());
        return Err(Refusal::new(&code::TOO_LARGE, message));
    }
    let last = writing.records::<LastApplied>()?.into_iter().collect();
    let plan = plan(manifests, options, writing.state(), &last)?;
    for action in &plan.actions {
        carry_out_one(writing, caller, action)?;
    }
    for key in &plan.forgotten {
        writing.delete_record::<LastApplied>(key)?;
    }
    whole(&plan, writing.state())?;
    Ok(plan.report())
}

fn carry_out_one(
    writing: &mut Writing<'_, '_>,
    caller: &Caller,
    action: &Action,
) -> Result<(), Refusal> {
    let Action { key, before, after, owned, last, applied } = action;
    let Some(after) = after else {
        if let Some(before) = before {
            take_out(writing, caller, before.kind(), before.name())?;
        }
        writing.delete_record::<LastApplied>(key)?;
        return Ok(());
    };
    let stored = match applied.change {
        AppliedChange::Unchanged => after.clone(),
        AppliedChange::Created | AppliedChange::Changed | AppliedChange::Deleted => {
            let resource = with_own_status(after.clone(), before.as_ref(), writing.state())?;
            writing.put_resource(resource)?
        }
    };
    let now = LastApplied {
        uid: stored.metadata().uid.unwrap_or_default(),
        owned: owned.clone(),
        spec: merge::spec(&stored),
    };
    if last.as_ref() != Some(&now) {
        writing.put_record(key, &now, None)?;
    }
    Ok(())
}

/// The rules hold for everything that was touched, and nothing speaks of what has gone.
fn whole(plan: &Plan, state: &model::Snapshot) -> Result<(), Refusal> {
    let mut gone = BTreeSet::new();
    for Action { before, after, applied, .. } in &plan.actions {
        match (before, after) {
            (before, Some(after)) if applied.change != AppliedChange::Unchanged => {
                rules::check(before.as_ref(), after, state)?;
                check::resolved(after, state)?;
            }
            (Some(before), None) => {
                gone.insert((before.kind(), before.name().to_owned()));
            }
            (_, Some(_)) | (None, None) => {}
        }
    }
    check::unreferenced(&gone, state)
}
