//! A JSON object whose members are all different: two readers of a repeated one could each believe another.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The members of an object, none of them twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Members(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        let name: String = name.chars().take(50).collect();
                        return Err(A::Error::custom(format_args!("`{name}` is there twice")));
                    }
                    members.insert(name, value);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_member_is_refused_however_it_is_written() {
        assert!(serde_json::from_str::<Members>(r#"{"a":1,"b":{"a":2}}"#).is_ok());
        for repeated in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#] {
            let error = serde_json::from_str::<Members>(repeated).unwrap_err().to_string();
            assert!(error.starts_with("`a` is there twice"), "{error}");
        }
        assert!(serde_json::from_str::<Members>("[]").is_err());
    }
}
