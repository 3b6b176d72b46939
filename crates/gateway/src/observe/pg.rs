//! A session in PostgreSQL's protocol.

use model::event::{
    Statement, StatementError, StatementEvent, StatementOutcome, StatementProtocol,
};
use model::{Refusal, SessionId, Timestamp};
use wire::pg::backend::{self, TransactionStatus};
use wire::pg::startup::Replication;
use wire::pg::statement::{self, Tracker};
use wire::pg::{Malformed, frontend};
use wire::sql::{self, Strings};

use super::{Common, Observed, SQL_BYTES_MAX, Subject, Understood, Unobservable, Values, mark};
use crate::dialect;

/// Both directions of it.
#[derive(Debug)]
pub(crate) struct Protocol {
    client: frontend::Scanner,
    server: backend::Scanner,
    tracker: Tracker,
    strings: Strings,
}

impl Protocol {
    /// Behind the first ReadyForQuery, after the server told these settings.
    pub(crate) fn new(replication: Replication, parameters: &[(String, String)]) -> Self {
        let mut protocol = Self {
            client: frontend::Scanner::new(),
            server: backend::Scanner::new(),
            tracker: Tracker::new(replication),
            strings: Strings::default(),
        };
        for (name, value) in parameters {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            protocol.tracker.server(&backend::Message::ParameterStatus { name, value }, 0);
            note_strings(&mut protocol.strings, name, value);
        }
        protocol
    }
}

impl super::Protocol for Protocol {
    fn inbound(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        (common, observed): (&mut Common, &mut Observed),
    ) -> Result<Understood, Unobservable> {
        let Self { client, tracker, strings, .. } = self;
        let mut forward = 0;
        loop {
            match client.step(bytes.get(forward..).unwrap_or_default())? {
                frontend::Step::Need(_) => return Ok(Understood { forward, instead: None }),
                frontend::Step::Pass { length } => forward += length,
                frontend::Step::Message { length, message } => {
                    common.terminated |= message == frontend::Message::Terminate;
                    if let Some(statement) = tracker.client(&message, mark(now))? {
                        let (encoding, strings) = (tracker.encoding(), *strings);
                        common.subject.fill(&mut common.record, &statement, (encoding, strings));
                        common.begins(observed);
                    }
                    forward += length;
                }
            }
        }
    }

    fn outbound(&mut self, bytes: &[u8], common: &mut Common) -> Result<usize, Unobservable> {
        let mut done = 0;
        loop {
            match self.server.step(bytes.get(done..).unwrap_or_default())? {
                backend::Step::Need(_) => return Ok(done),
                backend::Step::Pass { length } => done += length,
                backend::Step::Message { length, message, rows } => {
                    match &message {
                        backend::Message::ErrorResponse(fields) => {
                            common.fatal |= fields.is_fatal();
                        }
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
    }

    fn finish(&mut self) {
        self.tracker.finish();
    }

    fn outcomes(&mut self, now: Timestamp, (common, observed): (&mut Common, &mut Observed)) {
        while let Some(outcome) = self.tracker.next_outcome() {
            if let Some(news) = common.told.news(&outcome.relations) {
                common.live.relations(&news);
            }
            let outcome = common.subject.outcome(outcome, now);
            observed.push(StatementEvent::StatementOutcome(&outcome));
        }
    }

    fn has_room(&self) -> bool {
        self.tracker.has_room()
    }

    fn is_still(&self) -> bool {
        self.tracker.is_idle() && self.server.at_boundary() && self.client.at_boundary()
    }

    fn is_in_transaction(&self) -> bool {
        let status = self.tracker.transaction();
        matches!(status, Some(TransactionStatus::InTransaction | TransactionStatus::Failed))
    }

    fn outbound_left(&self) -> usize {
        self.server.left()
    }

    fn mismatches(&self) -> u64 {
        self.tracker.mismatches()
    }

    fn statements(&self) -> u64 {
        self.tracker.statements()
    }

    fn refusal(&self, refusal: &Refusal, session: SessionId) -> Vec<u8> {
        dialect::pg_refusal(refusal, session)
    }
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
    fn fill(
        &self,
        record: &mut Statement,
        statement: &statement::Statement<'_>,
        (encoding, strings): (&statement::Encoding, Strings),
    ) {
        record.number = statement.number;
        record.protocol = protocol(statement.protocol);
        let redact = |text: &str| sql::redact(text, strings);
        self.take_sql(record, statement.sql(encoding, SQL_BYTES_MAX), redact);
        let mut values = Values::new(&self.audit);
        statement.for_each_value(|value| {
            let show = |bytes_max| value.parameter(encoding, bytes_max);
            values.take(value.value.bytes, show);
        });
        record.parameters = values.kept;
    }

    fn outcome(&self, outcome: statement::Outcome, now: Timestamp) -> StatementOutcome {
        let statement::Outcome { number, mark, tags, rows, relations, error, note } = outcome;
        let error = error.map(|statement::ServerError { sqlstate, message }| StatementError {
            sqlstate,
            number: None,
            message: self.message(message),
        });
        StatementOutcome {
            session: self.session,
            number,
            tags,
            rows,
            relations,
            mysql: None,
            error,
            duration_us: super::mark(now).saturating_sub(mark),
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
