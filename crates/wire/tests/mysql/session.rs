//! A session in a test, and the packets that it is made of.

use wire::mysql::packet::encode;
use wire::mysql::statement::{LimitExceeded, Note, Outcome, Parameter, ServerError, Tracker};
use wire::mysql::{Capabilities, Malformed, backend, frontend};

/// Number, text and values of a statement.
pub(crate) type Recorded = (u64, String, Vec<Parameter>);

/// A session: a client's packets give the statements that run, a server's the outcomes.
pub(crate) struct Session {
    pub(crate) tracker: Tracker,
    pub(crate) frontend: frontend::Scanner,
    pub(crate) backend: backend::Scanner,
    /// Each statement's text without literals, and whether it is in a database that is the default no more.
    pub(crate) redacted: Vec<(String, bool)>,
}

/// Why a session ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Malformed(Malformed),
    Limit(LimitExceeded),
}

impl Session {
    /// Under what client and server agreed on.
    pub(crate) fn new(agreed: Capabilities) -> Self {
        Self {
            tracker: Tracker::new(45, None).loading_files(),
            frontend: frontend::Scanner::new(agreed),
            backend: backend::Scanner::new(agreed),
            redacted: Vec::new(),
        }
    }

    pub(crate) fn try_client(&mut self, bytes: &[u8]) -> Result<Vec<Recorded>, Ended> {
        let mut statements = Vec::new();
        let mut done = 0;
        loop {
            let step = self.frontend.step(&bytes[done..], self.tracker.statements());
            match step.map_err(Ended::Malformed)? {
                frontend::Step::Need(_) => return Ok(statements),
                frontend::Step::Pass { length } => done += length,
                frontend::Step::Message { length, message } => {
                    done += length;
                    let statement = self.tracker.client(&message, 100).map_err(Ended::Limit)?;
                    let Some(statement) = statement else { continue };
                    let encoding = self.tracker.encoding();
                    let mut values = Vec::new();
                    statement.for_each_value(|value| values.push(value.parameter(encoding, 99)));
                    let text = statement.sql(encoding, 99).text;
                    let redacted = statement.redact(&text);
                    self.redacted.push((redacted, statement.is_in_another_database()));
                    statements.push((statement.number, text, values));
                }
            }
        }
    }

    /// Texts of the statements that run.
    pub(crate) fn client(&mut self, packets: &[Vec<u8>]) -> Vec<String> {
        let statements = self.try_client(&packets.concat()).unwrap();
        statements.into_iter().map(|(_, text, _)| text).collect()
    }

    /// Values of the one statement that runs.
    pub(crate) fn values(&mut self, packet: &[u8]) -> Vec<Parameter> {
        let [(_, _, values)] = self.try_client(packet).unwrap().try_into().unwrap();
        values
    }

    pub(crate) fn try_server(&mut self, bytes: &[u8]) -> Result<Vec<Outcome>, Malformed> {
        let mut done = 0;
        loop {
            match self.backend.step(&bytes[done..], self.tracker.expected())? {
                backend::Step::Need(_) => break,
                backend::Step::Pass { length } => done += length,
                backend::Step::Message { length, rows, message } => {
                    done += length;
                    if let backend::Message::File { sequence, .. } = message {
                        self.frontend.expect_file(sequence);
                    }
                    self.tracker.server(&message, rows);
                }
            }
        }
        Ok(std::iter::from_fn(|| self.tracker.next_outcome()).collect())
    }

    /// The packets of one answer, numbered from 1.
    pub(crate) fn server(&mut self, payloads: &[&[u8]]) -> Vec<Outcome> {
        let outcomes = self.try_server(&answer(1, payloads)).unwrap();
        assert_eq!(self.tracker.mismatches(), 0);
        outcomes
    }

    /// A statement that the server knows by this number.
    pub(crate) fn prepared(&mut self, number: u8, sql: &str, parameters: u8) {
        self.client(&[prepare(sql)]);
        let ok = [0, number, 0, 0, 0, 0, 0, parameters, 0, 0, 0, 0];
        let mut payloads = vec![ok.as_slice()];
        payloads.extend((0..parameters).map(|_| COLUMN));
        if parameters > 0 {
            payloads.push(EOF);
        }
        self.server(&payloads);
    }
}

/// A command.
pub(crate) fn command(code: u8, body: &[u8]) -> Vec<u8> {
    encode(0, &[&[code], body].concat())
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    command(0x03, sql.as_bytes())
}

pub(crate) fn prepare(sql: &str) -> Vec<u8> {
    command(0x16, sql.as_bytes())
}

/// An execute; what follows are null bits, types and values.
pub(crate) fn execute(statement: u32, parameters: &[u8]) -> Vec<u8> {
    command(0x17, &[statement.to_le_bytes().as_slice(), &[0, 1, 0, 0, 0], parameters].concat())
}

/// An execute without parameters that wants a cursor.
pub(crate) fn cursor(statement: u32) -> Vec<u8> {
    command(0x17, &[statement.to_le_bytes().as_slice(), &[1, 1, 0, 0, 0]].concat())
}

pub(crate) fn long_data(statement: u32, parameter: u16, data: &[u8]) -> Vec<u8> {
    let (statement, parameter) = (statement.to_le_bytes(), parameter.to_le_bytes());
    command(0x18, &[statement.as_slice(), &parameter, data].concat())
}

/// Packets with these numbers, one after the other.
pub(crate) fn answer(sequence: u8, payloads: &[&[u8]]) -> Vec<u8> {
    let numbered = payloads.iter().enumerate();
    let packets = numbered.map(|(index, payload)| {
        encode(sequence.wrapping_add(u8::try_from(index % 256).unwrap()), payload)
    });
    packets.collect::<Vec<_>>().concat()
}

/// Nothing affected, autocommit.
pub(crate) const OK: &[u8] = b"\0\0\0\x02\0\0\0";
/// Its like where EOF packets are no more.
pub(crate) const END: &[u8] = b"\xfe\0\0\x02\0\0\0";
pub(crate) const EOF: &[u8] = b"\xfe\0\0\x02\0";
/// More results follow.
pub(crate) const EOF_MORE: &[u8] = b"\xfe\0\0\x0a\0";
pub(crate) const ERR: &[u8] = b"\xff\x7a\x04#42S02no";
pub(crate) const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x03\x81\0\0\0\0";

pub(crate) fn ended(number: u64, rows: u64) -> Outcome {
    Outcome { number, mark: 100, results: 1, rows, status: 2, ..Outcome::default() }
}

pub(crate) fn failed(number: u64) -> Outcome {
    let (sqlstate, message) = ("42S02".to_owned(), "no".to_owned());
    let error = Some(ServerError { code: 1146, sqlstate, message });
    Outcome { number, mark: 100, error, ..Outcome::default() }
}

pub(crate) fn noted(note: Note, outcome: Outcome) -> Outcome {
    Outcome { note: Some(note), ..outcome }
}

pub(crate) fn text(text: &str) -> Parameter {
    Parameter::Text(text.to_owned())
}
