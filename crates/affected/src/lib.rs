//! What a statement affects: the tables that its text names, read and written, and what may hide others.
//!
//! ```text
//! let analysis = affected::analyse(&sql, engine, whole);   // from the text alone; cheap to keep and to share
//! let affected = affected::resolve(&analysis, &evidence);  // with what the server said: whose rows, which kind
//! ```
//!
//! `complete` is said only when nothing can hide a table: the text parsed, every name was found in the catalogue with its
//! schema, and nothing of it calls what is not known to be pure. Everything else is said in words, in `because`.
//!
//! Runs where records are read, never where statements pass. Any text is answered in bounded time on a thread with
//! [`STACK_BYTES`] of stack: comments and literals are taken out before it is parsed, and what nests deeper or chains
//! longer than the bounds of [`plain`] is only looked through for names.
#![forbid(unsafe_code)]

mod builtin;
mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod mysql;
mod name;
mod plain;
mod resolve;
mod scan;
mod walk;

use std::collections::BTreeSet;

use plain::Plain;

pub use engine::Engine;
pub use name::Name;
pub use resolve::{Affected, Evidence, Relation, resolve};
pub use wire::sql::Strings;

/// Stack that a thread needs for [`analyse`], four times over: the parser and the tree of a debug build take most.
pub const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Tables that one statement names at most; more are counted among what is hidden.
const NAMES_MAX: usize = 256;
/// Reasons that are kept; one is enough.
const REASONS_MAX: usize = 16;

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    /// Tables whose rows it asks for, or has to look at.
    pub read: BTreeSet<Name>,
    /// Tables that it changes, or whose definition it changes.
    pub written: BTreeSet<Name>,
    /// Why there may be more; empty when the text hides nothing.
    pub because: BTreeSet<String>,
}

impl Analysis {
    fn read(&mut self, name: Name) {
        insert(&mut self.read, name, &mut self.because);
    }

    fn write(&mut self, name: Name) {
        insert(&mut self.written, name, &mut self.because);
    }

    /// Says that there may be more.
    pub fn because(&mut self, reason: impl Into<String>) {
        if self.because.len() < REASONS_MAX {
            self.because.insert(reason.into());
        }
    }

    /// Takes what another part of the same text says; its names are in this schema where they say none.
    fn take(&mut self, other: Self, schema: Option<&str>) {
        let Self { read, written, because } = other;
        for name in read {
            self.read(name.within(schema));
        }
        for name in written {
            self.write(name.within(schema));
        }
        for reason in because {
            self.because(reason);
        }
    }
}

fn insert(names: &mut BTreeSet<Name>, name: Name, because: &mut BTreeSet<String>) {
    if names.len() < NAMES_MAX {
        names.insert(name);
    } else if !names.contains(&name) {
        because.insert(format!("it names more than {NAMES_MAX} tables"));
    }
}

/// Analyses the text of a Query or of a prepared statement, literals read as the engine does by default. `whole` is whether
/// it is all of the text.
pub fn analyse(sql: &str, engine: Engine, whole: Whole) -> Analysis {
    let strings = match engine {
        Engine::PostgreSql => Strings::Standard,
        Engine::MySql => Strings::Backslash,
    };
    let shape = Shape::of(sql, engine, strings);
    shape.doubt(shape.analyse(), whole)
}

/// What a text comes down to: the same for texts that differ in literals, comments and white space only, so that one
/// analysis can be kept for all of them.
#[derive(Debug)]
pub struct Shape {
    engine: Engine,
    /// Of MySQL's, the second is the text without what only some servers run.
    plain: (Plain, Option<Plain>),
    key: String,
}

impl Shape {
    /// Of a text. `strings` is what a backslash in a literal means to a MySQL session; what it means to a PostgreSQL one
    /// is not known.
    pub fn of(sql: &str, engine: Engine, strings: Strings) -> Self {
        let plain = match engine {
            Engine::PostgreSql => (plain::plain(sql), None),
            Engine::MySql => mysql::plain::plain(sql, strings),
        };
        let key = match (engine, &plain) {
            (Engine::PostgreSql, (plain, _)) => plain.text.clone(),
            (Engine::MySql, (plain, None)) => format!("mysql {}", plain.text),
            (Engine::MySql, (plain, Some(other))) => {
                format!("mysql {}\0{}", plain.text, other.text)
            }
        };
        Self { engine, plain, key }
    }

    /// By which it is known.
    pub fn text(&self) -> &str {
        &self.key
    }

    /// What all texts of this shape say.
    pub fn analyse(&self) -> Analysis {
        let (plain, other) = &self.plain;
        let mut analysis = self.said(plain);
        if let Some(other) = other {
            analysis.take(self.said(other), None);
        }
        analysis
    }

    fn said(&self, plain: &Plain) -> Analysis {
        let Plain { text, parseable, .. } = plain;
        match (self.engine, parseable) {
            (_, Err(why)) => scan::names(&self.engine.tokens(text), self.engine, *why),
            (Engine::MySql, Ok(())) => mysql::statements(text),
            (Engine::PostgreSql, Ok(())) => parsed(text)
                .unwrap_or_else(|why| scan::names(&self.engine.tokens(text), self.engine, why)),
        }
    }

    /// The same with what is doubtful about this very text.
    #[must_use]
    pub fn doubt(&self, mut analysis: Analysis, whole: Whole) -> Analysis {
        if whole == Whole::No {
            analysis.because("its text was cut");
        }
        let (plain, other) = &self.plain;
        for reason in other.iter().chain([plain]).flat_map(|plain| &plain.because) {
            analysis.because(*reason);
        }
        analysis
    }
}

/// Where the rules of a server leave literals out of the log, a question mark stands for each.
fn parsed(text: &str) -> Result<Analysis, &'static str> {
    walk::postgresql(text).or_else(|why| {
        if text.contains('?') { walk::postgresql(&text.replace('?', "0")) } else { Err(why) }
    })
}

/// Whether a text is all there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// It is.
    Yes,
    /// It is only the beginning.
    No,
}
