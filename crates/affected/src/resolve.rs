//! What a text says, held against what the server said: which table a name is, and what stands behind it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Analysis, Engine, Name};

/// What a statement affected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affected {
    /// Tables whose rows were asked for or looked at, as `schema.name`; without a schema where that is not known.
    pub read: BTreeSet<String>,
    /// Tables that were changed.
    pub written: BTreeSet<String>,
    /// Whether there are no others.
    pub complete: bool,
    /// Why there may be others, or why the names are doubtful.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub because: BTreeSet<String>,
}

/// A table, view or the like as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// With its schema.
    pub name: Name,
    /// One word: `table`, `view`, `materializedView`, `foreignTable`, `partitionedTable`, …
    pub kind: String,
    /// What happens when it is read that its name does not say, in words: `row security`.
    pub on_read: Vec<String>,
    /// What happens when it is written, likewise: `triggers`.
    pub on_write: Vec<String>,
    /// Of a view: the tables that it reads.
    pub over: Vec<Name>,
}

/// What is known besides the text.
pub struct Evidence<'a> {
    /// Whose names these are.
    pub engine: Engine,
    /// The schema that names without one are in, where the session says it: MySQL's default database.
    pub home: Option<&'a str>,
    /// The relations that the rows came from, as the server described them.
    pub rows_from: &'a [&'a Relation],
    /// Reasons why that list is not whole.
    pub because: Vec<String>,
    /// What the catalogue has under a schema and a name; under a name that differs in case only, where there is none and
    /// the server may take them for the same.
    pub catalogue: &'a dyn Fn(&Name) -> Option<&'a Relation>,
}

impl fmt::Debug for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("engine", &self.engine)
            .field("home", &self.home)
            .field("rows_from", &self.rows_from)
            .field("because", &self.because)
            .finish_non_exhaustive()
    }
}

/// Which use of a relation is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Written,
}

/// Holds the one against the other.
pub fn resolve(analysis: &Analysis, evidence: &Evidence<'_>) -> Affected {
    let mut affected = Affected::default();
    affected.because.extend(analysis.because.iter().cloned());
    affected.because.extend(evidence.because.iter().cloned());
    for name in &analysis.read {
        affected.take(&name.clone().within(evidence.home), Use::Read, evidence);
    }
    for name in &analysis.written {
        affected.take(&name.clone().within(evidence.home), Use::Written, evidence);
    }
    for relation in evidence.rows_from {
        affected.found(relation, Use::Read, evidence.engine);
    }
    affected.complete = affected.because.is_empty();
    affected
}

impl Affected {
    fn take(&mut self, name: &Name, how: Use, evidence: &Evidence<'_>) {
        let engine = evidence.engine;
        if is_of_system(name, engine) {
            self.names(how).insert(name.shown(engine));
            return;
        }
        let mut fitting = evidence.rows_from.iter().filter(|relation| {
            relation.name.name == name.name
                && (name.schema.is_none() || relation.name.schema == name.schema)
        });
        let relation = match (fitting.next(), fitting.next()) {
            (Some(relation), None) => Some(*relation),
            (Some(_), Some(_)) => None,
            (None, _) if name.schema.is_some() => (evidence.catalogue)(name),
            (None, _) => None,
        };
        let shown = name.shown(engine);
        let Some(relation) = relation else {
            self.because.insert(match name.schema {
                Some(_) => format!("`{shown}` was not looked up in the catalogue"),
                None => format!("the {} of `{shown}` is not known", engine.place()),
            });
            self.names(how).insert(shown);
            return;
        };
        if name.schema.is_some() && relation.name != *name {
            let other = relation.name.shown(engine);
            self.because.insert(format!("`{shown}` and `{other}` may be two tables"));
            self.names(how).insert(shown);
        }
        self.found(relation, how, engine);
    }

    fn found(&mut self, relation: &Relation, how: Use, engine: Engine) {
        let Relation { name, kind, on_read, on_write, over } = relation;
        let shown = name.shown(engine);
        self.names(how).insert(shown.clone());
        if is_of_system(name, engine) {
            return;
        }
        match kind.as_str() {
            "table" | "partitionedTable" | "materializedView" | "sequence" => {}
            kind => {
                self.because.insert(format!("`{shown}` is a {}", words(kind)));
            }
        }
        let behind = over.iter().map(|name| name.shown(engine));
        self.names(how).extend(behind);
        let hidden = match how {
            Use::Read => on_read,
            Use::Written => on_write,
        };
        for what in hidden {
            self.because.insert(format!("`{shown}` has {what}"));
        }
    }

    fn names(&mut self, how: Use) -> &mut BTreeSet<String> {
        match how {
            Use::Read => &mut self.read,
            Use::Written => &mut self.written,
        }
    }
}

/// The server's own catalogue hides no table of its users.
fn is_of_system(name: &Name, engine: Engine) -> bool {
    name.schema.as_deref().is_some_and(|schema| engine.is_of_system(schema))
}

/// `foreignTable` as people write it.
fn words(kind: &str) -> String {
    kind.chars().fold(String::new(), |mut words, letter| {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        words
    })
}
