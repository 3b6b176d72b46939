//! What a client sends after its start-up packet.
//!
//! [`Scanner::step`] is given the bytes that have arrived and not yet been dealt with, and says how many to forward and
//! which message they end. The contract, for the bytes of a buffer of at least
//! [`HOLD_BYTES_MAX`]:
//!
//! ```text
//! loop { match scanner.step(&buffer[done..filled])? {
//!     Step::Need(n)                     => break,                  // read on; the unread bytes stay in the buffer
//!     Step::Pass { length }             => done += length,         // forward; nobody needs to look at them
//!     Step::Message { length, message } => { look(message); done += length }   // then forward
//! } }
//! ```
//!
//! A message of up to `HOLD_BYTES_MAX` bytes that someone must look at is asked for whole (`Need`), so it can be
//! recorded before its first byte is forwarded. A longer one streams: its bytes `Pass` but for the last piece, which
//! comes with the `Message`; the server does nothing with a message before its last byte, so what is recorded then is
//! still recorded before the server can act on it. Of such a message the beginning is kept, with length and SHA-256.
//!
//! What the messages are does not depend on how the bytes were split.

use super::capture::{BoundValues, Capture, Captured};
use super::limits::{
    AUTHENTICATION_BYTES_MAX, HEADER_BYTES, HOLD_BYTES_MAX, LARGE_MESSAGE_BYTES_MAX,
    SMALL_MESSAGE_BYTES_MAX,
};
use super::reader::Reader;
use super::{Malformed, Part};

/// What the next bytes are.
#[derive(Debug)]
pub enum Step<'a> {
    /// So many bytes in all are needed to go on; never more than [`HOLD_BYTES_MAX`].
    Need(usize),
    /// So many bytes may be forwarded; they are CopyData, or not the last of a long message.
    Pass {
        /// At least one.
        length: usize,
    },
    /// A message ends with these bytes.
    Message {
        /// Its bytes, or of a message longer than [`HOLD_BYTES_MAX`] its last ones.
        length: usize,
        /// What it says.
        message: Message<'a>,
    },
}

/// A client's message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// Simple query: one text, perhaps several statements.
    Query(Query<'a>),
    /// Prepare a statement.
    Parse(Parse<'a>),
    /// Give a prepared statement its values: a portal.
    Bind(Bind<'a>),
    /// Ask for a description.
    Describe(Target<'a>),
    /// Run a portal.
    Execute(Execute<'a>),
    /// Forget a prepared statement or portal.
    Close(Target<'a>),
    /// Call a function by its oid.
    FunctionCall(FunctionCall<'a>),
    /// COPY data ends well.
    CopyDone,
    /// COPY data ends badly; the client's reason.
    CopyFail(&'a [u8]),
    /// Send what has been answered so far.
    Flush,
    /// End of a unit of extended query.
    Sync,
    /// The client goes.
    Terminate,
}

/// Query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The text, without its NUL.
    pub text: Part<'a>,
}

/// Parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Name of the statement; empty for the unnamed one.
    pub statement: &'a [u8],
    /// The text, without its NUL.
    pub text: Part<'a>,
    /// Oids of parameter types; 0 where the server is to find out, and fewer than there are parameters, perhaps.
    pub types: Vec<u32>,
}

/// Bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Name of the portal; empty for the unnamed one.
    pub portal: &'a [u8],
    /// Name of the statement.
    pub statement: &'a [u8],
    /// The values.
    pub values: Values<'a>,
}

/// The values of a Bind or FunctionCall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values<'a>(Source<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source<'a> {
    /// Format codes and values as they lie in the message, checked when it was parsed.
    Message { formats: &'a [u8], count: u16, values: &'a [u8] },
    /// Of a long message.
    Kept(&'a BoundValues),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As text, in the client's encoding.
    Text,
    /// In the type's binary form.
    Binary,
}

impl Format {
    /// PostgreSQL knows 0 and 1.
    pub(crate) fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// One value; `None` is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// How it is written.
    pub format: Format,
    /// Its bytes.
    pub bytes: Option<Part<'a>>,
}

impl<'a> Values<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self.0 {
            Source::Message { count, .. } => usize::from(count),
            Source::Kept(kept) => kept.count(),
        }
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (inline, kept) = match self.0 {
            Source::Message { formats, count, values } => {
                (Some(Inline { formats, index: 0, count, rest: Reader::new("Bind", values) }), None)
            }
            Source::Kept(kept) => (None, Some(kept.iter())),
        };
        inline.into_iter().flatten().chain(kept.into_iter().flatten())
    }
}

/// Values as they lie in a message.
struct Inline<'a> {
    formats: &'a [u8],
    index: u16,
    count: u16,
    rest: Reader<'a>,
}

