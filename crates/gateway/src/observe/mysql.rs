//! A session in MySQL's and MariaDB's protocol.

use std::sync::Arc;

use model::event::{
    LocalFile, MySqlOutcome, Statement, StatementError, StatementEvent, StatementOutcome,
    StatementProtocol,
};
use model::{Refusal, SessionId, Timestamp};
use wire::mysql::command::{Answer, Treatment};
use wire::mysql::error::Report;
use wire::mysql::frontend::{Body, Message, Request};
use wire::mysql::statement::{self, Given, Tracker, TransactionStatus};
use wire::mysql::{Capabilities, Malformed, backend, frontend, packet};
use wire::sql::Strings;

use super::{
    Common, Instead, Observed, SQL_BYTES_MAX, Subject, Understood, Unobservable, Values, With, mark,
};
use crate::cancel::threads::{Registered, Threads};
use crate::dialect;

const QUIT: u8 = 0x01;
const PROCESS_KILL: u8 = 0x0c;
const QUERY: u8 = 0x03;

/// Both directions of it.
#[derive(Debug)]
pub(crate) struct Protocol {
    capabilities: Capabilities,
    client: frontend::Scanner,
    server: backend::Scanner,
    tracker: Tracker,
    /// The number of this session's connection as the client knows it, until the session ends.
    own: Registered,
    threads: Arc<Threads>,
    /// Whoever names tables knows that the server is used.
    sighted: bool,
}

/// What both sides have agreed on when the session begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed<'a> {
    /// Capabilities.
    pub capabilities: Capabilities,
    /// The collation that the client named.
    pub collation: u8,
    /// The database that it named.
    pub database: Option<&'a str>,
}

impl Protocol {
    /// Behind the OK packet of the login.
    pub(crate) fn new(agreed: Agreed<'_>, own: Registered, threads: Arc<Threads>) -> Self {
        let Agreed { capabilities, collation, database } = agreed;
        let mut tracker = Tracker::new(collation, database);
        if capabilities.contains(Capabilities::LOCAL_FILES) {
            tracker = tracker.loading_files();
        }
        Self {
            capabilities,
            client: frontend::Scanner::new(capabilities),
            server: backend::Scanner::new(capabilities),
            tracker,
            own,
            threads,
            sighted: false,
        }
    }
}

impl super::Protocol for Protocol {
    fn inbound(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        (common, observed): (&mut Common, &mut Observed),
    ) -> Result<Understood, Unobservable> {
        let Self { client, tracker, .. } = self;
        let mut forward = 0;
        loop {
            let rest = bytes.get(forward..).unwrap_or_default();
            let (length, message) = match client.step(rest, tracker.statements())? {
                frontend::Step::Need(_) => return Ok(Understood { forward, instead: None }),
                frontend::Step::Pass { length } => {
                    forward += length;
                    continue;
                }
                frontend::Step::Message { length, message } => (length, message),
            };
            if let Message::Command(request) = &message {
                if let Treatment::Refused(report) = &request.command.treatment {
                    if !tracker.is_idle() {
                        return Err(Unobservable::Ahead(request.command.name));
                    }
                    let refused = refused(request, report, tracker);
                    refused.record(now, (common, observed));
                    return Ok(instead(forward, length, With::Answer(refused.answer)));
                }
                common.terminated |= request.command.code == QUIT;
            }
            if let Some(statement) = tracker.client(&message, mark(now))? {
                let database = tracker.database().unwrap_or_default();
                if common.record.database != database {
                    database.clone_into(&mut common.record.database);
                }
                common.record.database_doubtful =
                    tracker.database_is_doubtful() || statement.is_in_another_database();
                common.subject.fill_mysql(&mut common.record, &statement, tracker.encoding());
                common.begins(observed);
            }
            if let Message::Command(request) = &message
                && let Some(request) =
                    killing(request, (&self.threads, &self.own), self.capabilities)
            {
                return Ok(instead(forward, length, With::Request(request)));
            }
            forward += length;
        }
    }

