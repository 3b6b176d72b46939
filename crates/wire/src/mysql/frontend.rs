//! What a client sends after its login.
//!
//! [`Scanner::step`] is given the bytes that have arrived and not yet been dealt with, and says how many to forward and
//! which message they end. The contract, for the bytes of a buffer of at least
//! [`HOLD_BYTES_MAX`]:
//!
//! ```text
//! loop { match scanner.step(&buffer[done..filled], tracker.statements())? {
//!     Step::Need(n)                     => break,                  // read on; the unread bytes stay in the buffer
//!     Step::Pass { length }             => done += length,         // forward; nobody needs to look at them
//!     Step::Message { length, message } => { look(message); done += length }   // then forward
//! } }
//! ```
//!
//! A command of up to `HOLD_BYTES_MAX` bytes is asked for whole (`Need`), so it can be recorded, or answered instead of
//! being forwarded, before its first byte is. Only commands that are forwarded in any case may be longer: their bytes
//! `Pass` but for the last piece, which comes with the `Message`; the server does nothing with a command before its
//! last byte. What is kept of them is bounded.
//!
//! A command begins with a packet of number 0; a packet with another number than is due ends the session. The one thing
//! that a client sends besides commands is a file, after [`Scanner::expect_file`].
//!
//! What the messages are does not depend on how the bytes were split.

use super::Malformed;
use super::capabilities::Capabilities;
use super::capture::{Capture, Captured, Long};
use super::command::{Answer, Command, command};
use super::head;
use super::limits::HOLD_BYTES_MAX;
use super::packet::{HEADER_BYTES, Header};
use super::reader::Reader;
use super::statements::Statements;
use super::values::{Values, walk};
use crate::part::Part;

/// What the next bytes are.
#[derive(Debug)]
pub enum Step<'a> {
    /// So many bytes in all are needed to go on; never more than [`HOLD_BYTES_MAX`].
    Need(usize),
    /// So many bytes may be forwarded; they are of a file, or not the last of a long command.
    Pass {
        /// At least one.
        length: usize,
    },
    /// A message ends with these bytes.
    Message {
        /// Its bytes, or of a command longer than [`HOLD_BYTES_MAX`] its last ones.
        length: usize,
        /// What it says.
        message: Message<'a>,
    },
}

/// A client's message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// A command.
    Command(Request<'a>),
    /// The end of the file that the server asked for.
    FileEnd {
        /// The number of its last packet.
        sequence: u8,
        /// Bytes of it.
        bytes: u64,
    },
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// Its row in the table: name, treatment, answer.
    pub command: &'static Command,
    /// The number of its last packet; an answer begins with the next.
    pub sequence: u8,
    /// What it says.
    pub body: Body<'a>,
}

/// What a command says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// COM_QUERY.
    Query(Query<'a>),
    /// COM_STMT_PREPARE: the text.
    Prepare(Part<'a>),
    /// COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE.
    Execute(Execute<'a>),
    /// COM_STMT_SEND_LONG_DATA.
    LongData(LongData),
    /// COM_STMT_FETCH.
    Fetch {
        /// The statement's number.
        statement: u32,
        /// Rows wanted.
        rows: u32,
    },
    /// COM_STMT_CLOSE and COM_STMT_RESET: the statement's number.
    Statement(u32),
    /// COM_INIT_DB, COM_CREATE_DB and COM_DROP_DB: the database.
    Database(&'a [u8]),
    /// COM_FIELD_LIST.
    Fields {
        /// The table.
        table: &'a [u8],
        /// Which columns, as LIKE has it.
        wildcard: &'a [u8],
    },
    /// COM_PROCESS_KILL: the connection's number.
    Kill(u32),
    /// Any other: what follows its code.
    Other(&'a [u8]),
}

/// COM_QUERY.
#[derive(Clone, Debug, PartialEq)]
pub struct Query<'a> {
    /// One statement, or several.
    pub text: Part<'a>,
    /// Query attributes.
    pub attributes: Values<'a>,
}

/// COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE.
#[derive(Clone, Debug, PartialEq)]
pub struct Execute<'a> {
    /// The statement's number; [`LAST`](super::statements::LAST) in MariaDB's clients.
    pub statement: u32,
    /// Whether a cursor is wanted, and the like.
    pub flags: u16,
    /// The values, and query attributes.
    pub values: Values<'a>,
}

/// `CURSOR_TYPE_READ_ONLY`, `CURSOR_TYPE_FOR_UPDATE` and `CURSOR_TYPE_SCROLLABLE`.
const CURSOR_FLAGS: u16 = 1 | 2 | 4;

impl Request<'_> {
    /// What the server sends for it.
    pub(crate) fn answer(&self) -> Answer {
        match &self.body {
            Body::Execute(execute)
                if self.command.code == 0x17 && execute.flags & CURSOR_FLAGS != 0 =>
            {
                Answer::Cursor
            }
            _ => self.command.answer,
        }
    }
}

/// COM_STMT_SEND_LONG_DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongData {
    /// The statement's number.
    pub statement: u32,
    /// The parameter, from 0.
    pub parameter: u16,
    /// Bytes of data; the data themselves are with the statement.
    pub length: u64,
}

