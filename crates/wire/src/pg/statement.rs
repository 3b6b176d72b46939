//! Which statement runs, and what became of it: one [`Tracker`] a session, told of both directions in order.
//!
//! ```text
//! for each frontend::Message, before it is forwarded:
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
//! **Statements.** Query, Execute and FunctionCall run one; each gets the next number, from 1. A Query is one statement
//! whatever it holds. An Execute runs the text of the prepared statement that its portal was bound to, with that
//! Bind's values; a portal or statement that SQL made (`DECLARE`, `PREPARE`) is named instead of guessed at. Parse and
//! Bind are not recorded: they run nothing.
//!
//! **Names.** The maps follow the server's: applied when a message is sent, and undone when it turns out that the server
//! skipped it. `DEALLOCATE`, `DISCARD ALL` and `CLOSE` in SQL remove names here too. Where it cannot be known which
//! name, all go: a text may be missing from the record, but never wrong.
//!
//! **Outcomes.** Each message that is answered waits in a queue. An error of the extended protocol ends the whole unit
//! up to its Sync: the Executes whose Parse or Bind failed get the error, those behind it [`Note::Skipped`]. An error
//! at Sync itself (a deferred constraint) gives the last statement of the unit a second outcome, [`Note::CommitFailed`].
//! Every statement has at least one outcome.
//!
//! **COPY from the client** swallows the Syncs that it reads. When it fails, nobody but the server knows how many of
//! them it had read; each other one is answered by a ReadyForQuery of its own, which stands alone: nothing comes before
//! it that another message would be answered with. Whether a statement right behind such a Sync runs or is skipped
//! could not be known either, so nothing is taken there before the COPY is answered ([`LimitExceeded::Copy`]).
//!
//! **Relations.** The tables that a RowDescription names are kept with the statement that it describes, and are part of
//! the outcome of everything that runs it. The same list is never made twice.
//!
//! **Bounds.** [`limits`](super::limits): `TRACKER_BYTES_MAX`, `STATEMENTS_MAX`, `PORTALS_MAX`, `PENDING_MAX`, `TAGS_MAX`,
//! `RELATIONS_MAX`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use super::backend::{self, TransactionStatus, rows_of_tag};
use super::frontend;
use super::limits::{
    NAME_BYTES_MAX, PENDING_MAX, PORTALS_MAX, SERVER_TEXT_BYTES_MAX, STATEMENTS_MAX, TAGS_MAX,
    TRACKER_BYTES_MAX,
};

mod named;
mod outcome;
mod pending;
mod relations;
mod requests;
mod text;

use crate::budget::Budget;
use named::{Name, Portal, Prepared};
pub use outcome::{Note, Outcome, ServerError};
use pending::{Expectation, Run, Undo};
use relations::Collected;
pub use relations::Relations;
pub use text::{Statement, StatementProtocol};

pub use super::value::TypedValue;
pub use crate::value::{Encoding, Parameter, Sql};

/// The session asks its tracker to keep more than is allowed; it ends with `54000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitExceeded {
    /// Prepared statements.
    #[error("a session may have {STATEMENTS_MAX} prepared statements")]
    Statements,
    /// Portals.
    #[error("a session may have {PORTALS_MAX} portals")]
    Portals,
    /// Bytes of texts and values.
    #[error("prepared statements and portals of a session may take {TRACKER_BYTES_MAX} bytes")]
    Bytes,
    /// Messages without an answer.
    #[error("a session may send {PENDING_MAX} messages ahead of their answers")]
    Pending,
    /// Something else where COPY data belong.
    #[error("a message was sent into a COPY whose end the server has not confirmed")]
    Copy,
}

/// Which statements a session runs.
#[derive(Debug, Default)]
pub struct Tracker {
    statements: HashMap<Name, Arc<Prepared>>,
    portals: HashMap<Name, Arc<Portal>>,
    pending: VecDeque<Expectation>,
    /// Query, FunctionCall, Sync and Flush in `pending`: the server owes answers, so waiting for them is safe.
    owed: usize,
    reading: Reading,
    /// What is known of the statement at the head of the queue.
    progress: Progress,
    /// Tables that the rows of the Query at the head come from.
    collected: Collected,
    outcomes: VecDeque<Outcome>,
    last_number: u64,
    /// The statement that ended last in the current unit of extended query.
    last_run: Option<Run>,
    encoding: Encoding,
    replication: bool,
    budget: Budget,
    /// Syncs that the COPY at the head of the queue reads, unless it fails before.
    swallowed: usize,
    /// ReadyForQuery messages that a COPY which failed may have left to come.
    ready_extra: usize,
    rows_before: u64,
    mismatches: u64,
    transaction: Option<TransactionStatus>,
}

