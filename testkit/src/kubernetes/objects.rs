//! Where objects stand in the API.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// An object's path.
pub fn path(object: &Value) -> Result<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let version = text("/apiVersion").context("no `apiVersion`")?;
    let name = text("/metadata/name").context("no name")?;
    let plural = match text("/kind").context("no `kind`")? {
        "PodDisruptionBudget" => "poddisruptionbudgets",
        "NetworkPolicy" => "networkpolicies",
        kind if kind.ends_with(|c: char| c.is_ascii_lowercase()) => {
            &format!("{}s", kind.to_lowercase())
        }
        kind => bail!("`{kind}` has no path here"),
    };
    let group =
        if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    Ok(match text("/metadata/namespace") {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{group}/{plural}/{name}"),
    })
}

/// The last two parts of a path.
pub(super) fn kind_and_name(path: &str) -> (&str, &str) {
    let (rest, name) = path.rsplit_once('/').unwrap_or(("", path));
    (rest.rsplit('/').next().unwrap_or(rest), name)
}

/// Members that are said replace those that are there; objects are merged.
pub(super) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
