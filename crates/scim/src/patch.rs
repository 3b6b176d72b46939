//! PATCH (RFC 7644 §3.5.2), as the standard has it and as the large directories send it: operations in any case, values
//! without a path, parts in dotted names, members taken out by value.

use serde_json::{Map, Value};

use crate::path::{Path, member};
use crate::{Error, PATCH_SCHEMA, Problem};

/// More at once are refused.
pub const OPERATIONS_MAX: usize = 1_000;

/// What the service provider writes itself.
const READ_ONLY: &[&str] = &["id", "meta", "schemas", "groups"];
/// Attributes that have several values.
const SEVERAL: &[&str] = &[
    "members",
    "emails",
    "phoneNumbers",
    "addresses",
    "ims",
    "photos",
    "entitlements",
    "roles",
    "x509Certificates",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Replace,
    Remove,
}

/// The resource after all operations of the request.
pub fn patch(resource: &Value, request: &Value) -> Result<Value, Error> {
    let invalid = |why: &str| Error::new(Problem::InvalidSyntax, why);
    let schemas = member(request, "schemas").and_then(Value::as_array);
    let ours = |schema: &Value| {
        schema.as_str().is_some_and(|text| text.eq_ignore_ascii_case(PATCH_SCHEMA))
    };
    if !schemas.is_some_and(|schemas| schemas.iter().any(ours)) {
        return Err(invalid("`schemas` does not say that this is a PatchOp"));
    }
    let operations = member(request, "Operations").and_then(Value::as_array);
    let operations = operations.ok_or_else(|| invalid("`Operations` is missing"))?;
    if operations.len() > OPERATIONS_MAX {
        let message = format!("more than {OPERATIONS_MAX} operations at once");
        return Err(Error::new(Problem::TooMany, message));
    }
    let mut patched = resource.clone();
    for operation in operations {
        one(&mut patched, operation)?;
    }
    Ok(patched)
}

fn one(resource: &mut Value, operation: &Value) -> Result<(), Error> {
    let text = |name: &str| member(operation, name).and_then(Value::as_str);
    let what = match text("op").unwrap_or_default().to_ascii_lowercase().as_str() {
        "add" => Operation::Add,
        "replace" => Operation::Replace,
        "remove" => Operation::Remove,
        _ => {
            return Err(Error::new(Problem::InvalidSyntax, "`op` is `add`, `replace` or `remove`"));
        }
    };
    let value = member(operation, "value");
    match (text("path"), value) {
        (Some(path), value) => at(resource, &Path::read(path)?, what, value),
        (None, _) if what == Operation::Remove => {
            Err(Error::new(Problem::NoTarget, "`remove` needs a `path`"))
        }
        (None, Some(Value::Object(members))) => members
            .iter()
            .try_for_each(|(name, value)| at(resource, &Path::read(name)?, what, Some(value))),
        (None, _) => {
            Err(Error::new(Problem::InvalidValue, "without a `path` the `value` is an object"))
        }
    }
}

fn at(
    resource: &mut Value,
    path: &Path,
    what: Operation,
    value: Option<&Value>,
) -> Result<(), Error> {
    let Path { name, selected, part } = path;
    if READ_ONLY.iter().any(|fixed| name.eq_ignore_ascii_case(fixed)) {
        return Err(Error::new(Problem::Mutability, format!("`{name}` cannot be changed")));
    }
    let Value::Object(members) = resource else {
        return Err(Error::new(Problem::InvalidSyntax, "the resource is not an object"));
    };
    let key = key(members, name);
    if what != Operation::Remove && value.is_none() {
        return Err(Error::new(Problem::InvalidValue, format!("there is no `value` for `{name}`")));
    }
    let value = value.cloned().unwrap_or_default();
    match (selected, part) {
        (Some(_), _) => elements(members.entry(key).or_insert(Value::Null), path, what, value),
        (None, Some(part)) => {
            let parent = members.entry(key).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(parts) = parent else {
                let message = format!("`{name}` has no parts, or more than one value");
                return Err(Error::new(Problem::InvalidPath, message));
            };
            let part = self::key(parts, part);
            set(parts, part, what, value);
            Ok(())
        }
        (None, None) if SEVERAL.iter().any(|several| name.eq_ignore_ascii_case(several)) => {
            several(members, key, what, value);
            Ok(())
        }
        (None, None) => {
            set(members, key, what, value);
            Ok(())
        }
    }
}

