//! Commands that are too long to be held: understood piece by piece as they stream, with the beginning of every text
//! and value kept.

use super::capabilities::Capabilities;
use super::frontend::{Body, Execute, LongData, Query};
use super::head;
use super::limits::{HEAD_BYTES_MAX, SQL_BYTES_MAX};
use super::statements::Statements;
use super::streamed::{Rest, Streamed};
use super::values::Values;
use crate::part::{Collector, Kept};

/// Which commands may be longer than what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long {
    Query,
    Prepare,
    Execute,
    BulkExecute,
    Data,
}

impl Long {
    pub(crate) fn of(code: u8) -> Option<Self> {
        match code {
            0x03 => Some(Self::Query),
            0x16 => Some(Self::Prepare),
            0x17 => Some(Self::Execute),
            0x18 => Some(Self::Data),
            0xfa => Some(Self::BulkExecute),
            _ => None,
        }
    }
}

/// Understands one long command; its code is not part of what is pushed.
pub(crate) struct Capture {
    long: Long,
    capabilities: Capabilities,
    phase: Phase,
    statement: u32,
    flags: u16,
}

enum Phase {
    /// What comes before the values or the text: tried again whenever there is twice as much of it.
    Head {
        bytes: Vec<u8>,
        retry: usize,
        layout: head::Known,
    },
    Values(Box<Streamed>),
    Text(Collector),
    Data {
        parameter: u16,
        length: u64,
    },
}

impl Phase {
    fn values(streamed: Streamed) -> Self {
        Self::Values(Box::new(streamed))
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Capture({:?})", self.long)
    }
}

/// What was kept of a long command.
#[derive(Debug)]
pub(crate) struct Captured {
    long: Long,
    statement: u32,
    flags: u16,
    values: Option<Streamed>,
    text: Kept,
    parameter: u16,
    length: u64,
}

impl Captured {
    pub(crate) fn body(&self) -> Body<'_> {
        let values = self.values.as_ref().map_or(Values::NONE, Streamed::values);
        let Self { statement, flags, .. } = *self;
        match self.long {
            Long::Query => Body::Query(Query { text: self.text.part(), attributes: values }),
            Long::Prepare => Body::Prepare(self.text.part()),
            Long::Execute | Long::BulkExecute => {
                Body::Execute(Execute { statement, flags, values })
            }
            Long::Data => {
                let (parameter, length) = (self.parameter, self.length);
                Body::LongData(LongData { statement, parameter, length })
            }
        }
    }
}

/// When the beginning of a long command is looked at first.
const FIRST_LOOK: usize = 64;

impl Capture {
    pub(crate) fn new(long: Long, capabilities: Capabilities) -> Self {
        let attributes = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let phase = match long {
            Long::Query if !attributes => Phase::Text(Collector::new(SQL_BYTES_MAX)),
            Long::Prepare => Phase::Text(Collector::new(SQL_BYTES_MAX)),
            Long::Query | Long::Execute | Long::BulkExecute | Long::Data => {
                let (bytes, layout) = (Vec::new(), head::Known::NotAsked);
                Phase::Head { bytes, retry: FIRST_LOOK, layout }
            }
        };
        Self { long, capabilities, phase, statement: 0, flags: 0 }
    }

    /// Takes the next piece of the body.
    pub(crate) fn push(&mut self, piece: &[u8], statements: &mut Statements) {
        match &mut self.phase {
            Phase::Head { bytes, retry, .. } => {
                bytes.extend_from_slice(piece);
                if bytes.len() >= *retry {
                    *retry = bytes.len().saturating_mul(2);
                    let given_up = bytes.len() >= HEAD_BYTES_MAX;
                    self.look(statements, if given_up { Look::Last } else { Look::Again });
                }
            }
            Phase::Values(streamed) => streamed.push(piece),
            Phase::Text(text) => {
                text.push(piece);
            }
            Phase::Data { parameter, length } => {
                *length = length.saturating_add(crate::part::length(piece));
                statements.long_data(self.statement, *parameter, piece);
            }
        }
    }

