//! A statement as it goes into the record.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Encoding, Sql, TypedValue};
use crate::mysql::command::Command;
use crate::mysql::frontend::{Body, Request};
use crate::mysql::lexer::Backslash;
use crate::mysql::sql;
use crate::mysql::statements::{Prepared, Statements};
use crate::mysql::values::Values;
use crate::part::Part;
use crate::sql::Strings;

/// How a statement arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementProtocol {
    /// COM_QUERY.
    Query,
    /// COM_STMT_EXECUTE.
    Execute,
    /// COM_STMT_BULK_EXECUTE.
    BulkExecute,
    /// COM_STMT_FETCH: more rows of a statement that was executed with a cursor.
    Fetch,
    /// A command of its own.
    Command,
}

/// A statement that is about to run.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// Number within the session, from 1.
    pub number: u64,
    /// How it arrived.
    pub protocol: StatementProtocol,
    /// The command that runs it.
    pub command: &'static Command,
    source: Source<'a>,
    values: Values<'a>,
    backslash: Backslash,
    in_another_database: bool,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Text(Part<'a>),
    Prepared(Arc<Prepared>),
    /// Which is not known by this number.
    Unknown(u32),
    Database(&'static str, &'a [u8]),
    Fields {
        table: &'a [u8],
        wildcard: &'a [u8],
    },
    Kill(u32),
    Command,
}

impl<'a> Statement<'a> {
    pub(super) fn new(number: u64, request: &Request<'a>, statements: &Statements) -> Self {
        let prepared = |statement: u32| match statements.text(statement) {
            Some(prepared) => Source::Prepared(prepared),
            None => Source::Unknown(statement),
        };
        let command = request.command;
        let (protocol, source, values) = match &request.body {
            Body::Query(query) => {
                (StatementProtocol::Query, Source::Text(query.text), query.attributes.clone())
            }
            Body::Execute(execute) => {
                let protocol = if command.code == 0xfa {
                    StatementProtocol::BulkExecute
                } else {
                    StatementProtocol::Execute
                };
                (protocol, prepared(execute.statement), execute.values.clone())
            }
            Body::Fetch { statement, .. } => {
                (StatementProtocol::Fetch, prepared(*statement), Values::NONE)
            }
            Body::Database(name) => {
                let verb = match command.code {
                    0x05 => "CREATE DATABASE",
                    0x06 => "DROP DATABASE",
                    _ => "USE",
                };
                (StatementProtocol::Command, Source::Database(verb, name), Values::NONE)
            }
            Body::Fields { table, wildcard } => {
                (StatementProtocol::Command, Source::Fields { table, wildcard }, Values::NONE)
            }
            Body::Kill(connection) => {
                (StatementProtocol::Command, Source::Kill(*connection), Values::NONE)
            }
            Body::Prepare(_) | Body::LongData(_) | Body::Statement(_) | Body::Other(_) => {
                (StatementProtocol::Command, Source::Command, Values::NONE)
            }
        };
        let (backslash, databases) = match &source {
            Source::Prepared(prepared) => (prepared.backslash, prepared.databases),
            _ => (statements.backslash, statements.databases),
        };
        let in_another_database = databases != statements.databases;
        Self { number, protocol, command, source, values, backslash, in_another_database }
    }

    /// Its text; `encoding` is the session's ([`Tracker::encoding`](super::Tracker::encoding)), `bytes_max` what the
    /// record takes of it. Commands that have no text are given the one that says the same.
    pub fn sql(&self, encoding: &Encoding, bytes_max: usize) -> Sql {
        let own = |text: String| Sql::of(Part::whole(text.as_bytes()), &Encoding::Utf8, bytes_max);
        let name = |bytes: &[u8]| encoding.text(&Part::whole(bytes));
        match &self.source {
            Source::Text(text) => Sql::of(*text, encoding, bytes_max),
            Source::Prepared(prepared) => {
                Sql::of(prepared.text.part(), &prepared.encoding, bytes_max)
            }
            Source::Unknown(statement) => Sql::note(format!(
                "/* runs statement {statement}, which was not prepared by the protocol */"
            )),
            Source::Database(verb, database) => own(format!("{verb} {}", quoted(&name(database)))),
            Source::Fields { table, wildcard } => {
                let like = match name(wildcard) {
                    wildcard if wildcard.is_empty() => String::new(),
                    wildcard => format!(" LIKE '{}'", wildcard.replace('\'', "''")),
                };
                own(format!("SHOW COLUMNS FROM {}{like}", quoted(&name(table))))
            }
            Source::Kill(connection) => Sql::note(format!("KILL {connection}")),
            Source::Command if self.command.code == 0x0a => {
                Sql::note("SHOW PROCESSLIST".to_owned())
            }
            Source::Command => Sql::note(format!("/* {} */", self.command.name)),
        }
    }

    /// What a backslash in a literal of its text means: what it did when the text was sent, to be run or to be prepared.
    pub fn strings(&self) -> Strings {
        self.backslash.into()
    }

    /// Whether it was prepared while another database was the default, which its names without one are still in.
    pub fn is_in_another_database(&self) -> bool {
        self.in_another_database
    }

    /// What [`Self::sql`] gives, without its literals.
    pub fn redact(&self, text: &str) -> String {
        sql::redact(text, self.strings())
    }

    /// Rows of values that a bulk execute brings.
    pub fn rows(&self) -> u64 {
        self.values.rows()
    }

    /// Calls `each` with its bind values and query attributes, in order; those of a bulk execute row by row.
    pub fn for_each_value(&self, each: impl FnMut(TypedValue<'_>)) {
        self.values.for_each(each);
    }
}

fn quoted(name: &str) -> Cow<'_, str> {
    Cow::Owned(format!("`{}`", name.replace('`', "``")))
}
