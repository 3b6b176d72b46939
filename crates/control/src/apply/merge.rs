//! The three-way merge of one document: what files said last, what they say now, what is.

use std::collections::{BTreeMap, BTreeSet};

use model::Resource;
use serde_json::Value;

use super::{Conflicts, LastApplied};
use crate::diff::flatten;

/// The leaves of `spec` that a file writes, by JSON Pointer, with the value they mean. `Null`: written as absent or
/// empty, which is how absence is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned(pub(super) BTreeMap<String, Value>);

impl Owned {
    /// What `written` writes, in the words of the parsed document (`PT30M` in a file means the stored `30m`).
    pub(crate) fn by(written: &Value, resource: &Resource) -> Self {
        let mut leaves = BTreeMap::new();
        note(&mut leaves, String::new(), written, Some(&spec(resource)));
        Self(leaves)
    }
}

fn note(
    leaves: &mut BTreeMap<String, Value>,
    pointer: String,
    written: &Value,
    means: Option<&Value>,
) {
    match (written, means) {
        (Value::Object(written), Some(Value::Object(means))) => {
            for (name, member) in written {
                let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                note(leaves, pointer, member, means.get(name));
            }
        }
        _ => {
            leaves.insert(pointer, means.cloned().unwrap_or(Value::Null));
        }
    }
}

/// A document's `spec` as it is stored.
pub(crate) fn spec(resource: &Resource) -> Value {
    let document = serde_json::to_value(resource).unwrap_or_default();
    document.get("spec").cloned().unwrap_or_default()
}

/// A field on which files and a change made elsewhere disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub(super) pointer: String,
    pub(super) file: Value,
    pub(super) live: Value,
}

/// The `spec` that the document gets, or the fields that stand in the way.
pub(super) fn merge(
    owned: &Owned,
    last: Option<&LastApplied>,
    live: &Value,
    conflicts: Conflicts,
) -> Result<Value, Vec<Disagreement>> {
    let mut merged = live.clone();
    let mut disagreements = Vec::new();
    let base = last.map(|last| &last.spec);
    let at = |document: &Value, pointer: &str| document.pointer(pointer).cloned();
    let owned_before: BTreeSet<&str> =
        last.iter().flat_map(|last| &last.owned).map(String::as_str).collect();
    // A field that files no longer write goes back to its default, unless someone else has taken it over.
    for pointer in owned_before.iter().filter(|pointer| !owned.0.contains_key(**pointer)) {
        if at(live, pointer) == base.and_then(|base| at(base, pointer)) {
            remove(&mut merged, pointer);
        }
    }
    for (pointer, file) in &owned.0 {
        let live = at(live, pointer).unwrap_or_default();
        let base = base.map(|base| at(base, pointer).unwrap_or_default());
        let changed_elsewhere = base.is_none_or(|base| base != live);
        if live == *file {
            continue;
        }
        if changed_elsewhere && conflicts == Conflicts::Refuse {
            let (pointer, file) = (pointer.clone(), file.clone());
            disagreements.push(Disagreement { pointer, file, live });
            continue;
        }
        if file.is_null() {
            remove(&mut merged, pointer);
        } else {
            set(&mut merged, pointer, file.clone());
        }
    }
    if disagreements.is_empty() { Ok(merged) } else { Err(disagreements) }
}

