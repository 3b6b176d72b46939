//! A session in a test, and the messages that it is made of.

use wire::pg::startup::Replication;
use wire::pg::statement::{
    LimitExceeded, Note, Outcome, Parameter, Relations, ServerError, Tracker,
};
use wire::pg::{backend, frontend};

use crate::message;

/// Number, text and values of a statement.
pub(crate) type Recorded = (u64, String, Vec<Parameter>);

/// A session: client messages give the statements that run, server messages the outcomes.
pub(crate) struct Session {
    pub(crate) tracker: Tracker,
    pub(crate) frontend: frontend::Scanner,
    pub(crate) backend: backend::Scanner,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            tracker: Tracker::new(Replication::No),
            frontend: frontend::Scanner::new(),
            backend: backend::Scanner::new(),
        }
    }

    pub(crate) fn try_client(&mut self, bytes: &[u8]) -> Result<Vec<Recorded>, LimitExceeded> {
        let mut statements = Vec::new();
        let mut done = 0;
        loop {
            match self.frontend.step(&bytes[done..]).unwrap() {
                frontend::Step::Need(_) => return Ok(statements),
                frontend::Step::Pass { length } => done += length,
                frontend::Step::Message { length, message } => {
                    done += length;
                    if let Some(statement) = self.tracker.client(&message, 100)? {
                        let encoding = self.tracker.encoding();
                        let mut values = Vec::new();
                        statement
                            .for_each_value(|value| values.push(value.parameter(encoding, 99)));
                        statements.push((
                            statement.number,
                            statement.sql(encoding, 99).text,
                            values,
                        ));
                    }
                }
            }
        }
    }

    /// Texts of the statements that run.
    pub(crate) fn client(&mut self, messages: &[Vec<u8>]) -> Vec<String> {
        let statements = self.try_client(&messages.concat()).unwrap();
        statements.into_iter().map(|(_, text, _)| text).collect()
    }

    pub(crate) fn server(&mut self, messages: &[Vec<u8>]) -> Vec<Outcome> {
        let bytes = messages.concat();
        let mut done = 0;
        loop {
            match self.backend.step(&bytes[done..]).unwrap() {
                backend::Step::Need(_) => break,
                backend::Step::Pass { length } => done += length,
                backend::Step::Message { length, rows, message } => {
                    done += length;
                    self.tracker.server(&message, rows);
                }
            }
        }
        assert_eq!(self.tracker.mismatches(), 0);
        std::iter::from_fn(|| self.tracker.next_outcome()).collect()
    }
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

pub(crate) fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes())
}

pub(crate) fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

pub(crate) fn close(kind: char, name: &str) -> Vec<u8> {
    message(b'C', format!("{kind}{name}\0").as_bytes())
}

pub(crate) fn describe(kind: char, name: &str) -> Vec<u8> {
    message(b'D', format!("{kind}{name}\0").as_bytes())
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub(crate) fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub(crate) fn done(tag: u8) -> Vec<u8> {
    message(tag, b"")
}

pub(crate) fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

pub(crate) fn row() -> Vec<u8> {
    message(b'D', b"\0\0")
}

pub(crate) fn error(sqlstate: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{sqlstate}\0Mno\0\0").as_bytes())
}

pub(crate) fn ended(number: u64, tags: &[&str], rows: u64) -> Outcome {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let relations = Relations::default();
    Outcome { number, mark: 100, tags, rows, relations, error: None, note: None }
}

pub(crate) fn failed(number: u64, sqlstate: &str) -> Outcome {
    let error = ServerError { sqlstate: sqlstate.to_owned(), message: "no".to_owned() };
    Outcome { error: Some(error), ..ended(number, &[], 0) }
}

pub(crate) fn noted(number: u64, note: Note) -> Outcome {
    Outcome { note: Some(note), ..ended(number, &[], 0) }
}

/// A RowDescription of one column for each table.
pub(crate) fn described(tables: &[u32]) -> Vec<u8> {
    let mut body = u16::try_from(tables.len()).unwrap().to_be_bytes().to_vec();
    for table in tables {
        body.extend_from_slice(b"c\0");
        body.extend_from_slice(&table.to_be_bytes());
        body.extend_from_slice(&[0, 1, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]);
    }
    message(b'T', &body)
}

pub(crate) fn from(relations: &[u32], outcome: Outcome) -> Outcome {
    Outcome { relations: relations.into(), ..outcome }
}
