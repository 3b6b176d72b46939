//! Which statement runs, and what became of it: one [`Tracker`] a session, told of both directions in order.
//!
//! ```text
//! for each frontend::Message, before it is forwarded (one that is refused is not told of):
//!     if let Some(statement) = tracker.client(&message, mark)? { record(statement) }
//! for each backend::Message, before or after it is forwarded:
//!     tracker.server(&message, rows);              // rows as in Step::Message
//!     while let Some(outcome) = tracker.next_outcome() { record(outcome) }
//! when the session ends, however:
//!     tracker.finish(); while let Some(outcome) = tracker.next_outcome() { record(outcome) }
//! ```
//!
//! `mark` is any number by which the caller tells time; the outcome gives it back, so that a duration needs no table.
//! While [`Tracker::has_room`] is false, asked before each message, the caller leaves the client's bytes where they are
//! and goes on reading the server.
//!
//! **Statements.** A query, an execute, a fetch and every other command that the table
//! ([`command`](super::command)) has as audited is one; each gets the next number, from 1. A query is one statement
//! whatever it holds, and so is a bulk execute. Preparing is not recorded: it runs nothing.
//!
//! **Prepared statements.** [`Statements`] maps the server's numbers to texts, types and data sent ahead. A text may be
//! missing from the record, but never wrong. What SQL's own `EXECUTE` and a procedure run is not seen: the record has the
//! text that was sent.
//!
//! **Outcomes.** Answers come in the order of the commands, each to its end, so the oldest command without an answer is
//! the one that is answered. Commands that have no answer (close, data sent ahead) never wait. Every statement has
//! exactly one outcome; of several results it has the sum, and an error among them.
//!
//! **Bounds.** [`limits`](super::limits): `TRACKER_BYTES_MAX`, `STATEMENTS_MAX`, `PENDING_MAX`.

use std::collections::VecDeque;

use thiserror::Error;

use super::backend::{self, Change, Done, Expected, status};
use super::command::{Answer, Treatment};
use super::error::ServerError as ErrorPacket;
use super::frontend::{self, Body};
use super::lexer::Backslash;
use super::limits::{PENDING_MAX, STATEMENTS_MAX, TRACKER_BYTES_MAX};
use super::statements::Statements;

mod effect;
mod outcome;
mod text;

use effect::{Effect, Unseen};
pub use outcome::{LocalFile, Note, Outcome, ServerError};
pub use text::{Statement, StatementProtocol};

pub use super::value::{Given, Type, TypedValue};
pub use crate::value::{Encoding, Parameter, Sql};

/// The session asks its tracker to keep more than is allowed; it ends with `1461 42000` or `1153 08S01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitExceeded {
    /// Prepared statements.
    #[error("a session may have {STATEMENTS_MAX} prepared statements")]
    Statements,
    /// Bytes of texts and values.
    #[error("prepared statements and their data may take {TRACKER_BYTES_MAX} bytes of a session")]
    Bytes,
    /// Commands without an answer.
    #[error("a session may send {PENDING_MAX} commands ahead of their answers")]
    Pending,
}

/// What the status flags say of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// None is open.
    Idle,
    /// One is.
    InTransaction,
}

/// A command that was sent and is not answered.
#[derive(Debug)]
struct Pending {
    run: Option<Run>,
    answer: Answer,
    sequence: u8,
    effect: Effect,
    /// Whether it may change the default database without anyone telling.
    unseen: Unseen,
}

/// One statement that runs.
#[derive(Clone, Copy, Debug)]
struct Run {
    number: u64,
    mark: u64,
}

/// What the server told of in the answer that it gives.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    character_set: bool,
    database: bool,
}

/// Which statements a session runs.
#[derive(Debug, Default)]
pub struct Tracker {
    statements: Statements,
    pending: VecDeque<Pending>,
    /// What is known of the statement at the head of the queue.
    progress: Outcome,
    outcomes: VecDeque<Outcome>,
    last_number: u64,
    encoding: Encoding,
    database: Option<String>,
    database_doubtful: bool,
    told: Told,
    /// Why the statement that was sent last to be prepared is not.
    not_prepared: Option<ServerError>,
    rows_before: u64,
    mismatches: u64,
    status: Option<u16>,
    /// A server may ask for a client's file.
    loads_files: bool,
}