/// The name as it is written there already.
fn key(members: &Map<String, Value>, name: &str) -> String {
    members.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or(name.to_owned())
}

fn set(members: &mut Map<String, Value>, key: String, what: Operation, value: Value) {
    match (what, members.get_mut(&key), value) {
        (Operation::Remove, _, _) => drop(members.remove(&key)),
        // Parts that are not said stay.
        (_, Some(Value::Object(present)), Value::Object(more)) => {
            for (part, value) in more {
                let part = self::key(present, &part);
                present.insert(part, value);
            }
        }
        (_, _, value) => drop(members.insert(key, value)),
    }
}

/// All values of an attribute that has several.
fn several(members: &mut Map<String, Value>, key: String, what: Operation, value: Value) {
    let said = match value {
        Value::Array(elements) => elements,
        Value::Null => Vec::new(),
        one => vec![one],
    };
    let present = match members.remove(&key) {
        Some(Value::Array(elements)) => elements,
        Some(Value::Null) | None => Vec::new(),
        Some(one) => vec![one],
    };
    let elements = match what {
        Operation::Replace => said,
        Operation::Add => {
            let mut elements = present;
            for element in said {
                if !elements.iter().any(|known| same(known, &element)) {
                    elements.push(element);
                }
            }
            elements
        }
        // Nothing said: all of them.
        Operation::Remove if said.is_empty() => Vec::new(),
        Operation::Remove => present
            .into_iter()
            .filter(|element| !said.iter().any(|gone| same(element, gone)))
            .collect(),
    };
    members.insert(key, Value::Array(elements));
}

/// Values are told apart by `value`, where they have one.
fn same(one: &Value, other: &Value) -> bool {
    let value = |element: &Value| member(element, "value").cloned();
    match (value(one), value(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Those values that a filter selects.
fn elements(
    attribute: &mut Value,
    path: &Path,
    what: Operation,
    value: Value,
) -> Result<(), Error> {
    let Path { name, selected: Some(filter), part } = path else { return Ok(()) };
    if attribute.is_null() {
        *attribute = Value::Array(Vec::new());
    }
    let Value::Array(present) = attribute else {
        let message = format!("`{name}` has one value, and no filter can stand behind it");
        return Err(Error::new(Problem::InvalidPath, message));
    };
    if what == Operation::Remove && part.is_none() {
        // What is gone already is as it should be.
        present.retain(|element| !filter.matches(element));
        return Ok(());
    }
    let mut found = false;
    for element in present.iter_mut().filter(|element| filter.matches(element)) {
        found = true;
        match (part, &mut *element) {
            (Some(part), Value::Object(parts)) => {
                let part = key(parts, part);
                set(parts, part, what, value.clone());
            }
            (None, Value::Object(parts)) if value.is_object() => {
                for (part, value) in value.as_object().into_iter().flatten() {
                    set(parts, key(parts, part), what, value.clone());
                }
            }
            (_, element) => *element = value.clone(),
        }
    }
    if found || what == Operation::Remove {
        return Ok(());
    }
    // `emails[type eq "work"].value`: there is none yet, and what it must say is plain.
    match (filter.example(), part) {
        (Some((said, says)), Some(part)) => {
            let members = [(said, says), (part.clone(), value)];
            present.push(Value::Object(members.into_iter().collect()));
            Ok(())
        }
        _ => Err(Error::new(
            Problem::NoTarget,
            format!("no value of `{name}` is as the filter says"),
        )),
    }
}
