//! Paths to attributes: `userName`, `name.givenName`, `emails[type eq "work"].value`, each also behind its schema's URN.

use serde_json::Value;

use crate::filter::{Filter, Parser};
use crate::lexer::tokens;
use crate::{Error, GROUP_SCHEMA, Problem, USER_SCHEMA};

/// Longer ones are refused.
const PATH_BYTES_MAX: usize = 1_024;

/// An attribute, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) part: Option<String>,
}

/// Where a PATCH operation acts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    pub(crate) name: String,
    /// Which of several values.
    pub(crate) selected: Option<Filter>,
    pub(crate) part: Option<String>,
}

impl Attribute {
    /// Of a word. The URN of a schema that is known here is left out; other URNs are attributes of other schemas.
    pub(crate) fn read(word: &str) -> Result<Self, String> {
        let name = own(word);
        let (name, part) = match name.split_once('.') {
            Some((name, part)) => (name, Some(part)),
            None => (name, None),
        };
        if !is_name(name) || part.is_some_and(|part| !is_name(part)) {
            return Err(format!("`{word}` is not an attribute's name"));
        }
        Ok(Self { name: name.to_owned(), part: part.map(str::to_owned) })
    }
}

/// Without the URN of one of our schemas before it.
fn own(word: &str) -> &str {
    for schema in [USER_SCHEMA, GROUP_SCHEMA] {
        let before = word.get(..schema.len()).unwrap_or_default();
        if before.eq_ignore_ascii_case(schema)
            && let Some(rest) = word.get(schema.len()..).and_then(|rest| rest.strip_prefix(':'))
        {
            return rest;
        }
    }
    word
}

/// A name, or the URN of an extension: those have dots in their version and are never split.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-$:".contains(c))
}

impl Path {
    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::new(Problem::InvalidPath, why);
        if text.len() > PATH_BYTES_MAX {
            return Err(invalid(format!("the path has more than {PATH_BYTES_MAX} bytes")));
        }
        let tokens = tokens(text).map_err(invalid)?;
        Parser::of(tokens).path().map_err(invalid)
    }
}

/// The member of an object, whatever the case of its name.
pub(crate) fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let members = object.as_object()?;
    members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
