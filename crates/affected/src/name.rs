//! Names as the server folds them.

use std::fmt;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

/// The server cuts longer names (`NAMEDATALEN - 1`).
const NAME_BYTES_MAX: usize = 63;

/// A table's name, as far as it is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Absent when the session's `search_path` decides.
    pub schema: Option<String>,
    /// The name itself.
    pub name: String,
}

impl Name {
    /// A name with its schema.
    pub fn qualified(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: Some(schema.into()), name: name.into() }
    }

    /// A name without one.
    pub fn bare(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }

    /// `name`, `schema.name` or `database.schema.name`; nothing else is a table's.
    pub(crate) fn of(name: &ObjectName) -> Option<Self> {
        let part = |part: &ObjectNamePart| match part {
            ObjectNamePart::Identifier(ident) => Some(folded(ident)),
            ObjectNamePart::Function(_) => None,
        };
        match name.0.as_slice() {
            [name] => Some(Self::bare(part(name)?)),
            [schema, name] | [_, schema, name] => Some(Self::qualified(part(schema)?, part(name)?)),
            _ => None,
        }
    }
}

/// As the server folds it: without quotes in lower case, and cut.
pub(crate) fn folded(ident: &Ident) -> String {
    let text = match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    };
    cut(text)
}

pub(crate) fn cut(mut text: String) -> String {
    let mut length = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    text.truncate(length);
    text
}

/// As one would write it: with quotes where it needs them.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", Quoted(schema))?;
        }
        write!(f, "{}", Quoted(&self.name))
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && self.0.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if plain { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0.replace('"', "\"\"")) }
    }
}
