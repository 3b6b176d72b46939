//! What passes between client and server, as events for the audit log: statements before they are forwarded, outcomes
//! as the server tells them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use control::{LiveSession, SessionState};
use model::event::{
    Actor, Parameter, Statement, StatementError, StatementEvent, StatementOutcome,
    StatementProtocol,
};
use model::kind::server::AuditSettings;
use model::{ServerName, SessionId, Timestamp};
use wire::pg::backend::{self, TransactionStatus};
use wire::pg::startup::Replication;
use wire::pg::statement::{self, LimitExceeded, Relations, Tracker};
use wire::pg::{Malformed, frontend};
use wire::sql::{self, Strings};

use crate::record::Observed;
use crate::relay::State;

/// Of a statement's text the log keeps so much; of the rest, length and SHA-256.
const SQL_BYTES_MAX: usize = 64 * 1024;
/// Of one bind value the log keeps so much.
const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Of all bind values of one statement the log keeps so much, and of each at least [`VALUE_BYTES_MIN`].
const VALUES_BYTES_MAX: usize = 256 * 1024;
const VALUE_BYTES_MIN: usize = 64;

/// Tables that a session remembers to have told of; beyond that it begins anew.
const TOLD_MAX: usize = 1_000;

/// Why a session cannot go on being observed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unobservable {
    /// Not the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// More prepared statements, portals or unanswered messages than a session may have.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// What every event of one session says.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The session.
    pub session: SessionId,
    /// Who.
    pub actor: Actor,
    /// Where.
    pub server: ServerName,
    /// In which database.
    pub database: String,
    /// What is left out.
    pub audit: AuditSettings,
}

/// Observes one session.
#[derive(Debug)]
pub(crate) struct Observer {
    subject: Subject,
    live: Arc<LiveSession>,
    /// What the list of sessions says.
    shown: State,
    client: frontend::Scanner,
    server: backend::Scanner,
    tracker: Tracker,
    strings: Strings,
    /// Says what every record of a statement says; the rest is filled in for each.
    record: Statement,
    told: Told,
    terminated: bool,
    fatal: bool,
}

impl Observer {
    /// Nothing has passed yet.
    pub(crate) fn new(subject: Subject, replication: Replication, live: Arc<LiveSession>) -> Self {
        let record = subject.blank();
        Self {
            subject,
            live,
            shown: State::Quiet,
            client: frontend::Scanner::new(),
            server: backend::Scanner::new(),
            tracker: Tracker::new(replication),
            strings: Strings::default(),
            record,
            told: Told::default(),
            terminated: false,
            fatal: false,
        }
    }

    /// A setting that the server told while it let us in.
    pub(crate) fn parameter(&mut self, name: &str, value: &str) {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        self.tracker.server(&backend::Message::ParameterStatus { name, value }, 0);
        note_strings(&mut self.strings, name, value);
    }

    /// Bytes from the client, behind those that were not taken; says how many may be forwarded once what was observed
    /// is recorded. The rest wants more behind it.
    pub(crate) fn inbound(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        observed: &mut Observed,
    ) -> Result<usize, Unobservable> {
        let Self { subject, live, client, tracker, strings, record, terminated, .. } = self;
        let mut done = 0;
        loop {
            match client.step(bytes.get(done..).unwrap_or_default())? {
                frontend::Step::Need(_) => return Ok(done),
                frontend::Step::Pass { length } => done += length,
                frontend::Step::Message { length, message } => {
                    *terminated |= message == frontend::Message::Terminate;
                    if let Some(statement) = tracker.client(&message, mark(now))? {
                        subject.fill(record, &statement, (tracker.encoding(), *strings));
                        live.statement(&record.sql);
                        self.shown = State::Running;
                        observed.push(StatementEvent::Statement(record));
                        // An idle session holds no text.
                        (record.sql, record.parameters) = (String::new(), Vec::new());
                    }
                    done += length;
                }
            }
        }
    }