/// The fields in which two specs differ.
pub(super) fn differing(before: &Value, after: &Value) -> Vec<String> {
    let leaves = |spec: &Value| {
        let mut leaves = BTreeMap::new();
        flatten("/spec", spec, &mut leaves);
        leaves
    };
    let (before, after) = (leaves(before), leaves(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn remove(document: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(members)) = document.pointer_mut(parent) {
        members.remove(&unescape(name));
    }
}

fn set(document: &mut Value, pointer: &str, value: Value) {
    let mut place = document;
    for name in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        let Value::Object(members) = place else { return };
        place = members.entry(unescape(name)).or_insert(Value::Null);
    }
    *place = value;
}

/// RFC 6901 §4.
fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use model::Resource;
    use proptest::prelude::*;
    use serde_json::{Map, json};
    use uuid::Uuid;

    use super::*;

    const FIELDS: [&str; 4] = ["a", "b", "c", "d"];

    /// A flat object: which of four fields are there, with small values, so that they often agree.
    fn object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map(prop::sample::select(&FIELDS[..]), 0..3_u8, 0..4).prop_map(
            |fields| {
                let fields =
                    fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
                Value::Object(fields.collect::<Map<_, _>>())
            },
        )
    }

    fn owned(file: &Value) -> Owned {
        let mut leaves = BTreeMap::new();
        note(&mut leaves, String::new(), file, Some(file));
        leaves.remove("");
        Owned(leaves)
    }

    fn last(file: &Value, spec: Value) -> LastApplied {
        let owned = owned(file).0.into_keys().collect();
        LastApplied { uid: Uuid::nil(), owned, spec }
    }

    fn at<'a>(document: &'a Value, field: &str) -> Option<&'a Value> {
        document.get(field)
    }

    proptest! {
        #[test]
        fn every_field_ends_as_the_file_or_as_it_was_or_is_named(
            before in object(), base in object(), live in object(), file in object()
        ) {
            let last = last(&before, base.clone());
            let changed_elsewhere = |field: &str| at(&live, field) != at(&base, field);
            match merge(&owned(&file), Some(&last), &live, Conflicts::Refuse) {
                Ok(merged) => for field in FIELDS {
                    let wanted = match (at(&file, field), at(&before, field)) {
                        (Some(value), _) => Some(value),
                        (None, Some(_)) if !changed_elsewhere(field) => None,
                        (None, _) => at(&live, field),
                    };
                    prop_assert_eq!(at(&merged, field), wanted);
                    // Never quietly undone: what was changed elsewhere only changes when it agrees anyway.
                    if changed_elsewhere(field) {
                        prop_assert_eq!(at(&merged, field), at(&live, field));
                    }
                },
                Err(disagreements) => {
                    prop_assert!(!disagreements.is_empty());
                    for Disagreement { pointer, file: wants, live: is } in disagreements {
                        let field = pointer.trim_start_matches('/');
                        prop_assert!(changed_elsewhere(field));
                        prop_assert_eq!(at(&file, field), Some(&wants));
                        prop_assert_eq!(at(&live, field).cloned().unwrap_or_default(), is.clone());
                        prop_assert_ne!(wants, is);
                    }
                }
            }
        }

        #[test]
        fn applying_again_changes_nothing_and_overwriting_always_succeeds(
            before in object(), base in object(), live in object(), file in object()
        ) {
            let (files, last_time) = (owned(&file), last(&before, base));
            let merged = merge(&files, Some(&last_time), &live, Conflicts::Overwrite).unwrap();
            let now = last(&file, merged.clone());
            let again = merge(&files, Some(&now), &merged, Conflicts::Refuse);
            prop_assert_eq!(again.as_ref(), Ok(&merged));
            prop_assert_eq!(differing(&merged, &merged), Vec::<String>::new());
        }
    }

    #[test]
    fn what_a_file_writes_is_read_in_the_words_of_the_stored_document() {
        let document = json!({
            "apiVersion": "portcullis.dev/v1", "kind": "AccessRules", "metadata": { "name": "r" },
            "spec": { "group": "g", "durationMax": "PT90S", "approvers": [] },
        });
        let written = document.get("spec").cloned().unwrap_or_default();
        let resource = Resource::read(document).unwrap();
        let leaves = Owned::by(&written, &resource).0;
        let expected =
            [("/approvers", Value::Null), ("/durationMax", json!("1m30s")), ("/group", json!("g"))];
        let expected = expected.map(|(pointer, value)| (pointer.to_owned(), value));
        assert_eq!(leaves, BTreeMap::from(expected));
    }
}