/// Finds the messages in a client's bytes.
#[derive(Debug)]
pub struct Scanner {
    capabilities: Capabilities,
    /// Bytes of the current packet that have not come yet.
    left: usize,
    /// Another packet of the same message follows the current one.
    continued: bool,
    /// The number of the last packet.
    sequence: u8,
    long: Option<(&'static Command, Capture)>,
    captured: Option<Captured>,
    /// The number of the next packet of a file.
    file: Option<u8>,
    /// Of the file that comes, or came last.
    file_bytes: u64,
}

impl Scanner {
    /// At the first byte after the login, under what client and server agreed on.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            left: 0,
            continued: false,
            sequence: 0,
            long: None,
            captured: None,
            file: None,
            file_bytes: 0,
        }
    }

    /// The server asked for a file, in a packet of this number, and may have it: what follows is the file.
    pub fn expect_file(&mut self, sequence: u8) {
        self.file = Some(sequence.wrapping_add(1));
        self.file_bytes = 0;
    }

    /// Whether everything so far ended with a whole message.
    pub fn at_boundary(&self) -> bool {
        self.left == 0 && !self.continued && self.file.is_none()
    }

    /// Looks at bytes that have arrived; see the module's documentation. An error ends the session.
    pub fn step<'a>(
        &'a mut self,
        input: &'a [u8],
        statements: &mut Statements,
    ) -> Result<Step<'a>, Malformed> {
        if self.left > 0 {
            return Ok(self.resume(input, statements));
        }
        let Some(header) = Header::read(input) else { return Ok(Step::Need(HEADER_BYTES)) };
        if self.continued {
            return self.next_packet(header, statements);
        }
        if let Some(due) = self.file {
            return self.file_packet(header, due);
        }
        self.command(input, header, statements)
    }

    /// Bytes of a packet that has begun.
    fn resume<'a>(&'a mut self, input: &'a [u8], statements: &mut Statements) -> Step<'a> {
        let length = self.left.min(input.len());
        let (piece, _) = input.split_at_checked(length).unwrap_or_default();
        if piece.is_empty() {
            return Step::Need(1);
        }
        self.left = self.left.saturating_sub(length);
        match &mut self.long {
            Some((_, capture)) => capture.push(piece, statements),
            None => self.file_bytes = self.file_bytes.saturating_add(crate::part::length(piece)),
        }
        self.ended(length, statements)
    }

    /// The end of a long command, if these bytes are it.
    fn ended(&mut self, length: usize, statements: &mut Statements) -> Step<'_> {
        if self.left > 0 || self.continued {
            return Step::Pass { length };
        }
        let Some((command, capture)) = self.long.take() else { return Step::Pass { length } };
        let captured = self.captured.insert(capture.finish(statements));
        let (sequence, body) = (self.sequence, captured.body());
        Step::Message { length, message: Message::Command(Request { command, sequence, body }) }
    }

    /// The header of another packet of the same message.
    fn next_packet(
        &mut self,
        header: Header,
        statements: &mut Statements,
    ) -> Result<Step<'_>, Malformed> {
        header.expect(self.sequence.wrapping_add(1))?;
        self.begin(header);
        Ok(self.ended(HEADER_BYTES, statements))
    }

    fn begin(&mut self, header: Header) {
        self.left = header.length;
        self.continued = header.is_continued();
        self.sequence = header.sequence;
        if let Some(due) = &mut self.file {
            *due = header.sequence.wrapping_add(1);
        }
    }

    /// The header of a packet of a file; an empty one ends it.
    fn file_packet(&mut self, header: Header, due: u8) -> Result<Step<'_>, Malformed> {
        header.expect(due)?;
        self.begin(header);
        if header.length > 0 {
            return Ok(Step::Pass { length: HEADER_BYTES });
        }
        self.file = None;
        let message = Message::FileEnd { sequence: header.sequence, bytes: self.file_bytes };
        Ok(Step::Message { length: HEADER_BYTES, message })
    }

    fn command<'a>(
        &'a mut self,
        input: &'a [u8],
        header: Header,
        statements: &mut Statements,
    ) -> Result<Step<'a>, Malformed> {
        header.expect(0)?;
        if header.length == 0 {
            return Err(Malformed::Body { message: "command", what: "it is empty" });
        }
        let Some(code) = input.get(HEADER_BYTES) else {
            return Ok(Step::Need(HEADER_BYTES.saturating_add(1)));
        };
        let command = command(*code);
        self.captured = None;
        if header.total() <= HOLD_BYTES_MAX {
            let Some(packet) = input.get(..header.total()) else {
                return Ok(Step::Need(header.total()));
            };
            let body = packet.get(HEADER_BYTES.saturating_add(1)..).unwrap_or_default();
            let body = parse(command, body, self.capabilities, statements)?;
            self.sequence = header.sequence;
            let request = Request { command, sequence: header.sequence, body };
            let (length, message) = (header.total(), Message::Command(request));
            return Ok(Step::Message { length, message });
        }
        let Some(long) = Long::of(*code) else {
            let (message, length) = (command.name, header.length);
            return Err(Malformed::Length { message, length, max: HOLD_BYTES_MAX });
        };
        // Header and code pass by themselves; the body follows as a long command, whatever has arrived of it.
        self.begin(header);
        self.left = self.left.saturating_sub(1);
        self.long = Some((command, Capture::new(long, self.capabilities)));
        Ok(Step::Pass { length: HEADER_BYTES.saturating_add(1) })
    }
}