    /// Looks whether the head is whole; what follows it goes on as values, text or data.
    fn look(&mut self, statements: &mut Statements, look: Look) {
        let Phase::Head { bytes, layout, .. } = &mut self.phase else { return };
        let bytes = std::mem::take(bytes);
        let mut known = std::mem::take(layout);
        let next = match self.long {
            Long::Query => head::attributes(&bytes).map(|(head, rest)| {
                let text = Rest::Text(Collector::new(SQL_BYTES_MAX));
                (Phase::values(Streamed::of_head(&head, text)), rest.len())
            }),
            Long::Execute => self.execute(&bytes, &mut known, statements),
            Long::BulkExecute => self.bulk(&bytes, &mut known, statements),
            Long::Prepare | Long::Data => head::long_data(&bytes).map(|(data, rest)| {
                self.statement = data.statement;
                (Phase::Data { parameter: data.parameter, length: 0 }, rest.len())
            }),
        };
        match (next, look) {
            (Some((phase, left)), _) => {
                self.phase = phase;
                let rest = bytes.len().checked_sub(left).and_then(|taken| bytes.get(taken..));
                self.push(rest.unwrap_or_default(), statements);
            }
            (None, Look::Last) => {
                self.phase = Phase::values(Streamed::not_understood());
                self.push(&bytes, statements);
            }
            (None, Look::Again) => {
                let retry = bytes.len().saturating_mul(2);
                self.phase = Phase::Head { bytes, retry, layout: known };
            }
        }
    }

    /// What follows the head of an execute, and how much of it is there already.
    fn execute(
        &mut self,
        bytes: &[u8],
        known: &mut head::Known,
        statements: &mut Statements,
    ) -> Option<(Phase, usize)> {
        let (fixed, rest) = head::execute(bytes)?;
        (self.statement, self.flags) = (fixed.statement, fixed.flags);
        let Some(layout) = known.ask(fixed.statement, statements) else {
            return Some((Phase::values(Streamed::not_understood()), rest.len()));
        };
        let (head, rest) = head::parameters(rest, fixed, layout, self.capabilities)?;
        if let Some(head) = &head {
            statements.remember(fixed.statement, &head.types);
        }
        let streamed = head.map(|head| Streamed::of_head(&head, Rest::Ignored));
        Some((Phase::values(streamed.unwrap_or_else(Streamed::none)), rest.len()))
    }

    /// As [`execute`](Self::execute), of a bulk execute.
    fn bulk(
        &mut self,
        bytes: &[u8],
        known: &mut head::Known,
        statements: &mut Statements,
    ) -> Option<(Phase, usize)> {
        let (fixed, rest) = head::bulk(bytes)?;
        (self.statement, self.flags) = (fixed.statement, fixed.flags);
        let Some(layout) = known.ask(fixed.statement, statements) else {
            return Some((Phase::values(Streamed::not_understood()), rest.len()));
        };
        let (types, rest) = head::bulk_types(rest, fixed, layout)?;
        statements.remember(fixed.statement, &types);
        Some((Phase::values(Streamed::of_rows(&types)), rest.len()))
    }

    /// The whole body has been pushed.
    pub(crate) fn finish(mut self, statements: &mut Statements) -> Captured {
        if matches!(self.phase, Phase::Head { .. }) {
            self.look(statements, Look::Last);
        }
        let Self { long, statement, flags, .. } = self;
        let (values, text, parameter, length) = match self.phase {
            Phase::Values(streamed) => {
                let (values, text) = streamed.finish();
                (Some(values), text, 0, 0)
            }
            Phase::Text(text) => (None, text.finish(), 0, 0),
            Phase::Data { parameter, length } => (None, Kept::default(), parameter, length),
            Phase::Head { .. } => (None, Kept::default(), 0, 0),
        };
        Captured { long, statement, flags, values, text, parameter, length }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There may be more of it.
    Again,
    /// What is not understood now never will be.
    Last,
}
