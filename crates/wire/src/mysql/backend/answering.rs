//! Where in an answer the server is, and what its next packet means there.

use super::view::{Done, done, prepared};
use super::{Expected, Message};
use crate::mysql::Malformed;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Answer;
use crate::mysql::error::{PROGRESS_CODE, server_error};
use crate::mysql::packet::Header;
use crate::mysql::reader::Reader;

/// What the next packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first of an answer.
    Start,
    /// Not the first of an answer like this, but as if it were.
    Again(Answer),
    /// One of so many columns.
    Columns(u64),
    /// The EOF packet behind the columns.
    ColumnsEnd,
    /// A row, or their end.
    Rows,
    /// One of so many that describe a prepared statement.
    Described(u64),
    /// A column of a table, or their end.
    Fields,
}

/// Follows a server's packets.
#[derive(Debug)]
pub(super) struct Answering {
    capabilities: Capabilities,
    state: State,
    /// Bytes of the current packet that have not come yet.
    pub(super) left: usize,
    /// Another packet of the same row follows the current one.
    pub(super) continued: bool,
    /// The number of the last packet.
    pub(super) sequence: u8,
    pub(super) rows: u64,
    /// The result that has begun may have a cursor.
    cursor: bool,
}

const ERROR: u8 = 0xff;
const END: u8 = 0xfe;
const FILE: u8 = 0xfb;
const OK: u8 = 0x00;

