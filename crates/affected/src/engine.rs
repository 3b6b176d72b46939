//! Whose SQL a text is, and what differs with it: how it is read, how names are folded, what its own functions are.

use sqlparser::ast::Ident;
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use wire::mysql::sql::Conditional;
use wire::sql::{Strings, Token};

use crate::name::cut;
use crate::{builtin, mysql};

/// Whose SQL a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// PostgreSQL's.
    PostgreSql,
    /// MySQL's and MariaDB's.
    MySql,
}

impl Engine {
    pub(crate) fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::PostgreSql => &PostgreSqlDialect {},
            Self::MySql => &MySqlDialect {},
        }
    }

    /// The tokens of a text that was made plain.
    pub(crate) fn tokens(self, text: &str) -> Vec<Token<'_>> {
        match self {
            Self::PostgreSql => wire::sql::tokens(text, Strings::Standard).collect(),
            Self::MySql => {
                wire::mysql::sql::tokens(text, Strings::Standard, Conditional::Runs).collect()
            }
        }
    }

    /// A name without its quotes, as the server takes it. PostgreSQL: without quotes in lower case, and cut. MySQL: as it
    /// stands, because a setting of the server says whether case matters.
    pub(crate) fn folded(self, ident: &Ident) -> String {
        match (self, ident.quote_style) {
            (Self::MySql, _) => ident.value.clone(),
            (Self::PostgreSql, Some(_)) => cut(ident.value.clone()),
            (Self::PostgreSql, None) => cut(ident.value.to_ascii_lowercase()),
        }
    }

    /// Whether a function computes from its arguments, the clock or the session, and nothing else.
    pub(crate) fn is_pure(self, function: &str) -> bool {
        match self {
            Self::PostgreSql => builtin::is_pure(function),
            Self::MySql => mysql::builtin::is_pure(&function.to_ascii_lowercase()),
        }
    }

    /// The schema of its own functions, by which they can be called too.
    pub(crate) fn schema_of_its_own(self) -> Option<&'static str> {
        match self {
            Self::PostgreSql => Some("pg_catalog"),
            Self::MySql => None,
        }
    }

    /// Whether a schema is the server's own catalogue, which hides no table of its users.
    pub(crate) fn is_of_system(self, schema: &str) -> bool {
        match self {
            Self::PostgreSql => matches!(schema, "pg_catalog" | "information_schema" | "pg_toast"),
            Self::MySql => ["information_schema", "performance_schema", "mysql"]
                .iter()
                .any(|own| schema.eq_ignore_ascii_case(own)),
        }
    }

    /// What it calls the places that tables are in.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::PostgreSql => "schema",
            Self::MySql => "database",
        }
    }
}
