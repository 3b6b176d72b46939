//! What a server sends. It is as little trusted as a client.
//!
//! What a packet of a server means depends on what it answers, so [`Scanner::step`] is told what is due next
//! ([`Tracker::expected`](super::statement::Tracker::expected)); with that it has the contract of
//! [`frontend::Scanner`](super::frontend::Scanner), except that nothing has to be held before it is forwarded (but the
//! wish for a file, which comes whole): columns and rows pass in bulk (a buffer full of rows costs one look at each
//! header and first byte), and of the packets that someone looks at those longer than [`HOLD_BYTES_MAX`] are seen by
//! their beginning.
//!
//! An error may come at any time, and with any number when nothing else of an answer has come: a server that ends a
//! session says so without being asked.

use super::Malformed;
use super::capabilities::Capabilities;
use super::command::Answer;
use super::error::ServerError;
use super::limits::HOLD_BYTES_MAX;
use super::packet::{HEADER_BYTES, Header};

mod answering;
mod view;

use answering::Answering;
pub use view::{Change, Done, Prepared, done, status};

/// What the next bytes are.
#[derive(Debug)]
pub enum Step<'a> {
    /// So many bytes in all are needed to go on; never more than [`HOLD_BYTES_MAX`].
    Need(usize),
    /// So many bytes may be forwarded without a look.
    Pass {
        /// At least one.
        length: usize,
    },
    /// A message ends with these bytes.
    Message {
        /// Its bytes, or of a packet longer than [`HOLD_BYTES_MAX`] its last ones.
        length: usize,
        /// Rows so far, for [`Tracker::server`](super::statement::Tracker::server).
        rows: u64,
        /// What it says.
        message: Message<'a>,
    },
}

/// What a server's packet says, or several that belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message<'a> {
    /// A command, a result, or rows ended well: an OK or EOF packet.
    Done(Done<'a>),
    /// The answer ends with an error; or, when nothing is expected, the session does.
    Error(ServerError<'a>),
    /// A statement is prepared. Its parameters and columns may follow.
    Prepared(Prepared),
    /// All parameters and columns of a prepared statement have come.
    Described,
    /// The one packet of an answer in plain text.
    Text,
    /// The server wants a file of the client; only where that was agreed on. It may ask so in answer to any query, so
    /// whoever forwards this has looked at the statement, and says
    /// [`Scanner::expect_file`](super::frontend::Scanner::expect_file); whoever does not ends the session.
    File {
        /// The packet's number.
        sequence: u8,
        /// The file's name, as the statement has it, or so one hopes.
        name: &'a [u8],
    },
}

/// What is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What the oldest command that is not answered is answered with.
    pub answer: Answer,
    /// The number of its first packet.
    pub sequence: u8,
}

/// Finds the messages in a server's bytes.
#[derive(Debug)]
pub struct Scanner {
    answering: Answering,
    /// The beginning of a long packet that someone looks at.
    long: Option<Vec<u8>>,
    ended: Vec<u8>,
}

/// What the bytes are at which something begins.
enum Found {
    /// So many of them are taken.
    Passes(usize),
    /// So many are needed to tell.
    Needs(usize),
    /// A packet with this header that someone looks at.
    Look(Header),
}

impl Scanner {
    /// At the first byte after the OK packet of the login, under what client and server agreed on.
    pub fn new(capabilities: Capabilities) -> Self {
        Self { answering: Answering::new(capabilities), long: None, ended: Vec::new() }
    }

    /// Rows whose first byte has been seen.
    pub fn rows(&self) -> u64 {
        self.answering.rows
    }

    /// Whether everything so far ended with a whole packet.
    pub fn at_boundary(&self) -> bool {
        self.answering.left == 0 && !self.answering.continued
    }

    /// Bytes to the end of the packet that was begun; a cut waits for them when they are few.
    pub fn left(&self) -> usize {
        self.answering.left
    }

    /// The number of a packet of ours that goes to the client instead of what the server would send next. Where no
    /// answer has begun it is the one that is expected, and 1 where nothing is: clients take an error with that number
    /// for the answer to what they send next.
    pub fn next_sequence(&self, expected: Option<Expected>) -> u8 {
        self.answering.next_sequence(expected)
    }