/// What the server does with what the client sends now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    /// It answers each message.
    #[default]
    Messages,
    /// After an error of the extended protocol it reads on to the next Sync.
    Skipping,
    /// It reads CopyData, and neither Flush nor Sync means anything to it.
    CopyIn,
}

#[derive(Debug, Default)]
struct Progress {
    tags: Vec<String>,
    rows: u64,
    error: Option<ServerError>,
}

impl Tracker {
    /// Of an ordinary session, or of one that speaks the replication protocol.
    pub fn new(replication: super::startup::Replication) -> Self {
        let replication = replication != super::startup::Replication::No;
        Self { replication, ..Self::default() }
    }

    /// Whether the client may be read on.
    pub fn has_room(&self) -> bool {
        if self.pending.len() >= PENDING_MAX.saturating_sub(HEADROOM) {
            return false;
        }
        let answers_come = self.owed > 0 || self.pending.len() > UNFLUSHED_MAX;
        !(answers_come && self.budget.used() > TRACKER_BYTES_MAX / 2)
    }

    /// Transaction status as the server said it last.
    pub fn transaction(&self) -> Option<TransactionStatus> {
        self.transaction
    }

    /// The encoding of the client's texts.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Whether statements run whose outcome is not known.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Statements so far.
    pub fn statements(&self) -> u64 {
        self.last_number
    }

    /// Server messages that fitted no expectation; more than none means that one of the three is wrong.
    pub fn mismatches(&self) -> u64 {
        self.mismatches
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
        use frontend::Message;
        if self.pending.len() >= PENDING_MAX {
            return Err(LimitExceeded::Pending);
        }
        let copies = matches!(
            message,
            Message::CopyDone
                | Message::CopyFail(_)
                | Message::Sync
                | Message::Flush
                | Message::Terminate
        );
        if !copies && self.is_in_copy() {
            return Err(LimitExceeded::Copy);
        }
        match message {
            Message::Query(query) => Ok(Some(self.query(query, mark))),
            Message::Parse(parse) => self.parse(parse).map(|()| None),
            Message::Bind(bind) => self.bind(bind).map(|()| None),
            Message::Execute(execute) => Ok(Some(self.execute(execute, mark))),
            Message::FunctionCall(call) => Ok(Some(self.function_call(call, mark))),
            Message::Describe(target) => {
                self.describe(target);
                Ok(None)
            }
            Message::Close(target) => {
                self.close(target);
                Ok(None)
            }
            Message::Sync => {
                self.sync();
                Ok(None)
            }
            Message::CopyDone | Message::CopyFail(_) => {
                self.copy_ends();
                Ok(None)
            }
            Message::Flush => {
                self.owed = self.owed.max(usize::from(!self.pending.is_empty()));
                Ok(None)
            }
            Message::Terminate => Ok(None),
        }
    }

    /// Takes note of a server's message. `rows` are the DataRows so far, as the scanner counts them.
    pub fn server(&mut self, message: &backend::Message<'_>, rows: u64) {
        use backend::Message;
        self.past_copies();
        match message {
            Message::ReadyForQuery(status) => self.ready(*status),
            Message::CommandComplete(tag) => self.command_complete(tag),
            Message::ErrorResponse(fields) => self.error(fields, rows),
            Message::EmptyQueryResponse => self.execute_ends(None),
            Message::PortalSuspended => self.suspended(rows),
            Message::ParseComplete => self.done(|front| matches!(front, Expectation::Parse { .. })),
            Message::BindComplete => self.done(|front| matches!(front, Expectation::Bind { .. })),
            Message::CloseComplete => self.done(|front| matches!(front, Expectation::Close { .. })),
            Message::NoData => self.done(|front| matches!(front, Expectation::Describe { .. })),
            Message::RowDescription(row) => self.described(row),
            Message::ParameterDescription(types) => self.parameter_types(types),
            Message::CopyInResponse => self.copy_begins(),
            Message::ParameterStatus { name: b"client_encoding", value } => {
                self.encoding = Encoding::named(value);
            }
            Message::ParameterStatus { .. }
            | Message::Authentication(_)
            | Message::BackendKeyData { .. }
            | Message::NoticeResponse(_)
            | Message::CopyOutResponse
            | Message::CopyBothResponse
            | Message::CopyDone
            | Message::FunctionCallResponse
            | Message::NegotiateProtocolVersion => return,
        }
        self.rows_before = rows;
        if !matches!(message, Message::ReadyForQuery(_) | Message::ErrorResponse(_)) {
            self.ready_extra = 0;
        }
    }