    /// Bytes from the server, likewise.
    pub(crate) fn outbound(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        observed: &mut Observed,
    ) -> Result<usize, Unobservable> {
        let mut done = 0;
        loop {
            match self.server.step(bytes.get(done..).unwrap_or_default())? {
                backend::Step::Need(_) => break,
                backend::Step::Pass { length } => done += length,
                backend::Step::Message { length, message, rows } => {
                    match &message {
                        backend::Message::ErrorResponse(fields) => self.fatal |= fields.is_fatal(),
                        backend::Message::ParameterStatus { name, value } => {
                            note_strings(&mut self.strings, name, value);
                        }
                        // A client that is asked again could give its token to a server that wants it.
                        backend::Message::Authentication(_) => {
                            return Err(login_again("Authentication"));
                        }
                        backend::Message::BackendKeyData { .. } => {
                            return Err(login_again("BackendKeyData"));
                        }
                        backend::Message::NegotiateProtocolVersion => {
                            return Err(login_again("NegotiateProtocolVersion"));
                        }
                        _ => {}
                    }
                    self.tracker.server(&message, rows);
                    done += length;
                }
            }
        }
        self.collect_outcomes(now, observed);
        self.show();
        Ok(done)
    }

    fn show(&mut self) {
        let state = self.state();
        if state != self.shown {
            self.shown = state;
            self.live.state(match state {
                State::Running => SessionState::Active,
                State::InTransaction => SessionState::IdleInTransaction,
                State::Quiet => SessionState::Idle,
            });
        }
    }

    /// The session is over: statements without an outcome get one that says so.
    pub(crate) fn finish(&mut self, now: Timestamp, observed: &mut Observed) {
        self.tracker.finish();
        self.collect_outcomes(now, observed);
    }

    fn collect_outcomes(&mut self, now: Timestamp, observed: &mut Observed) {
        while let Some(outcome) = self.tracker.next_outcome() {
            if let Some(news) = self.told.news(&outcome.relations) {
                self.live.relations(&news);
            }
            let outcome = self.subject.outcome(outcome, now);
            observed.push(StatementEvent::StatementOutcome(&outcome));
        }
    }

    /// Whether the client may be read on.
    pub(crate) fn has_room(&self) -> bool {
        self.tracker.has_room()
    }

    /// What is going on.
    pub(crate) fn state(&self) -> State {
        let still =
            self.tracker.is_idle() && self.server.at_boundary() && self.client.at_boundary();
        match self.tracker.transaction() {
            _ if !still => State::Running,
            None | Some(TransactionStatus::Idle) => State::Quiet,
            Some(TransactionStatus::InTransaction | TransactionStatus::Failed) => {
                State::InTransaction
            }
        }
    }

    /// Bytes to the end of the server's message that was begun.
    pub(crate) fn outbound_left(&self) -> usize {
        self.server.left()
    }

    /// Whether the client said that it goes.
    pub(crate) fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// Whether the server itself told the client that the session is over.
    pub(crate) fn was_told(&self) -> bool {
        self.fatal
    }

    /// Messages of the server that fitted nothing that the client had sent.
    pub(crate) fn mismatches(&self) -> u64 {
        self.tracker.mismatches()
    }

    /// Statements so far.
    pub(crate) fn statements(&self) -> u64 {
        self.tracker.statements()
    }

