//! What a write changed, field by field, as the audit log shows it.

use std::collections::BTreeMap;

use model::Resource;
use model::event::Change;
use serde_json::Value;

/// Longer values are shown by their size: the log is read by people, and every text in it has a bound.
const VALUE_BYTES_MAX: usize = 4096;

/// The fields that differ, by JSON Pointer.
pub(crate) fn changes(
    before: Option<&Resource>,
    after: Option<&Resource>,
) -> BTreeMap<String, Change> {
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for (pointer, value) in fields(before) {
        changes.insert(pointer, Change { from: Some(value), to: None });
    }
    for (pointer, value) in fields(after) {
        changes.entry(pointer).or_insert(Change { from: None, to: None }).to = Some(value);
    }
    changes.retain(|_, change| change.from != change.to);
    for change in changes.values_mut() {
        change.from = change.from.take().map(bounded);
        change.to = change.to.take().map(bounded);
    }
    changes
}

fn fields(resource: Option<&Resource>) -> BTreeMap<String, Value> {
    let document = resource.and_then(|resource| serde_json::to_value(resource).ok());
    let mut fields = BTreeMap::new();
    for part in ["spec", "status"] {
        if let Some(value) = document.as_ref().and_then(|document| document.get(part)) {
            flatten(&format!("/{part}"), value, &mut fields);
        }
    }
    fields
}

/// The leaves under a value: arrays and scalars whole, objects by member.
pub(crate) fn flatten(pointer: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&format!("{pointer}/{}", escape(name)), member, leaves);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            leaves.insert(pointer.to_owned(), value.clone());
        }
    }
}

/// RFC 6901 §3.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn bounded(value: Value) -> Value {
    let bytes = value.to_string().len();
    if bytes <= VALUE_BYTES_MAX { value } else { Value::String(format!("({bytes} bytes)")) }
}
