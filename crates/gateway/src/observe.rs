//! What passes between client and server, as events for the audit log: statements before they are forwarded, outcomes
//! as the server tells them.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use control::{LiveSession, SessionState};
use model::event::{Actor, Parameter, Statement, StatementEvent, StatementProtocol};
use model::kind::server::AuditSettings;
use model::{Refusal, ServerName, SessionId, Timestamp};
use wire::Part;
use wire::pg::statement::{self, Relations, Sql};

use crate::record::Observed;
use crate::relay::State;

pub(crate) mod mysql;
pub(crate) mod pg;

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
    /// Not PostgreSQL's protocol.
    #[error(transparent)]
    PostgreSql(#[from] wire::pg::Malformed),
    /// Not MySQL's protocol.
    #[error(transparent)]
    MySql(#[from] wire::mysql::Malformed),
    /// A command that is not forwarded came ahead of answers that it would have to wait for.
    #[error("{0} is not forwarded, and came ahead of answers to what was sent before")]
    Ahead(&'static str),
    /// More prepared statements, portals or unanswered messages than a session may have.
    #[error(transparent)]
    PostgreSqlLimit(#[from] statement::LimitExceeded),
    /// More prepared statements or unanswered commands than a session may have.
    #[error(transparent)]
    MySqlLimit(#[from] wire::mysql::statement::LimitExceeded),
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
    common: Common,
    protocol: Box<dyn Protocol>,
}

/// What is observed alike whatever the protocol.
#[derive(Debug)]
pub(crate) struct Common {
    subject: Subject,
    live: Arc<LiveSession>,
    /// What the list of sessions says.
    shown: State,
    /// Says what every record of a statement says; the rest is filled in for each.
    record: Statement,
    told: Told,
    /// The client said that it goes.
    terminated: bool,
    /// The server itself told the client that the session is over.
    fatal: bool,
}

/// Understands the session's protocol.
pub(crate) trait Protocol: fmt::Debug + Send {
    /// Bytes from the client, behind those that were not taken.
    fn inbound(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        into: (&mut Common, &mut Observed),
    ) -> Result<Understood, Unobservable>;

    /// Bytes from the server, likewise; says how many may be forwarded.
    fn outbound(&mut self, bytes: &[u8], common: &mut Common) -> Result<usize, Unobservable>;

    /// Writes down what is known of the statements that ended.
    fn outcomes(&mut self, now: Timestamp, into: (&mut Common, &mut Observed));

    /// The session is over: statements without an outcome get one that says so.
    fn finish(&mut self);

    /// Whether the client may be read on.
    fn has_room(&self) -> bool;

    /// Whether everything is answered, and both sides are between two messages.
    fn is_still(&self) -> bool;

    /// Whether the server waits for the next statement of a transaction.
    fn is_in_transaction(&self) -> bool;

    /// Bytes to the end of the server's message that was begun.
    fn outbound_left(&self) -> usize;

    /// Messages of the server that fitted nothing that the client had sent.
    fn mismatches(&self) -> u64;

    /// Statements so far.
    fn statements(&self) -> u64;

    /// How the client is told, at a message boundary, that its session ends.
    fn refusal(&self, refusal: &Refusal, session: SessionId) -> Vec<u8>;
}

/// What becomes of a client's bytes, once what was observed in them is recorded. Those behind want more behind them.
#[derive(Debug, Default)]
pub(crate) struct Understood {
    /// So many are forwarded as they are.
    pub forward: usize,
    /// What becomes of those that follow; then the rest is looked at.
    pub instead: Option<Instead>,
}

/// A message that is not forwarded as it is.
#[derive(Debug)]
pub(crate) struct Instead {
    /// Its bytes.
    pub skip: usize,
    /// What takes its place.
    pub with: With,
}

/// What takes a message's place.
#[derive(Debug)]
pub(crate) enum With {
    /// The client is answered, and the server does not see it.
    Answer(Vec<u8>),
    /// The server gets this.
    Request(Vec<u8>),
}

impl Observer {
    /// Nothing has passed yet.
    pub(crate) fn new(
        subject: Subject,
        protocol: Box<dyn Protocol>,
        live: Arc<LiveSession>,
    ) -> Self {
        let (record, told, shown) = (subject.blank(), Told::default(), State::Quiet);
        let (terminated, fatal) = (false, false);
        let common = Common { subject, live, shown, record, told, terminated, fatal };
        Self { common, protocol }
    }

    /// Bytes from the client, behind those that were not taken.
    pub(crate) fn inbound(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        observed: &mut Observed,
    ) -> Result<Understood, Unobservable> {
        self.protocol.inbound(bytes, now, (&mut self.common, observed))
    }

    /// Bytes from the server, likewise; says how many may be forwarded.
    pub(crate) fn outbound(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        observed: &mut Observed,
    ) -> Result<usize, Unobservable> {
        let done = self.protocol.outbound(bytes, &mut self.common)?;
        self.protocol.outcomes(now, (&mut self.common, observed));
        self.show();
        Ok(done)
    }

    fn show(&mut self) {
        let state = self.state();
        if state != self.common.shown {
            self.common.shown = state;
            self.common.live.state(match state {
                State::Running => SessionState::Active,
                State::InTransaction => SessionState::IdleInTransaction,
                State::Quiet => SessionState::Idle,
            });
        }
    }

    /// The session is over: statements without an outcome get one that says so.
    pub(crate) fn finish(&mut self, now: Timestamp, observed: &mut Observed) {
        self.protocol.finish();
        self.protocol.outcomes(now, (&mut self.common, observed));
    }

    /// Whether the client may be read on.
    pub(crate) fn has_room(&self) -> bool {
        self.protocol.has_room()
    }

    /// What is going on.
    pub(crate) fn state(&self) -> State {
        match (self.protocol.is_still(), self.protocol.is_in_transaction()) {
            (false, _) => State::Running,
            (true, true) => State::InTransaction,
            (true, false) => State::Quiet,
        }
    }

    /// Bytes to the end of the server's message that was begun.
    pub(crate) fn outbound_left(&self) -> usize {
        self.protocol.outbound_left()
    }

    /// Whether the client said that it goes.
    pub(crate) fn is_terminated(&self) -> bool {
        self.common.terminated
    }

    /// Whether the server itself told the client that the session is over.
    pub(crate) fn was_told(&self) -> bool {
        self.common.fatal
    }

    /// Messages of the server that fitted nothing that the client had sent.
    pub(crate) fn mismatches(&self) -> u64 {
        self.protocol.mismatches()
    }

    /// Statements so far.
    pub(crate) fn statements(&self) -> u64 {
        self.protocol.statements()
    }

    /// How the client is told, at a message boundary, that its session ends.
    pub(crate) fn refusal(&self, refusal: &Refusal) -> Vec<u8> {
        self.protocol.refusal(refusal, self.common.subject.session)
    }

    /// Who and where.
    pub(crate) fn subject(&self) -> &Subject {
        &self.common.subject
    }
}

impl Common {
    /// Writes the record that was filled in, before its statement is forwarded.
    fn begins(&mut self, observed: &mut Observed) {
        let Self { live, shown, record, .. } = self;
        live.statement(&record.sql);
        *shown = State::Running;
        observed.push(StatementEvent::Statement(record));
        // An idle session holds no text.
        (record.sql, record.parameters) = (String::new(), Vec::new());
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
            plain_backslash: false,
            database_doubtful: false,
            parameters: Vec::new(),
        }
    }

    /// The text, as far as the server's rules let it be recorded.
    fn take_sql(&self, record: &mut Statement, sql: Sql, redact: impl FnOnce(&str) -> String) {
        let Sql { text, bytes, sha256, encoding } = sql;
        record.sql = if self.audit.redact_literals { redact(&text) } else { text };
        record.sql_bytes = bytes;
        record.sql_sha256 = sha256.map(|digest| hex(&digest));
        record.encoding = encoding;
    }

    /// A message of the server can repeat a literal or a value.
    fn message(&self, message: String) -> String {
        let redacted = self.audit.redact_literals || self.audit.redact_parameters;
        if redacted { "redacted".to_owned() } else { message }
    }
}

/// Bind values of one statement, as far as they are recorded.
struct Values<'a> {
    audit: &'a AuditSettings,
    room: usize,
    kept: Vec<Parameter>,
}

impl<'a> Values<'a> {
    fn new(audit: &'a AuditSettings) -> Self {
        Self { audit, room: VALUES_BYTES_MAX, kept: Vec::new() }
    }

    /// Takes one; `show` gives at most so many bytes of it.
    fn take(&mut self, part: Option<Part<'_>>, show: impl FnOnce(usize) -> statement::Parameter) {
        let Some(part) = part else {
            self.kept.push(Parameter::Null);
            return;
        };
        if self.audit.redact_parameters {
            let redacted = Parameter::Redacted { bytes: part.length, sha256: hex(&part.digest()) };
            self.kept.push(redacted);
            return;
        }
        let bytes_max = VALUE_BYTES_MAX.min(self.room).max(VALUE_BYTES_MIN);
        self.room = self.room.saturating_sub(part.start.len().min(bytes_max));
        self.kept.push(parameter(show(bytes_max)));
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