impl<'a> Iterator for Inline<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.index == self.count {
            return None;
        }
        let format = format_at(self.formats, usize::from(self.index))?;
        self.index = self.index.saturating_add(1);
        let bytes = self.rest.value().ok()?.map(Part::whole);
        Some(Value { format, bytes })
    }
}

/// No code means text for all, one code holds for all, otherwise each value has its own.
fn format_at(formats: &[u8], index: usize) -> Option<Format> {
    let (codes, _) = formats.as_chunks::<2>();
    let code = match codes {
        [] => return Some(Format::Text),
        [code] => code,
        codes => codes.get(index)?,
    };
    Format::from_code(u16::from_be_bytes(*code))
}

/// Execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Name of the portal.
    pub portal: &'a [u8],
    /// Rows wanted; zero or less for all.
    pub rows_max: i32,
}

/// What Describe and Close speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

/// FunctionCall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// The function.
    pub oid: u32,
    /// Its arguments.
    pub arguments: Values<'a>,
}

/// Finds the messages in a client's bytes.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes of the current message's body that have not come yet.
    left: usize,
    capture: Option<Capture>,
    captured: Option<Captured>,
    copy_bytes: u64,
}

/// How the scanner treats a type.
enum Treatment {
    Pass,
    Look,
}

impl Scanner {
    /// At the first byte after the start-up exchange.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of CopyData bodies so far.
    pub fn copy_bytes(&self) -> u64 {
        self.copy_bytes
    }

    /// Whether everything so far ended with a whole message.
    pub fn at_boundary(&self) -> bool {
        self.left == 0
    }

    /// Looks at bytes that have arrived; see the module's documentation. An error ends the session.
    pub fn step<'a>(&'a mut self, input: &'a [u8]) -> Result<Step<'a>, Malformed> {
        if self.left > 0 {
            return self.resume(input);
        }
        let mut passed = 0_usize;
        loop {
            let rest = input.get(passed..).unwrap_or_default();
            let header = match header(rest) {
                Ok(Some(header)) => header,
                Ok(None) | Err(_) if passed > 0 => return Ok(Step::Pass { length: passed }),
                Ok(None) => return Ok(Step::Need(HEADER_BYTES)),
                Err(malformed) => return Err(malformed),
            };
            match header.treatment {
                Treatment::Pass => {
                    let (length, left) = clip(rest, &header);
                    self.count_copy(length.saturating_sub(HEADER_BYTES));
                    self.left = left;
                    passed = passed.saturating_add(length);
                    if left > 0 {
                        return Ok(Step::Pass { length: passed });
                    }
                }
                Treatment::Look if passed > 0 => return Ok(Step::Pass { length: passed }),
                Treatment::Look => return self.look(rest, &header),
            }
        }
    }

    fn count_copy(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.copy_bytes = self.copy_bytes.saturating_add(bytes);
    }

    fn resume<'a>(&'a mut self, input: &'a [u8]) -> Result<Step<'a>, Malformed> {
        let length = self.left.min(input.len());
        let (piece, _) = input.split_at_checked(length).unwrap_or_default();
        if piece.is_empty() {
            return Ok(Step::Need(1));
        }
        self.left = self.left.saturating_sub(length);
        match &mut self.capture {
            None => self.count_copy(length),
            Some(capture) => capture.push(piece)?,
        }
        if self.left > 0 {
            return Ok(Step::Pass { length });
        }
        let Some(capture) = self.capture.take() else { return Ok(Step::Pass { length }) };
        let captured = self.captured.insert(capture.finish()?);
        Ok(Step::Message { length, message: captured.message() })
    }

