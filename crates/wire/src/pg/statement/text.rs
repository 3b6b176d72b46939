//! A statement as it goes into the record.

use std::sync::Arc;

use super::named::{Name, Portal, name};
use crate::pg::Part;
use crate::pg::frontend::{FunctionCall, Values};
use crate::pg::value::TypedValue;
use crate::sql;
use crate::value::{Encoding, Sql};

/// How a statement arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementProtocol {
    /// Query.
    Simple,
    /// Execute of a portal.
    Extended,
    /// FunctionCall.
    Function,
    /// A command of a replication connection.
    Replication,
}

/// A statement that is about to run.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// Number within the session, from 1.
    pub number: u64,
    /// How it arrived.
    pub protocol: StatementProtocol,
    source: Source<'a>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Query(Part<'a>),
    Portal(Arc<Portal>),
    UnknownPortal(Name),
    Function { oid: u32, arguments: Values<'a> },
}

impl<'a> Statement<'a> {
    pub(super) fn query(number: u64, protocol: StatementProtocol, text: Part<'a>) -> Self {
        Self { number, protocol, source: Source::Query(text) }
    }

    pub(super) fn portal(number: u64, portal: Arc<Portal>) -> Self {
        Self { number, protocol: StatementProtocol::Extended, source: Source::Portal(portal) }
    }

    pub(super) fn unknown_portal(number: u64, portal: &[u8]) -> Self {
        let source = Source::UnknownPortal(name(portal));
        Self { number, protocol: StatementProtocol::Extended, source }
    }

    pub(super) fn function(number: u64, call: &FunctionCall<'a>) -> Self {
        let source = Source::Function { oid: call.oid, arguments: call.arguments };
        Self { number, protocol: StatementProtocol::Function, source }
    }

    /// Its text; `encoding` is the session's ([`Tracker::encoding`](super::Tracker::encoding)), `bytes_max` what the
    /// record takes of it.
    pub fn sql(&self, encoding: &Encoding, bytes_max: usize) -> Sql {
        match &self.source {
            Source::Query(text) => Sql::of(*text, encoding, bytes_max),
            Source::Portal(portal) => match &portal.prepared {
                Some(prepared) => Sql::of(prepared.text.part(), &prepared.encoding, bytes_max),
                None => Sql::note(format!(
                    "/* runs statement \"{}\", which was not prepared by the protocol */",
                    portal.statement.escape_ascii()
                )),
            },
            Source::UnknownPortal(name) => Sql::note(format!(
                "/* runs portal \"{}\", which was not opened by the protocol */",
                name.escape_ascii()
            )),
            Source::Function { oid, .. } => Sql::note(match function_name(*oid) {
                Some(name) => format!("/* calls function {oid} ({name}) */"),
                None => format!("/* calls function {oid} */"),
            }),
        }
    }

    /// Calls `each` with its bind values or arguments, in order.
    pub fn for_each_value(&self, mut each: impl FnMut(TypedValue<'_>)) {
        match &self.source {
            Source::Portal(portal) => portal.values().for_each(each),
            Source::Function { arguments, .. } => {
                arguments.iter().for_each(|value| each(TypedValue { value, type_oid: 0 }));
            }
            Source::Query(_) | Source::UnknownPortal(_) => {}
        }
    }
}

/// Functions of the large-object interface, which libpq calls by oid (`pg_proc.dat`).
fn function_name(oid: u32) -> Option<&'static str> {
    Some(match oid {
        715 => "lo_create",
        764 => "lo_import",
        765 => "lo_export",
        767 => "lo_import_with_oid",
        952 => "lo_open",
        953 => "lo_close",
        954 => "loread",
        955 => "lowrite",
        956 => "lo_lseek",
        957 => "lo_creat",
        958 => "lo_tell",
        964 => "lo_unlink",
        1004 => "lo_truncate",
        3170 => "lo_lseek64",
        3171 => "lo_tell64",
        3172 => "lo_truncate64",
        _ => return None,
    })
}

/// Names that a text gives to DEALLOCATE, in order.
pub(super) fn deallocated(text: &Part<'_>) -> Vec<Name> {
    let word = b"deallocate";
    let has_word = text.start.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    if !has_word {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(text.start);
    let names = sql::deallocated(&text);
    names.iter().map(|deallocated| name(deallocated.as_bytes())).collect()
}