/// What follows the code of a whole command.
pub(crate) fn parse<'a>(
    command: &'static Command,
    body: &'a [u8],
    capabilities: Capabilities,
    statements: &mut Statements,
) -> Result<Body<'a>, Malformed> {
    let mut reader = Reader::new(command.name, body);
    Ok(match command.code {
        0x03 => Body::Query(query(reader, capabilities)?),
        0x16 => Body::Prepare(Part::whole(body)),
        0x17 => Body::Execute(execute(reader, capabilities, statements)?),
        0xfa => Body::Execute(bulk_execute(reader, statements)?),
        0x18 => {
            let (data, piece) =
                head::long_data(body).ok_or_else(|| reader.malformed("it ends early"))?;
            let head::Ahead { statement, parameter } = data;
            statements.long_data(statement, parameter, piece);
            let length = crate::part::length(piece);
            Body::LongData(LongData { statement, parameter, length })
        }
        0x1c => Body::Fetch { statement: reader.u32()?, rows: reader.u32()? },
        0x19 | 0x1a => Body::Statement(reader.u32()?),
        0x02 | 0x05 | 0x06 => Body::Database(body),
        0x04 => Body::Fields { table: reader.cstring()?, wildcard: reader.last_cstring() },
        0x0c => Body::Kill(reader.u32()?),
        _ => Body::Other(body),
    })
}

fn query(mut reader: Reader<'_>, capabilities: Capabilities) -> Result<Query<'_>, Malformed> {
    if !capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        return Ok(Query { text: Part::whole(reader.rest()), attributes: Values::NONE });
    }
    let head = head::query(&mut reader)?;
    if head.types.is_empty() {
        return Ok(Query { text: Part::whole(reader.rest()), attributes: Values::NONE });
    }
    let values = reader.rest();
    walk(&head, &mut reader, &mut |_| {})?;
    let text = Part::whole(reader.rest());
    Ok(Query { text, attributes: Values::inline(head, values) })
}

fn execute<'a>(
    reader: Reader<'a>,
    capabilities: Capabilities,
    statements: &mut Statements,
) -> Result<Execute<'a>, Malformed> {
    let (fixed, rest) =
        head::execute(reader.rest()).ok_or_else(|| reader.malformed("it ends early"))?;
    let head::Fixed { statement, flags } = fixed;
    let layout = statements.layout(statement);
    let parameters = layout.and_then(|layout| head::parameters(rest, fixed, &layout, capabilities));
    let values = match parameters {
        Some((Some(head), values)) => {
            statements.remember(statement, &head.types);
            Values::inline(head, values)
        }
        Some((None, _)) => Values::NONE,
        None => Values::not_understood(Part::whole(rest)),
    };
    Ok(Execute { statement, flags, values })
}

fn bulk_execute<'a>(
    reader: Reader<'a>,
    statements: &mut Statements,
) -> Result<Execute<'a>, Malformed> {
    let (fixed, rest) =
        head::bulk(reader.rest()).ok_or_else(|| reader.malformed("it ends early"))?;
    let head::Fixed { statement, flags } = fixed;
    let layout = statements.layout(statement);
    let types = layout.and_then(|layout| head::bulk_types(rest, fixed, &layout));
    let values = match types {
        Some((types, rows)) => {
            statements.remember(statement, &types);
            Values::of_rows(types, rows)
        }
        None => Values::not_understood(Part::whole(rest)),
    };
    Ok(Execute { statement, flags, values })
}