impl Tracker {
    /// Of a session whose handshake response named this collation and database.
    pub fn new(collation: u8, database: Option<&str>) -> Self {
        Self {
            encoding: Encoding::of_collation(collation),
            database: database.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Both sides have agreed on LOCAL_FILES.
    #[must_use]
    pub fn loading_files(self) -> Self {
        Self { loads_files: true, ..self }
    }

    /// Whether the statement that is being answered asks for this file of the client's.
    pub fn names_file(&self, name: &[u8]) -> bool {
        let front = self.pending.front().map(|front| &front.effect);
        matches!(front, Some(Effect::Loads(files)) if files.iter().any(|file| file == name))
    }

    /// Whether the client may be read on.
    pub fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX / 2
    }

    /// Transaction status as the server said it last.
    pub fn transaction(&self) -> Option<TransactionStatus> {
        self.status.map(|flags| match flags & status::IN_TRANS {
            0 => TransactionStatus::Idle,
            _ => TransactionStatus::InTransaction,
        })
    }

    /// The default database, as far as is known.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Whether the default database may have changed in a way that was not seen.
    pub fn database_is_doubtful(&self) -> bool {
        self.database_doubtful
    }

    /// The encoding of the client's texts.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Whether everything that is answered has been.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Statements so far.
    pub fn statements_run(&self) -> u64 {
        self.last_number
    }

    /// Server messages that fitted no expectation; more than none means that one of the three is wrong.
    pub fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// For [`frontend::Scanner::step`].
    pub fn statements(&mut self) -> &mut Statements {
        &mut self.statements
    }

    /// For [`backend::Scanner::step`].
    pub fn expected(&self) -> Option<Expected> {
        let Pending { answer, sequence, .. } = self.pending.front()?;
        Some(Expected { answer: *answer, sequence: *sequence })
    }

    /// The next outcome that is known.
    pub fn next_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// Takes note of a client's message; gives the statement that it runs, which is to be recorded before the message
    /// is forwarded.
    pub fn client<'a>(
        &mut self,
        message: &frontend::Message<'a>,
        mark: u64,
    ) -> Result<Option<Statement<'a>>, LimitExceeded> {
        let request = match message {
            frontend::Message::Command(request) => request,
            frontend::Message::FileEnd { sequence, bytes } => {
                self.file_ends(*sequence, *bytes);
                return Ok(None);
            }
        };
        if self.pending.len() >= PENDING_MAX {
            return Err(LimitExceeded::Pending);
        }
        match &request.body {
            Body::Prepare(text) => self.statements.prepare(*text, self.encoding.clone())?,
            Body::LongData(_) if self.statements.is_full() => return Err(LimitExceeded::Bytes),
            Body::Statement(statement) if request.command.answer == Answer::Nothing => {
                self.statements.close(*statement);
            }
            Body::Statement(statement) => self.statements.reset(*statement),
            Body::Query(_)
            | Body::Execute(_)
            | Body::LongData(_)
            | Body::Fetch { .. }
            | Body::Database(_)
            | Body::Fields { .. }
            | Body::Kill(_)
            | Body::Other(_) => {}
        }
        let audited = request.command.treatment != Treatment::Forwarded;
        let run = audited.then(|| {
            self.last_number = self.last_number.saturating_add(1);
            Run { number: self.last_number, mark }
        });
        let statement = run.map(|run| Statement::new(run.number, request, &self.statements));
        let answer = request.answer();
        if answer == Answer::Nothing {
            return Ok(statement);
        }
        let sequence = request.sequence.wrapping_add(1);
        let files = self.loads_files.then_some(self.statements.backslash);
        let effect = Effect::of(request, files);
        let unseen = effect::unseen(request, &effect, &self.statements);
        self.pending.push_back(Pending { run, answer, sequence, effect, unseen });
        Ok(statement)
    }

    /// The number of a command that is refused: it is recorded, and not told of otherwise.
    pub fn refused(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    /// The server goes on behind the last packet of the file.
    fn file_ends(&mut self, sequence: u8, bytes: u64) {
        if let Some(file) = self.progress.files.last_mut() {
            file.bytes = bytes;
        }
        match self.pending.front_mut() {
            Some(front) => front.sequence = sequence.wrapping_add(1),
            None => self.mismatch(),
        }
    }

    /// Takes note of what an OK packet says of the session: to be told of the one that ends the login
    /// ([`backend::done`]).
    pub fn login(&mut self, done: &Done<'_>) {
        self.note(done);
        self.told = Told::default();
    }

    fn note(&mut self, done: &Done<'_>) {
        self.status = Some(done.status);
        self.statements.backslash = match done.status & status::NO_BACKSLASH_ESCAPES {
            0 => Backslash::Escapes,
            _ => Backslash::Plain,
        };
        for change in done.changes() {
            match change {
                Change::Variable { name: b"character_set_client", value } => {
                    self.told.character_set = true;
                    self.character_set(&String::from_utf8_lossy(value));
                }
                Change::Database(name) => {
                    self.told.database = true;
                    self.database_is(name);
                }
                Change::Variable { .. } | Change::Other(_) => {}
            }
        }
    }

    /// Takes note of a server's message. `rows` are the rows so far, as the scanner counts them.
    pub fn server(&mut self, message: &backend::Message<'_>, rows: u64) {
        match message {
            backend::Message::Done(done) => self.done(done, rows),
            backend::Message::Error(error) => self.error(error, rows),
            backend::Message::Prepared(prepared) => {
                self.statements.numbered(prepared.statement, prepared.parameters);
                if prepared.descriptions == 0 {
                    self.answered(None);
                }
            }
            backend::Message::Described | backend::Message::Text => self.answered(None),
            // The answer goes on where the file ends.
            backend::Message::File { name, .. } => {
                self.progress.files.push(LocalFile { name: name.to_vec(), bytes: 0 });
                if let Some(front) = self.pending.front_mut() {
                    front.answer = Answer::Status;
                }
            }
        }
        self.rows_before = rows;
    }

    fn done(&mut self, done: &Done<'_>, rows: u64) {
        self.note(done);
        self.progress.add(done, rows.saturating_sub(self.rows_before));
        if done.has_more_results() {
            return;
        }
        // A statement that has no cursor may carry the flag of one that a procedure opened.
        let fetched = self.pending.front().map(|front| front.answer);
        let suspended = matches!(fetched, Some(Answer::Cursor | Answer::Rows))
            && done.has_cursor()
            && done.status & status::LAST_ROW_SENT == 0;
        self.answered(suspended.then_some(Note::Suspended));
    }
}