    fn look<'a>(&'a mut self, rest: &'a [u8], header: &Header) -> Result<Step<'a>, Malformed> {
        self.captured = None;
        if header.total <= HOLD_BYTES_MAX {
            let Some(message) = rest.get(..header.total) else {
                return Ok(Step::Need(header.total));
            };
            let body = message.get(HEADER_BYTES..).unwrap_or_default();
            let message = parse(header.tag, body)?;
            return Ok(Step::Message { length: header.total, message });
        }
        let (length, left) = clip(rest, header);
        let piece = rest.get(HEADER_BYTES..length).unwrap_or_default();
        // A message that is longer than the hold but lies whole in a larger buffer takes the same way as one that
        // does not, so that what is seen never depends on the split: its last byte comes by itself.
        let (piece, length, left) = match piece.split_last() {
            Some((_, before)) if left == 0 => (before, length.saturating_sub(1), 1),
            Some(_) | None => (piece, length, left),
        };
        let mut capture = Capture::new(header.tag, header.total.saturating_sub(HEADER_BYTES))?;
        capture.push(piece)?;
        self.capture = Some(capture);
        self.left = left;
        Ok(Step::Pass { length })
    }
}

struct Header {
    tag: u8,
    /// Bytes in all.
    total: usize,
    treatment: Treatment,
}

/// How much of a message has arrived, and how much has not.
fn clip(rest: &[u8], header: &Header) -> (usize, usize) {
    let length = header.total.min(rest.len());
    (length, header.total.saturating_sub(length))
}

fn header(input: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER_BYTES>() else {
        // A type that does not exist is refused at once, so that a peer who speaks something else is not waited for.
        return match input.first() {
            Some(tag) => kind(*tag).map(|_| None),
            None => Ok(None),
        };
    };
    let (max, treatment) = kind(tag)?;
    let length = u32::from_be_bytes([a, b, c, d]);
    let total = total(length, max).ok_or(Malformed::Length { tag, length, max })?;
    Ok(Some(Header { tag, total, treatment }))
}

/// Bytes of a whole message from its length field, which counts itself but not the type byte.
pub(crate) fn total(length: u32, max: u32) -> Option<usize> {
    if !(4..=max).contains(&length) {
        return None;
    }
    usize::try_from(length).ok()?.checked_add(1)
}

fn kind(tag: u8) -> Result<(u32, Treatment), Malformed> {
    match tag {
        b'Q' | b'P' | b'B' | b'F' => Ok((LARGE_MESSAGE_BYTES_MAX, Treatment::Look)),
        b'd' => Ok((LARGE_MESSAGE_BYTES_MAX, Treatment::Pass)),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' => {
            Ok((SMALL_MESSAGE_BYTES_MAX, Treatment::Look))
        }
        tag => Err(Malformed::UnknownType { tag }),
    }
}

/// A whole message's body.
fn parse(tag: u8, body: &[u8]) -> Result<Message<'_>, Malformed> {
    match tag {
        b'Q' => query(body),
        b'P' => parse_message(body),
        b'B' => bind(body),
        b'F' => function_call(body),
        b'D' => target("Describe", body).map(Message::Describe),
        b'C' => target("Close", body).map(Message::Close),
        b'E' => execute(body),
        b'f' => copy_fail(body),
        b'c' => empty("CopyDone", body).map(|()| Message::CopyDone),
        b'H' => empty("Flush", body).map(|()| Message::Flush),
        b'S' => empty("Sync", body).map(|()| Message::Sync),
        b'X' => Ok(Message::Terminate),
        tag => Err(Malformed::UnknownType { tag }),
    }
}

fn empty(message: &'static str, body: &[u8]) -> Result<(), Malformed> {
    Reader::new(message, body).end()
}

fn query(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("Query", body);
    let text = Part::whole(reader.cstring()?);
    reader.end()?;
    Ok(Message::Query(Query { text }))
}

fn parse_message(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("Parse", body);
    let statement = reader.cstring()?;
    let text = Part::whole(reader.cstring()?);
    let count = reader.u16()?;
    let types = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(Message::Parse(Parse { statement, text, types }))
}

fn bind(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("Bind", body);
    let portal = reader.cstring()?;
    let statement = reader.cstring()?;
    let values = values(&mut reader)?;
    let count = reader.u16()?;
    reader.take(usize::from(count).saturating_mul(2))?;
    reader.end()?;
    Ok(Message::Bind(Bind { portal, statement, values }))
}

