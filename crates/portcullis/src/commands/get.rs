//! `portcullis get`, `describe` and `delete`.

use model::{Kind, Resource};
use serde::Deserialize;
use serde_json::Value;

use crate::address::Address;
use crate::cli::{Common, Format, Get, Named};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;
use crate::table::{Table, pairs};
use crate::views;

#[derive(Deserialize)]
struct List {
    items: Vec<Value>,
}

pub(crate) fn get(common: &Common, get: &Get) -> Result<(), Failure> {
    if let Some(name) = &get.name {
        let value = fetch(common, get.kind, name)?;
        return output::show(common.output, &value, || {
            table(get.kind, std::slice::from_ref(&value))
        });
    }
    let remote = Remote::open(common, format!("list {}", get.kind.plural()))?;
    let list: List = remote.get(&Address::of(&["v1", get.kind.plural()]))?;
    if list.items.is_empty() && common.output == Format::Table {
        output::note(&format!("there are no {}", get.kind.plural()));
        return Ok(());
    }
    output::show_all(common.output, &list.items, || table(get.kind, &list.items))
}

pub(crate) fn describe(common: &Common, named: &Named) -> Result<(), Failure> {
    let value = fetch(common, named.kind, &named.name)?;
    output::show(common.output, &value, || described(&value))
}

pub(crate) fn delete(common: &Common, named: &Named) -> Result<(), Failure> {
    let Named { kind, name } = named;
    let remote = Remote::open(common, format!("delete {kind} `{name}`"))?;
    let deleted: Value = remote.delete(&Address::of(&["v1", kind.plural(), name]))?;
    output::show(common.output, &deleted, || format!("{kind} `{name}` is deleted\n"))
}

fn fetch(common: &Common, kind: Kind, name: &str) -> Result<Value, Failure> {
    let remote = Remote::open(common, format!("read {kind} `{name}`"))?;
    remote.get(&Address::of(&["v1", kind.plural(), name]))
}

/// One row a document. A document that this version cannot read (a newer server) still has its name.
fn table(kind: Kind, values: &[Value]) -> String {
    let mut table = Table::new(views::columns(kind));
    for value in values {
        match Resource::from_value(kind, value.clone()) {
            Ok(resource) => table.row(views::cells(&resource)),
            Err(_) => table.row([text(value.pointer("/metadata/name"))]),
        }
    }
    table.render()
}

/// Every field with its path, one a line.
fn described(value: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", value, &mut lines);
    pairs(lines.iter().map(|(name, value)| (name.as_str(), value.clone())))
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, lines);
            }
        }
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            let items: Vec<String> = items.iter().map(|item| text(Some(item))).collect();
            lines.push((path.to_owned(), items.join("\n")));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), item, lines);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lines.push((path.to_owned(), text(Some(value))));
        }
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_names_every_field_by_its_path() {
        let value = serde_json::json!({
            "kind": "Group",
            "metadata": {"name": "orders-readers", "revision": 7},
            "spec": {"description": "Reads\norders", "members": ["ada@example.com", "bob@example.com"]},
        });
        insta::assert_snapshot!(described(&value), @r"
        kind:               Group
        metadata.name:      orders-readers
        metadata.revision:  7
        spec.description:   Reads
                            orders
        spec.members:       ada@example.com
                            bob@example.com
        ");
    }
}