    /// The session is over: what has no outcome gets one.
    pub fn finish(&mut self) {
        while let Some(expectation) = self.pending.pop_front() {
            let Some(run) = expectation.run() else { continue };
            let progress = std::mem::take(&mut self.progress);
            let mut outcome = Outcome::of(run, Note::Unknown);
            if progress.error.is_some() {
                outcome.note = None;
            }
            (outcome.tags, outcome.rows, outcome.error) =
                (progress.tags, progress.rows, progress.error);
            outcome.relations = match &expectation {
                Expectation::Query { .. } => self.collected.take(),
                _ => expectation.relations(),
            };
            self.outcomes.push_back(outcome);
        }
        self.owed = 0;
    }

    fn pop(&mut self) -> Option<Expectation> {
        let front = self.pending.pop_front()?;
        self.owed = self.owed.saturating_sub(usize::from(front.ends_with_ready()));
        if self.pending.is_empty() {
            self.owed = 0;
        }
        Some(front)
    }

    /// The end of the client's data needs no answer of its own.
    fn past_copies(&mut self) {
        while matches!(self.pending.front(), Some(Expectation::CopyEnd)) {
            self.pop();
        }
    }

    fn mismatch(&mut self) {
        self.mismatches = self.mismatches.saturating_add(1);
    }

    /// One message answers the expectation at the head.
    fn done(&mut self, fits: impl Fn(&Expectation) -> bool) {
        if self.pending.front().is_some_and(fits) {
            self.pop();
        } else {
            self.mismatch();
        }
    }

    /// Rows are described for a Describe, or come with a Query.
    fn described(&mut self, row: &backend::Row<'_>) {
        match self.pending.front() {
            Some(Expectation::Query { .. }) => self.collected.add(row),
            Some(Expectation::Describe { prepared, portal }) => {
                let cell = match (prepared, portal) {
                    (Some(prepared), _) => Some(&prepared.relations),
                    (None, Some(portal)) => Some(portal.relations()),
                    (None, None) => None,
                };
                if let Some(cell) = cell {
                    cell.replace(|known| self.collected.only(row, known));
                }
                self.pop();
            }
            _ => self.mismatch(),
        }
    }

    fn parameter_types(&mut self, types: &backend::ParameterTypes<'_>) {
        match self.pending.front() {
            Some(Expectation::Describe { prepared, .. }) => {
                if let Some(prepared) = prepared {
                    prepared.describe(types.iter().collect());
                }
            }
            _ => self.mismatch(),
        }
    }

    /// The Syncs between here and the end of the client's data are read by COPY, which ignores them.
    fn copy_begins(&mut self) {
        while matches!(self.pending.get(1), Some(Expectation::Sync)) {
            self.pending.remove(1);
            self.swallowed = self.swallowed.saturating_add(1);
        }
        self.owed = self.pending.iter().filter(|each| each.ends_with_ready()).count();
        if self.pending.len() <= 1 {
            self.reading = Reading::CopyIn;
        }
    }

    fn copy_is_over(&mut self) {
        if self.reading == Reading::CopyIn {
            self.reading = Reading::Messages;
        }
    }

    fn command_complete(&mut self, tag: &[u8]) {
        let rows = rows_of_tag(tag).unwrap_or_default();
        self.swallowed = 0;
        self.forget_names(tag);
        let tag = tag.get(..SERVER_TEXT_BYTES_MAX).unwrap_or(tag);
        self.progress.rows = self.progress.rows.saturating_add(rows);
        if self.progress.tags.len() < TAGS_MAX {
            self.progress.tags.push(String::from_utf8_lossy(tag).into_owned());
        }
        match self.pending.front() {
            Some(Expectation::Query { .. }) => {}
            _ => self.execute_ends(None),
        }
    }

    fn suspended(&mut self, rows: u64) {
        self.progress.rows = rows.saturating_sub(self.rows_before);
        self.execute_ends(Some(Note::Suspended));
    }

    /// The Execute at the head is over; what was noted of it is its outcome. A Query goes on to its ReadyForQuery.
    fn execute_ends(&mut self, note: Option<Note>) {
        match self.pending.front() {
            Some(Expectation::Query { .. }) => {}
            Some(front @ Expectation::Execute { run, .. }) => {
                let (run, relations) = (*run, front.relations());
                self.pop();
                self.copy_is_over();
                self.last_run = Some(run);
                self.conclude(run, note, relations);
            }
            _ => {
                self.progress = Progress::default();
                self.mismatch();
            }
        }
    }

