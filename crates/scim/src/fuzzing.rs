//! What must hold for whatever a client sends. The fuzz target calls this function, and so does the test below.

use serde_json::{Value, json};

use crate::{Filter, PATCH_SCHEMA, patch, read_group, read_user};

/// Any text as a filter, as a path, and as a request's operations: refused, or understood without a panic; what the service
/// provider writes itself stays; and a filter and its negation never both match.
pub fn scim(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let resource = json!({
        "id": "2819c223", "userName": "ada@example.com", "active": true, "meta": { "version": "W/\"3\"" },
        "members": [{ "value": "a", "display": "A" }, { "value": "b" }],
    });
    if let Ok(filter) = Filter::read(&text)
        && let Ok(negated) = Filter::read(&format!("not ({text})"))
    {
        assert_ne!(filter.matches(&resource), negated.matches(&resource), "{text}");
    }
    let operations = match serde_json::from_str::<Value>(&text) {
        Ok(read) => read,
        Err(_) => json!([{ "op": "replace", "path": text, "value": "x" }]),
    };
    let request = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
    if let Ok(patched) = patch(&resource, &request) {
        assert_eq!(patched.get("id"), resource.get("id"), "{text}");
        assert_eq!(patched.get("meta"), resource.get("meta"), "{text}");
        let _user = read_user(&patched);
        let _group = read_group(&patched);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fuzzing_kept_still_holds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
        let kept = std::fs::read(format!("{folder}/scim.inputs")).unwrap();
        let mut rest = kept.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (input, next) = after.split_at(u32::from_be_bytes(*length) as usize);
            scim(input);
            rest = next;
        }
    }

    proptest! {
        #[test]
        fn whatever_words_a_filter_is_made_of_it_is_read_or_refused(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "userName", "eq", "\"ada\"", "and", "or", "not", "(", ")", "[", "]", "members", "value", "pr", "true",
                "null", "3", "-1.5e3", "co", "gt", "name.formatted", ".value", "urn:ietf:params:scim:schemas:core:2.0:User:active",
                "\"2026-01-01T00:00:00Z\"", "meta.lastModified", "\"\\u0041\"", "\"", "$ref",
            ]), 0..14),
        ) {
            scim(words.join(" ").as_bytes());
        }

        #[test]
        fn whatever_operations_are_sent_ids_stay(
            op in "add|Replace|REMOVE|other",
            path in proptest::option::of("(members|id|Meta|name|userName|x)(\\[value eq \"[ab]\"\\])?(\\.[a-z]{1,4})?"),
            value in proptest::sample::select(vec![json!(null), json!([{"value": "c"}]), json!({"id": "x"}), json!("t"), json!({"name.formatted": "A"})]),
        ) {
            scim(json!([{ "op": op, "path": path, "value": value }]).to_string().as_bytes());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            scim(&bytes);
        }
    }
}
