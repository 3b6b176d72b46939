//! `portcullis schema KIND`.

use model::Kind;
use model::document::API_VERSION;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

pub(crate) fn run(kind: Kind) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&schema(kind))
        .map_err(|error| Failure::new("cannot print the schema", error))?;
    output::line(&text)
}

/// The JSON Schema of a whole document, as it is written in files.
pub(crate) fn schema(kind: Kind) -> Value {
    let mut spec = kind.schema();
    let definitions = spec.as_object_mut().and_then(|spec| {
        spec.remove("$schema");
        spec.remove("$defs")
    });
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.name(),
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind.name() },
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": { "name": { "type": "string", "minLength": 1, "maxLength": 256 } },
            },
            "spec": spec,
        },
    });
    if let (Some(schema), Some(definitions)) = (schema.as_object_mut(), definitions) {
        schema.insert("$defs".to_owned(), definitions);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_describes_the_whole_document_and_resolves_its_own_references() {
        for kind in Kind::ALL {
            let schema = schema(*kind);
            let text = schema.to_string();
            for reference in text.split("\"#/$defs/").skip(1) {
                let name = reference.split('"').next().unwrap();
                assert!(schema["$defs"].get(name).is_some(), "{kind}: {name}");
            }
            assert_eq!(schema["properties"]["kind"]["const"], kind.name());
            assert!(schema["properties"]["spec"]["description"].is_string(), "{kind}");
        }
    }
}