    fn conclude(&mut self, run: Run, note: Option<Note>, relations: Relations) {
        let Progress { tags, rows, error } = std::mem::take(&mut self.progress);
        let Run { number, mark } = run;
        self.outcomes.push_back(Outcome { number, mark, tags, rows, relations, error, note });
    }

    fn ready(&mut self, status: TransactionStatus) {
        self.transaction = Some(status);
        self.copy_is_over();
        if self.is_extra() {
            self.ready_extra = self.ready_extra.saturating_sub(1);
            // It answers a Sync: the server reads on behind it.
            self.reading = Reading::Messages;
            return;
        }
        while let Some(front) = self.pop() {
            match front {
                Expectation::Query { run, .. } | Expectation::FunctionCall { run } => {
                    let relations = self.collected.take();
                    self.conclude(run, None, relations);
                    break;
                }
                Expectation::Sync => break,
                Expectation::CopyEnd => {}
                other => {
                    self.mismatch();
                    if let Some(run) = other.run() {
                        self.conclude(run, Some(Note::Unknown), Relations::default());
                    }
                }
            }
        }
        self.past_copies();
        self.progress = Progress::default();
        self.last_run = None;
        if status == TransactionStatus::Idle {
            self.forget_portals();
        }
    }

    /// Whether a ReadyForQuery answers none of the messages that wait, but a Sync that a failed COPY did not read.
    fn is_extra(&self) -> bool {
        let awaited = match self.pending.front() {
            Some(Expectation::Sync) => true,
            Some(Expectation::Query { .. } | Expectation::FunctionCall { .. }) => {
                self.progress.error.is_some()
            }
            _ => false,
        };
        self.ready_extra > 0 && !awaited
    }

    fn error(&mut self, fields: &backend::Fields<'_>, rows: u64) {
        self.ready_extra = std::mem::take(&mut self.swallowed);
        let error =
            ServerError { sqlstate: fields.sqlstate().to_owned(), message: fields.message() };
        if self.progress.rows == 0 {
            self.progress.rows = rows.saturating_sub(self.rows_before);
        }
        match self.pending.front() {
            None => {}
            Some(Expectation::Query { .. } | Expectation::FunctionCall { .. }) => {
                self.copy_is_over();
                self.progress.error = Some(error);
            }
            Some(Expectation::Sync) => {
                if let Some(run) = self.last_run.take() {
                    self.progress.error = Some(error);
                    self.conclude(run, Some(Note::CommitFailed), Relations::default());
                }
            }
            Some(_) => self.unit_fails(&error),
        }
    }

    /// An error of the extended protocol: everything up to the Sync is over, and what of it was skipped never happened.
    fn unit_fails(&mut self, error: &ServerError) {
        let end = self.pending.iter().position(|each| matches!(each, Expectation::Sync));
        self.reading = if end.is_none() { Reading::Skipping } else { Reading::Messages };
        let unit: Vec<_> = self.pending.drain(..end.unwrap_or(self.pending.len())).collect();
        self.owed = self.pending.iter().filter(|each| each.ends_with_ready()).count();
        let Some(failed) = unit.first() else { return };
        for (index, expectation) in unit.iter().enumerate() {
            let Some(run) = expectation.run() else { continue };
            if index == 0 || failed.caused(expectation) {
                self.progress.error = Some(error.clone());
                self.conclude(run, None, expectation.relations());
            } else {
                self.skipped(run);
            }
        }
        self.progress = Progress::default();
        for expectation in unit.into_iter().rev() {
            match expectation.into_undo() {
                Some(Undo::Statement { name, former }) => {
                    restore(&mut self.statements, name, former);
                }
                Some(Undo::Portal { name, former }) => restore(&mut self.portals, name, former),
                None => {}
            }
        }
    }
}

/// Messages that a reader may still hand over after it was told to stop: those in 128 KiB.
const HEADROOM: usize = PENDING_MAX / 2;

/// A server that nobody asked to flush keeps at most 8 KiB of answers (`PqSendBufferSize`), five bytes each or more. So
/// when more messages than this are pending answers are on their way, and waiting for them is safe.
const UNFLUSHED_MAX: usize = 8 * 1024 / 5;

fn restore<T>(map: &mut HashMap<Name, Arc<T>>, name: Name, former: Option<Arc<T>>) {
    match former {
        Some(former) => {
            map.insert(name, former);
        }
        None => {
            map.remove(name.as_ref());
        }
    }
}

const _: () = assert!(NAME_BYTES_MAX < 64, "names are compared by NAMEDATALEN - 1 bytes");
