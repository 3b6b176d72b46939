//! JSON Patch (RFC 6902), as an API server applies it: the product writes patches and has nothing that applies them.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The document as the operations make it, in their order. `move` and `copy` are used by nobody here.
pub fn apply(document: &Value, operations: &Value) -> Result<Value> {
    let mut document = document.clone();
    for operation in operations.as_array().context("a patch is a list")? {
        one(&mut document, operation).with_context(|| operation.to_string())?;
    }
    Ok(document)
}

fn one(document: &mut Value, operation: &Value) -> Result<()> {
    let text =
        |name: &str| operation.get(name).and_then(Value::as_str).context("a text is missing");
    let value = || operation.get("value").cloned().context("it has no value");
    let path = text("path")?;
    let (parent, last) = path.rsplit_once('/').context("the whole document is not changed here")?;
    let last = last.replace("~1", "/").replace("~0", "~");
    match text("op")? {
        "test" => {
            let found = document.pointer(path).context("there is nothing to test")?;
            ensure!(*found == value()?, "it is {found}");
            Ok(())
        }
        "add" => match document.pointer_mut(parent).context("there is no parent")? {
            Value::Object(members) => {
                members.insert(last, value()?);
                Ok(())
            }
            Value::Array(items) => {
                let index = if last == "-" { items.len() } else { last.parse()? };
                ensure!(index <= items.len(), "the index is beyond the end");
                items.insert(index, value()?);
                Ok(())
            }
            _ => bail!("the parent is neither object nor list"),
        },
        "replace" => {
            *document.pointer_mut(path).context("there is nothing to replace")? = value()?;
            Ok(())
        }
        "remove" => match document.pointer_mut(parent).context("there is no parent")? {
            Value::Object(members) => members.remove(&last).map(drop).context("nothing to remove"),
            Value::Array(items) => {
                let index: usize = last.parse()?;
                ensure!(index < items.len(), "the index is beyond the end");
                items.remove(index);
                Ok(())
            }
            _ => bail!("the parent is neither object nor list"),
        },
        other => bail!("`{other}` is no operation"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_in_their_order_as_the_standards_appendix_shows() {
        for (document, operations, expected) in [
            // RFC 6902 A.1, A.2, A.3, A.4, A.5, A.16, 4.1 (an existing member is replaced) and the escapes of RFC 6901.
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"baz": "qux", "foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                json!({"foo": ["bar", "qux", "baz"]}),
            ),
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "remove", "path": "/baz"}]),
                json!({"foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "qux", "baz"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                json!({"foo": ["bar", "baz"]}),
            ),
            (
                json!({"baz": "qux"}),
                json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                json!({"baz": "boo"}),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
                json!({"foo": ["bar", ["abc"]]}),
            ),
            (
                json!({"foo": null}),
                json!([{"op": "add", "path": "/foo", "value": [1]}]),
                json!({"foo": [1]}),
            ),
            (
                json!({}),
                json!([{"op": "add", "path": "/a~1b~0c", "value": 1}]),
                json!({"a/b~c": 1}),
            ),
        ] {
            assert_eq!(apply(&document, &operations).unwrap(), expected);
        }
        for (document, operation) in [
            (json!({"foo": "bar"}), json!({"op": "add", "path": "/baz/bat", "value": "qux"})),
            (json!({"foo": []}), json!({"op": "add", "path": "/foo/1", "value": 1})),
            (json!({}), json!({"op": "replace", "path": "/foo", "value": 1})),
            (json!({"a": 1}), json!({"op": "test", "path": "/a", "value": 2})),
            (json!({}), json!({"op": "nothing", "path": "/a", "value": 2})),
        ] {
            assert!(apply(&document, &json!([operation])).is_err(), "{operation}");
        }
    }
}