    /// Looks at bytes that have arrived; see the module's documentation. An error ends the session.
    pub fn step<'a>(
        &'a mut self,
        input: &'a [u8],
        expected: Option<Expected>,
    ) -> Result<Step<'a>, Malformed> {
        if self.long.is_some() {
            return self.resume_long(input, expected);
        }
        let mut passed = 0_usize;
        loop {
            let rest = input.get(passed..).unwrap_or_default();
            match self.pass(rest, expected) {
                Ok(Found::Passes(length)) => passed = passed.saturating_add(length),
                _ if passed > 0 => return Ok(Step::Pass { length: passed }),
                Ok(Found::Needs(bytes)) => return Ok(Step::Need(bytes)),
                Ok(Found::Look(header)) => return self.look(rest, header, expected),
                Err(malformed) => return Err(malformed),
            }
        }
    }

    /// Takes bytes that nobody looks at.
    fn pass(&mut self, rest: &[u8], expected: Option<Expected>) -> Result<Found, Malformed> {
        let answering = &mut self.answering;
        if answering.left > 0 {
            let length = answering.left.min(rest.len());
            answering.left = answering.left.saturating_sub(length);
            return Ok(if length > 0 { Found::Passes(length) } else { Found::Needs(1) });
        }
        let Some(header) = Header::read(rest) else { return Ok(Found::Needs(HEADER_BYTES)) };
        if answering.continued {
            answering.take_next(header)?;
            return Ok(Found::Passes(HEADER_BYTES));
        }
        let first = first_byte(rest, header);
        if first.is_none() && header.length > 0 {
            return Ok(Found::Needs(HEADER_BYTES.saturating_add(1)));
        }
        if answering.is_looked_at(header, first, expected) {
            return Ok(Found::Look(header));
        }
        answering.take(header, expected)?;
        Ok(Found::Passes(HEADER_BYTES))
    }

    fn look<'a>(
        &'a mut self,
        rest: &'a [u8],
        header: Header,
        expected: Option<Expected>,
    ) -> Result<Step<'a>, Malformed> {
        self.ended = Vec::new();
        self.answering.expect(header, first_byte(rest, header), expected)?;
        if header.total() > HOLD_BYTES_MAX {
            // The header passes by itself; the payload follows as a long packet, whatever has arrived of it.
            self.answering.begin_long(header)?;
            self.long = Some(Vec::new());
            return Ok(Step::Pass { length: HEADER_BYTES });
        }
        let Some(packet) = rest.get(..header.total()) else {
            return Ok(Step::Need(header.total()));
        };
        let payload = packet.get(HEADER_BYTES..).unwrap_or_default();
        let (length, rows) = (header.total(), self.answering.rows);
        let message = self.answering.message(header.sequence, payload, expected)?;
        Ok(message.map_or(Step::Pass { length }, |message| Step::Message { length, rows, message }))
    }

    fn resume_long<'a>(
        &'a mut self,
        input: &'a [u8],
        expected: Option<Expected>,
    ) -> Result<Step<'a>, Malformed> {
        let left = self.answering.left;
        let length = left.min(input.len());
        let (piece, _) = input.split_at_checked(length).unwrap_or_default();
        if piece.is_empty() {
            return Ok(Step::Need(1));
        }
        self.answering.left = left.saturating_sub(length);
        let Some(start) = &mut self.long else { return Ok(Step::Pass { length }) };
        let room = HOLD_BYTES_MAX.saturating_sub(start.len());
        start.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if self.answering.left > 0 {
            return Ok(Step::Pass { length });
        }
        self.ended = self.long.take().unwrap_or_default();
        let (sequence, rows) = (self.answering.sequence, self.answering.rows);
        let message = self.answering.message(sequence, &self.ended, expected)?;
        Ok(message.map_or(Step::Pass { length }, |message| Step::Message { length, rows, message }))
    }
}

/// The first byte of a packet's payload: of an empty one there is none, whatever follows it.
fn first_byte(rest: &[u8], header: Header) -> Option<u8> {
    rest.get(HEADER_BYTES).copied().filter(|_| header.length > 0)
}