impl Answering {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        let (left, continued, sequence, rows, cursor) = (0, false, 0, 0, false);
        Self { capabilities, state: State::Start, left, continued, sequence, rows, cursor }
    }

    fn has(&self, flag: Capabilities) -> bool {
        self.capabilities.contains(flag)
    }

    /// Rows and fields begin without a packet that says so.
    fn state(&self, expected: Option<Expected>) -> State {
        match (self.state, expected) {
            (State::Start, Some(Expected { answer: Answer::Rows, .. })) => State::Rows,
            (State::Start, Some(Expected { answer: Answer::Fields, .. })) => State::Fields,
            (state, _) => state,
        }
    }

    pub(super) fn next_sequence(&self, expected: Option<Expected>) -> u8 {
        match (self.state, expected) {
            (State::Start, Some(expected)) => expected.sequence,
            (State::Start, None) => 1,
            _ => self.sequence.wrapping_add(1),
        }
    }

    /// Whether a packet is more than one of many columns or rows.
    pub(super) fn is_looked_at(
        &self,
        header: Header,
        first: Option<u8>,
        expected: Option<Expected>,
    ) -> bool {
        match (self.state(expected), first) {
            (_, Some(ERROR)) => true,
            (State::Start | State::Again(_) | State::ColumnsEnd, _) => true,
            (State::Rows, Some(END)) => self.is_end(header),
            (State::Fields, Some(END)) => true,
            // The last one is told of.
            (State::Described(left), _) => left <= 1,
            (State::Rows | State::Fields | State::Columns(_), _) => false,
        }
    }

    /// A row that begins with 0xfe has a first field of 16 MiB or more.
    fn is_end(&self, header: Header) -> bool {
        if self.has(Capabilities::DEPRECATE_EOF) {
            !header.is_continued()
        } else {
            header.length < 9
        }
    }

    /// Whether a packet is the next, or is an error where an answer would begin.
    pub(super) fn expect(
        &self,
        header: Header,
        first: Option<u8>,
        expected: Option<Expected>,
    ) -> Result<(), Malformed> {
        match (self.state, expected) {
            (State::Start, _) if first == Some(ERROR) => Ok(()),
            (State::Start, None) => Err(Malformed::Unasked),
            (_, expected) => header.expect(self.next_sequence(expected)),
        }
    }

    /// The rest of a row that one packet does not hold.
    pub(super) fn take_next(&mut self, header: Header) -> Result<(), Malformed> {
        header.expect(self.sequence.wrapping_add(1))?;
        self.begin(header);
        Ok(())
    }

    /// A column or a row.
    pub(super) fn take(
        &mut self,
        header: Header,
        expected: Option<Expected>,
    ) -> Result<(), Malformed> {
        self.expect(header, None, expected)?;
        let state = self.state(expected);
        if state == State::Rows {
            self.rows = self.rows.saturating_add(1);
        }
        self.state = match state {
            State::Columns(left) if left <= 1 => self.after_columns(),
            State::Columns(left) => State::Columns(left.saturating_sub(1)),
            State::Described(left) => State::Described(left.saturating_sub(1)),
            state => state,
        };
        self.begin(header);
        Ok(())
    }

    fn after_columns(&self) -> State {
        if self.has(Capabilities::DEPRECATE_EOF) { State::Rows } else { State::ColumnsEnd }
    }

    fn begin(&mut self, header: Header) {
        self.left = header.length;
        self.continued = header.is_continued();
        self.sequence = header.sequence;
    }

    /// A packet that someone looks at is longer than what is held.
    pub(super) fn begin_long(&mut self, header: Header) -> Result<(), Malformed> {
        if header.is_continued() {
            let (message, length) = ("answer", header.length);
            return Err(Malformed::Length { message, length, max: length.saturating_sub(1) });
        }
        self.begin(header);
        Ok(())
    }

    /// What a packet says that someone looks at; `None` when it concerns nobody but the client.
    pub(super) fn message<'a>(
        &mut self,
        sequence: u8,
        payload: &'a [u8],
        expected: Option<Expected>,
    ) -> Result<Option<Message<'a>>, Malformed> {
        let what = "it is empty";
        let first = payload.first().ok_or(Malformed::Body { message: "answer", what })?;
        self.sequence = sequence;
        let state = self.state(expected);
        if *first == ERROR {
            return Ok(self.error(payload, state, expected));
        }
        match (state, expected) {
            (State::Start, None) => Err(Malformed::Unasked),
            (State::Start, Some(expected)) => self.answer(expected.answer, *first, payload),
            (State::Again(answer), _) => self.answer(answer, *first, payload),
            (State::ColumnsEnd, _) => {
                let done = done(payload, self.capabilities)?;
                // A cursor's rows are fetched; none follow. Where none was wanted the flag is that of one which a
                // procedure opened, and so it may be where more results follow.
                if self.cursor && done.has_cursor() && !done.has_more_results() {
                    return Ok(Some(self.done(done)));
                }
                self.state = State::Rows;
                Ok(None)
            }
            (State::Rows | State::Fields, _) => {
                let done = done(payload, self.capabilities)?;
                Ok(Some(self.done(done)))
            }
            (State::Described(_) | State::Columns(_), _) => {
                self.state = State::Start;
                Ok(Some(Message::Described))
            }
        }
    }

    fn error<'a>(
        &mut self,
        payload: &'a [u8],
        state: State,
        expected: Option<Expected>,
    ) -> Option<Message<'a>> {
        let error = server_error(payload);
        if error.code == PROGRESS_CODE && self.has(Capabilities::PROGRESS) {
            if let (State::Start, Some(expected)) = (state, expected) {
                self.state = State::Again(expected.answer);
            }
            return None;
        }
        self.state = State::Start;
        Some(Message::Error(error))
    }

    fn done<'a>(&mut self, done: Done<'a>) -> Message<'a> {
        self.state =
            if done.has_more_results() { State::Again(Answer::Results) } else { State::Start };
        Message::Done(done)
    }

    /// The first packet of an answer.
    fn answer<'a>(
        &mut self,
        answer: Answer,
        first: u8,
        payload: &'a [u8],
    ) -> Result<Option<Message<'a>>, Malformed> {
        self.cursor = answer == Answer::Cursor;
        let answer = if self.cursor { Answer::Results } else { answer };
        match (answer, first) {
            (Answer::Status | Answer::Results | Answer::Rows | Answer::Fields, END)
            | (Answer::Status | Answer::Results, OK) => {
                let done = done(payload, self.capabilities)?;
                Ok(Some(self.done(done)))
            }
            (Answer::Results, FILE) if !self.has(Capabilities::LOCAL_FILES) => {
                let (message, what) = ("LOCAL INFILE", "it was not agreed on");
                Err(Malformed::Body { message, what })
            }
            (Answer::Results, FILE) => {
                self.state = State::Start;
                let name = payload.get(1..).unwrap_or_default();
                Ok(Some(Message::File { sequence: self.sequence, name }))
            }
            (Answer::Results, _) => self.columns(payload).map(|()| None),
            (Answer::Prepared, OK) => {
                let prepared = prepared(payload, self.capabilities)?;
                self.state = match prepared.descriptions {
                    0 => State::Start,
                    packets => State::Described(packets),
                };
                Ok(Some(Message::Prepared(prepared)))
            }
            (Answer::Text, _) => {
                self.state = State::Start;
                Ok(Some(Message::Text))
            }
            (Answer::Nothing, _) => Err(Malformed::Unasked),
            (
                Answer::Status | Answer::Cursor | Answer::Prepared | Answer::Rows | Answer::Fields,
                _,
            ) => {
                let (message, what) = ("answer", "it begins as the answer to another command does");
                Err(Malformed::Body { message, what })
            }
        }
    }

    /// The number of a result's columns.
    fn columns(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new("column count", payload);
        let count = reader.lenenc()?;
        let described = !self.has(Capabilities::CACHE_METADATA) || reader.u8()? != 0;
        reader.end()?;
        self.state = match count {
            count if described && count > 0 => State::Columns(count),
            _ => self.after_columns(),
        };
        Ok(())
    }
}