    /// Who and where.
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// Which tables this session has told of; a session that asks the same again costs one comparison.
#[derive(Debug, Default)]
struct Told {
    last: Relations,
    all: BTreeSet<u32>,
}

impl Told {
    fn news(&mut self, relations: &Relations) -> Option<Vec<u32>> {
        if relations.is_empty() || Arc::ptr_eq(relations, &self.last) {
            return None;
        }
        self.last = Arc::clone(relations);
        if self.all.len() > TOLD_MAX {
            self.all.clear();
        }
        let news = relations.iter().copied().filter(|oid| self.all.insert(*oid));
        Some(news.collect::<Vec<u32>>()).filter(|news| !news.is_empty())
    }
}

/// The tracker hands it back with the outcome: microseconds since the epoch.
fn mark(now: Timestamp) -> u64 {
    u64::try_from(now.micros()).unwrap_or_default()
}

fn login_again(message: &'static str) -> Unobservable {
    Malformed::Body { message, what: "it belongs to a login, which is over" }.into()
}

fn note_strings(strings: &mut Strings, name: &[u8], value: &[u8]) {
    if name == b"standard_conforming_strings" {
        *strings = if value == b"off" { Strings::Backslash } else { Strings::Standard };
    }
}

impl Subject {
    /// A record of a statement, without the statement.
    fn blank(&self) -> Statement {
        Statement {
            session: self.session,
            number: 0,
            actor: self.actor.clone(),
            server: self.server.clone(),
            database: self.database.clone(),
            protocol: StatementProtocol::Simple,
            sql: String::new(),
            sql_bytes: None,
            sql_sha256: None,
            encoding: None,
            parameters: Vec::new(),
        }
    }

    fn fill(
        &self,
        record: &mut Statement,
        statement: &statement::Statement<'_>,
        (encoding, strings): (&statement::Encoding, Strings),
    ) {
        let statement::Sql { mut text, bytes, sha256, encoding: other } =
            statement.sql(encoding, SQL_BYTES_MAX);
        if self.audit.redact_literals {
            text = sql::redact(&text, strings);
        }
        record.number = statement.number;
        record.protocol = protocol(statement.protocol);
        record.sql = text;
        record.sql_bytes = bytes;
        record.sql_sha256 = sha256.map(|digest| hex(&digest));
        record.encoding = other;
        record.parameters = self.parameters(statement, encoding);
    }

    fn parameters(
        &self,
        statement: &statement::Statement<'_>,
        encoding: &statement::Encoding,
    ) -> Vec<Parameter> {
        let (mut parameters, mut room) = (Vec::new(), VALUES_BYTES_MAX);
        statement.for_each_value(|value| {
            let Some(part) = value.value.bytes else {
                parameters.push(Parameter::Null);
                return;
            };
            if self.audit.redact_parameters {
                parameters
                    .push(Parameter::Redacted { bytes: part.length, sha256: hex(&part.digest()) });
                return;
            }
            let bytes_max = VALUE_BYTES_MAX.min(room).max(VALUE_BYTES_MIN);
            room = room.saturating_sub(part.start.len().min(bytes_max));
            parameters.push(parameter(value.parameter(encoding, bytes_max)));
        });
        parameters
    }

    fn outcome(&self, outcome: statement::Outcome, now: Timestamp) -> StatementOutcome {
        let statement::Outcome { number, mark, tags, rows, relations, error, note } = outcome;
        // A message of the server can repeat a literal or a value.
        let redacted = self.audit.redact_literals || self.audit.redact_parameters;
        let error = error.map(|statement::ServerError { sqlstate, message }| StatementError {
            sqlstate,
            message: if redacted { "redacted".to_owned() } else { message },
        });
        StatementOutcome {
            session: self.session,
            number,
            tags,
            rows,
            relations,
            error,
            duration_us: self::mark(now).saturating_sub(mark),
            note: note.map(|note| note.as_str().to_owned()),
        }
    }
}

fn protocol(protocol: statement::StatementProtocol) -> StatementProtocol {
    match protocol {
        statement::StatementProtocol::Simple => StatementProtocol::Simple,
        statement::StatementProtocol::Extended => StatementProtocol::Extended,
        statement::StatementProtocol::Function => StatementProtocol::Function,
        statement::StatementProtocol::Replication => StatementProtocol::Replication,
    }
}

fn parameter(parameter: statement::Parameter) -> Parameter {
    match parameter {
        statement::Parameter::Null => Parameter::Null,
        statement::Parameter::Text(text) => Parameter::Text(text),
        statement::Parameter::Binary(hex) => Parameter::Binary(hex),
        statement::Parameter::Truncated { start, bytes, sha256 } => {
            Parameter::Truncated { start, bytes, sha256: hex(&sha256) }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
