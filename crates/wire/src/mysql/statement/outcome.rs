//! What became of a statement.

use super::Run;
use crate::mysql::backend::Done;

/// What became of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The statement's number.
    pub number: u64,
    /// What the caller gave with the message that ran it.
    pub mark: u64,
    /// Results that ended well: more than one of several statements, or of a procedure.
    pub results: u64,
    /// Rows that were sent.
    pub rows: u64,
    /// Rows affected, of all results together.
    pub affected: u64,
    /// The last AUTO_INCREMENT value that a result told of; 0 when there was none.
    pub last_insert_id: u64,
    /// Warnings of the last result.
    pub warnings: u16,
    /// Files of the client's that were loaded.
    pub files: Vec<LocalFile>,
    /// Status flags of the last result.
    pub status: u16,
    /// The error, when there was one.
    pub error: Option<ServerError>,
    /// Anything else that is to be said.
    pub note: Option<Note>,
}

impl Outcome {
    /// One more result.
    pub(super) fn add(&mut self, done: &Done<'_>, rows: u64) {
        self.results = self.results.saturating_add(1);
        self.rows = self.rows.saturating_add(rows);
        self.affected = self.affected.saturating_add(done.affected);
        if done.last_insert_id != 0 {
            self.last_insert_id = done.last_insert_id;
        }
        self.warnings = done.warnings;
        self.status = done.status;
    }

    pub(super) fn of(self, run: Run, note: Option<Note>) -> Self {
        Self { number: run.number, mark: run.mark, note, ..self }
    }
}

/// A file of the client's (`LOAD DATA LOCAL INFILE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFile {
    /// Its name, as the statement has it.
    pub name: Vec<u8>,
    /// What was sent of it; nothing where the client had no such file, or the session ended first.
    pub bytes: u64,
}

/// An error as the server reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// Its number.
    pub code: u16,
    /// SQLSTATE.
    pub sqlstate: String,
    /// The text.
    pub message: String,
}

/// What neither a result nor an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It has a cursor with more rows, which are fetched.
    Suspended,
    /// The session ended before the server said.
    Unknown,
}

impl Note {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
        }
    }
}