fn function_call(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("FunctionCall", body);
    let oid = reader.u32()?;
    let arguments = values(&mut reader)?;
    reader.u16()?;
    reader.end()?;
    Ok(Message::FunctionCall(FunctionCall { oid, arguments }))
}

/// Format codes and values, walked once so that later walks cannot fail.
fn values<'a>(reader: &mut Reader<'a>) -> Result<Values<'a>, Malformed> {
    let format_count = reader.u16()?;
    let formats = reader.take(usize::from(format_count).saturating_mul(2))?;
    let count = reader.u16()?;
    if format_count > 1 && format_count != count {
        return Err(reader.malformed("it has another number of format codes than of values"));
    }
    let (codes, _) = formats.as_chunks::<2>();
    if codes.iter().any(|code| Format::from_code(u16::from_be_bytes(*code)).is_none()) {
        return Err(reader.malformed("a format code is neither 0 nor 1"));
    }
    let before = reader.rest();
    for _ in 0..count {
        reader.value()?;
    }
    let length = before.len().saturating_sub(reader.rest().len());
    let values = before.get(..length).unwrap_or_default();
    Ok(Values(Source::Message { formats, count, values }))
}

impl<'a> From<&'a BoundValues> for Values<'a> {
    fn from(kept: &'a BoundValues) -> Self {
        Self(Source::Kept(kept))
    }
}

fn target<'a>(message: &'static str, body: &'a [u8]) -> Result<Target<'a>, Malformed> {
    let mut reader = Reader::new(message, body);
    let kind = reader.u8()?;
    let name = reader.cstring()?;
    reader.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(reader.malformed("it speaks of neither a statement nor a portal")),
    }
}

fn execute(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("Execute", body);
    let portal = reader.cstring()?;
    let rows_max = reader.i32()?;
    reader.end()?;
    Ok(Message::Execute(Execute { portal, rows_max }))
}

fn copy_fail(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("CopyFail", body);
    let reason = reader.cstring()?;
    reader.end()?;
    Ok(Message::CopyFail(reason))
}

/// What the bytes after an authentication request are: one message `p`.
#[derive(Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// So many bytes in all are needed to go on.
    Need(usize),
    /// A PasswordMessage, SASLInitialResponse or SASLResponse: the three look alike, the request decides which it is.
    Message {
        /// Its bytes.
        length: usize,
        /// Its body; wipe it after use.
        body: &'a [u8],
    },
}

/// Looks for the answer to an authentication request. Any other message type is malformed.
pub fn credential(input: &[u8]) -> Result<Credential<'_>, Malformed> {
    if let Some(tag) = input.first().filter(|tag| **tag != b'p') {
        return Err(Malformed::UnknownType { tag: *tag });
    }
    let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Credential::Need(HEADER_BYTES));
    };
    let (length, max) = (u32::from_be_bytes([a, b, c, d]), AUTHENTICATION_BYTES_MAX);
    let total = total(length, max).ok_or(Malformed::Length { tag, length, max })?;
    Ok(match input.get(HEADER_BYTES..total) {
        Some(body) => Credential::Message { length: total, body },
        None => Credential::Need(total),
    })
}

/// The password in a PasswordMessage's body.
pub fn password(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new("PasswordMessage", body);
    let password = reader.cstring()?;
    reader.end()?;
    Ok(password)
}

/// SASLInitialResponse.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// Name of the mechanism.
    pub mechanism: &'a [u8],
    /// The mechanism's first data, when there is any.
    pub data: Option<&'a [u8]>,
}

impl std::fmt::Debug for SaslInitialResponse<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "SaslInitialResponse {{ mechanism: {}, data: [secret] }}",
            self.mechanism.escape_ascii()
        )
    }
}

/// The parts of a SASLInitialResponse's body.
pub fn sasl_initial_response(body: &[u8]) -> Result<SaslInitialResponse<'_>, Malformed> {
    let mut reader = Reader::new("SASLInitialResponse", body);
    let mechanism = reader.cstring()?;
    let data = reader.value()?;
    reader.end()?;
    Ok(SaslInitialResponse { mechanism, data })
}
