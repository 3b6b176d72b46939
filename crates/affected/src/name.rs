//! Names as the server folds them.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::Engine;

/// The server cuts longer names (`NAMEDATALEN - 1`).
const NAME_BYTES_MAX: usize = 63;

/// A table's name, as far as it is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Absent when the session decides: by its `search_path`, or its default database.
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

    /// `name`, `schema.name` or PostgreSQL's `database.schema.name`; nothing else is a table's.
    pub(crate) fn of(name: &ObjectName, engine: Engine) -> Option<Self> {
        let part = |part: &ObjectNamePart| match part {
            // A literal, unless `sql_mode` has ANSI_QUOTES.
            ObjectNamePart::Identifier(Ident { quote_style: Some('\'' | '"'), .. })
                if engine == Engine::MySql =>
            {
                None
            }
            ObjectNamePart::Identifier(ident) => Some(engine.folded(ident)),
            ObjectNamePart::Function(_) => None,
        };
        match (engine, name.0.as_slice()) {
            (_, [name]) => Some(Self::bare(part(name)?)),
            (_, [schema, name]) | (Engine::PostgreSql, [_, schema, name]) => {
                Some(Self::qualified(part(schema)?, part(name)?))
            }
            _ => None,
        }
    }

    /// The same name, in this schema if it has none.
    #[must_use]
    pub(crate) fn within(mut self, schema: Option<&str>) -> Self {
        self.schema = self.schema.or_else(|| schema.map(str::to_owned));
        self
    }

    /// As one would write it: with quotes where it needs them.
    pub fn shown(&self, engine: Engine) -> String {
        let (quote, plain): (char, fn(char) -> bool) = match engine {
            Engine::PostgreSql => ('"', |c| c.is_ascii_lowercase() || c == '_'),
            Engine::MySql => ('`', |c| c.is_ascii_alphabetic() || c == '_'),
        };
        let quoted = |part: &String| {
            let is_plain =
                part.starts_with(plain) && part.chars().all(|c| plain(c) || c.is_ascii_digit());
            if is_plain {
                return part.clone();
            }
            let doubled = part.replace(quote, &format!("{quote}{quote}"));
            format!("{quote}{doubled}{quote}")
        };
        let parts: Vec<String> = self.schema.iter().chain([&self.name]).map(quoted).collect();
        parts.join(".")
    }
}

pub(crate) fn cut(mut text: String) -> String {
    let mut length = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    text.truncate(length);
    text
}