    fn outbound(&mut self, bytes: &[u8], common: &mut Common) -> Result<usize, Unobservable> {
        let mut done = 0;
        loop {
            let expected = self.tracker.expected();
            match self.server.step(bytes.get(done..).unwrap_or_default(), expected)? {
                backend::Step::Need(_) => return Ok(done),
                backend::Step::Pass { length } => done += length,
                backend::Step::Message { length, message, rows } => {
                    match &message {
                        // Only where the server's rules allow it; but a server may ask so in answer to any query.
                        backend::Message::File { sequence, name } => {
                            if !self.tracker.names_file(name) {
                                let message = "LOCAL INFILE request";
                                let what = "the statement does not load the file that it names";
                                return Err(Malformed::Body { message, what }.into());
                            }
                            self.client.expect_file(*sequence);
                        }
                        backend::Message::Error(error)
                            if expected.is_none() || error.ends_session() =>
                        {
                            common.fatal = true;
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
            if !std::mem::replace(&mut self.sighted, true) {
                common.live.relations(&[]);
            }
            let outcome = common.subject.mysql_outcome(outcome, now);
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
        self.tracker.transaction() == Some(TransactionStatus::InTransaction)
    }

    fn outbound_left(&self) -> usize {
        self.server.left()
    }

    fn mismatches(&self) -> u64 {
        self.tracker.mismatches()
    }

    fn statements(&self) -> u64 {
        self.tracker.statements_run()
    }

    /// In place of what the server would send next.
    fn refusal(&self, refusal: &Refusal, _session: SessionId) -> Vec<u8> {
        let sequence = self.server.next_sequence(self.tracker.expected());
        dialect::mysql_refusal(refusal, sequence)
    }
}

fn instead(forward: usize, skip: usize, with: With) -> Understood {
    Understood { forward, instead: Some(Instead { skip, with }) }
}

/// A command that the server does not see.
struct Refused {
    number: u64,
    name: &'static str,
    report: Report<'static>,
    answer: Vec<u8>,
}

fn refused(request: &Request<'_>, report: &Report<'static>, tracker: &mut Tracker) -> Refused {
    // The client does not wait for an answer to these, and would take one for that of its next command.
    let answer = match request.command.answer {
        Answer::Nothing => Vec::new(),
        _ => packet::encode(request.sequence.wrapping_add(1), &report.encode()),
    };
    Refused { number: tracker.refused(), name: request.command.name, report: *report, answer }
}

impl Refused {
    /// What was asked for is recorded as what was run is.
    fn record(&self, now: Timestamp, (common, observed): (&mut Common, &mut Observed)) {
        let record = &mut common.record;
        (record.number, record.protocol) = (self.number, StatementProtocol::Command);
        (record.sql_bytes, record.sql_sha256, record.encoding) = (None, None, None);
        record.sql = format!("/* {} */", self.name);
        common.begins(observed);
        let outcome = statement::Outcome {
            number: self.number,
            mark: mark(now),
            error: Some(statement::ServerError {
                code: self.report.code,
                sqlstate: self.report.sqlstate.to_owned(),
                message: self.report.message.to_owned(),
            }),
            ..statement::Outcome::default()
        };
        let outcome = common.subject.mysql_outcome(outcome, now);
        observed.push(StatementEvent::StatementOutcome(&outcome));
    }
}

/// Clients know connections by the numbers that their greetings said, which were ours: the server's were not known yet.
/// A request to kill one of the same principal's is told the server's.
fn killing(
    request: &Request<'_>,
    (threads, own): (&Threads, &Registered),
    capabilities: Capabilities,
) -> Option<Vec<u8>> {
    let payload = match &request.body {
        Body::Kill(connection) => {
            let known = threads.find(*connection, own)?;
            let mut payload = vec![PROCESS_KILL];
            payload.extend_from_slice(&known.to_le_bytes());
            payload
        }
        Body::Query(query) if query.text.is_whole() => {
            let text = std::str::from_utf8(query.text.start).ok()?;
            let (before, connection) = kill(text)?;
            let known = threads.find(connection, own)?;
            let mut payload = vec![QUERY];
            if capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
                // No attributes, in one set.
                payload.extend_from_slice(&[0, 1]);
            }
            payload.extend_from_slice(format!("{before}{known}").as_bytes());
            payload
        }
        _ => return None,
    };
    Some(packet::encode(0, &payload))
}

/// `KILL [HARD | SOFT] [CONNECTION | QUERY] number`: what stands before the number, and the number.
fn kill(text: &str) -> Option<(&str, u32)> {
    let text = text.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == ';');
    let digits = text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (before, number) = text.split_at_checked(text.len() - digits)?;
    let mut words = before.split_ascii_whitespace().map(str::to_ascii_uppercase);
    if words.next().as_deref() != Some("KILL")
        || !before.ends_with(|c: char| c.is_ascii_whitespace())
    {
        return None;
    }
    let rest: Vec<String> = words.collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let rest = match rest.as_slice() {
        ["HARD" | "SOFT", rest @ ..] => rest,
        rest => rest,
    };
    matches!(rest, [] | ["CONNECTION" | "QUERY"]).then_some(())?;
    Some((before, number.parse().ok()?))
}

impl Subject {
    fn fill_mysql(
        &self,
        record: &mut Statement,
        statement: &statement::Statement<'_>,
        encoding: &statement::Encoding,
    ) {
        record.number = statement.number;
        record.protocol = protocol(statement.protocol);
        record.plain_backslash = statement.strings() == Strings::Standard;
        let redact = |text: &str| statement.redact(text);
        self.take_sql(record, statement.sql(encoding, SQL_BYTES_MAX), redact);
        let mut values = Values::new(&self.audit);
        statement.for_each_value(|value| {
            let part = match value.given {
                Given::Bytes(part) | Given::NotUnderstood(part) => Some(part),
                Given::Null => None,
                Given::Default | Given::Ignored => Some(wire::Part::whole(&[])),
            };
            values.take(part, |bytes_max| value.parameter(encoding, bytes_max));
        });
        record.parameters = values.kept;
    }

    /// Its name is a literal of the statement's.
    fn file(&self, file: statement::LocalFile) -> LocalFile {
        let statement::LocalFile { name, bytes } = file;
        let name = if self.audit.redact_literals {
            "redacted".to_owned()
        } else {
            String::from_utf8_lossy(&name).into_owned()
        };
        LocalFile { name, bytes }
    }

    fn mysql_outcome(&self, outcome: statement::Outcome, now: Timestamp) -> StatementOutcome {
        let statement::Outcome { number, mark, rows, error, note, .. } = outcome;
        let error = error.map(|error| StatementError {
            sqlstate: error.sqlstate,
            number: Some(error.code),
            message: self.message(error.message),
        });
        StatementOutcome {
            session: self.session,
            number,
            tags: Vec::new(),
            rows,
            relations: Arc::default(),
            mysql: Some(MySqlOutcome {
                results: outcome.results,
                affected: outcome.affected,
                last_insert_id: outcome.last_insert_id,
                warnings: outcome.warnings,
                files: outcome.files.into_iter().map(|file| self.file(file)).collect(),
            }),
            error,
            duration_us: super::mark(now).saturating_sub(mark),
            note: note.map(|note| note.as_str().to_owned()),
        }
    }
}

fn protocol(protocol: statement::StatementProtocol) -> StatementProtocol {
    match protocol {
        statement::StatementProtocol::Query => StatementProtocol::Query,
        statement::StatementProtocol::Execute => StatementProtocol::Execute,
        statement::StatementProtocol::BulkExecute => StatementProtocol::BulkExecute,
        statement::StatementProtocol::Fetch => StatementProtocol::Fetch,
        statement::StatementProtocol::Command => StatementProtocol::Command,
    }
}

#[cfg(test)]
mod tests {
    use super::kill;

    #[test]
    fn requests_to_kill_a_connection_are_told_from_all_others() {
        for (text, found) in [
            ("KILL 7", Some(("KILL ", 7))),
            (" kill query 4294967295 ; ", Some((" kill query ", 4_294_967_295))),
            ("KILL SOFT CONNECTION\t12", Some(("KILL SOFT CONNECTION\t", 12))),
            ("KILL QUERY ID 7", None),
            ("KILL USER ada", None),
            ("KILL QUERY 7; DROP TABLE t", None),
            ("KILL7", None),
            ("KILL 42949672960", None),
            ("SKILL 7", None),
            ("", None),
        ] {
            assert_eq!(kill(text), found, "{text}");
        }
    }
}
