//! What a server sends. It is as little trusted as a client.
//!
//! [`Scanner::step`] has the contract of [`frontend::Scanner`](super::frontend::Scanner), except that nothing has to be
//! held before it is forwarded: DataRow, CopyData and NotificationResponse pass in bulk (a buffer full of rows costs
//! one look at each header), and of the messages that someone looks at those longer than
//! [`HOLD_BYTES_MAX`] are seen by their beginning.

use super::Malformed;
use super::frontend::total;
use super::limits::{
    CANCEL_KEY_BYTES_MAX, CANCEL_KEY_BYTES_MIN, HEADER_BYTES, HOLD_BYTES_MAX,
    SERVER_MESSAGE_BYTES_MAX,
};
use super::reader::Reader;

mod view;

pub use view::{Column, Fields, ParameterTypes, Row, rows_of_tag};

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
        /// Its bytes, or of a message longer than [`HOLD_BYTES_MAX`] its last ones.
        length: usize,
        /// DataRows so far, for [`Tracker::server`](super::statement::Tracker::server).
        rows: u64,
        /// What it says.
        message: Message<'a>,
    },
}

/// A server's message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// An authentication request, or the word that it is done.
    Authentication(Authentication<'a>),
    /// A setting that clients are told of.
    ParameterStatus {
        /// Its name.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// What a cancel request must show.
    BackendKeyData {
        /// Process id.
        pid: u32,
        /// The secret: 4 to 256 bytes.
        key: &'a [u8],
    },
    /// The server waits for a statement.
    ReadyForQuery(TransactionStatus),
    /// A statement ended well; its tag.
    CommandComplete(&'a [u8]),
    /// A statement or the session ended badly.
    ErrorResponse(Fields<'a>),
    /// Something to know; may come at any time.
    NoticeResponse(Fields<'a>),
    /// Types of a prepared statement's parameters.
    ParameterDescription(ParameterTypes<'a>),
    /// Columns of the rows to come.
    RowDescription(Row<'a>),
    /// COPY from the client begins.
    CopyInResponse,
    /// COPY to the client begins.
    CopyOutResponse,
    /// Replication: both directions.
    CopyBothResponse,
    /// COPY data of the server ends.
    CopyDone,
    /// The query was empty.
    EmptyQueryResponse,
    /// A portal has more rows.
    PortalSuspended,
    /// Parse is done.
    ParseComplete,
    /// Bind is done.
    BindComplete,
    /// Close is done.
    CloseComplete,
    /// There will be no rows.
    NoData,
    /// What a function returned; the value itself is not looked at.
    FunctionCallResponse,
    /// The server speaks an older protocol or does not know an extension.
    NegotiateProtocolVersion,
}

/// AuthenticationXxx.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Done.
    Ok,
    /// A password in clear text is asked for.
    CleartextPassword,
    /// MD5 with this salt.
    Md5Password([u8; 4]),
    /// SASL: mechanisms, each ended by NUL.
    Sasl(&'a [u8]),
    /// SASL goes on.
    SaslContinue(&'a [u8]),
    /// SASL is over.
    SaslFinal(&'a [u8]),
    /// Something that we do not speak (Kerberos, GSS, SSPI).
    Other(u32),
}

impl std::fmt::Debug for Authentication<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ok => "Ok",
            Self::CleartextPassword => "CleartextPassword",
            Self::Md5Password(_) => "Md5Password",
            Self::Sasl(_) => "Sasl",
            Self::SaslContinue(_) => "SaslContinue",
            Self::SaslFinal(_) => "SaslFinal",
            Self::Other(_) => "Other",
        })
    }
}

/// What ReadyForQuery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction.
    Idle,
    /// In one.
    InTransaction,
    /// In one that can only be rolled back.
    Failed,
}

impl TransactionStatus {
    /// `I`, `T` or `E`.
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// Finds the messages in a server's bytes.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes of the current message's body that have not come yet.
    left: usize,
    /// The beginning of a long message, with its type.
    long: Option<(u8, Vec<u8>)>,
    ended: (u8, Vec<u8>),
    rows: u64,
    copy_bytes: u64,
}

impl Scanner {
    /// At the first byte after the answer to an SSLRequest.
    pub fn new() -> Self {
        Self::default()
    }

    /// DataRows whose first byte has been seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of CopyData bodies so far.
    pub fn copy_bytes(&self) -> u64 {
        self.copy_bytes
    }

    /// Whether everything so far ended with a whole message.
    pub fn at_boundary(&self) -> bool {
        self.left == 0
    }

    /// Bytes to the end of the message that was begun; a cut waits for them when they are few.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Looks at bytes that have arrived; see the module's documentation. An error ends the session.
    pub fn step<'a>(&'a mut self, input: &'a [u8]) -> Result<Step<'a>, Malformed> {
        if self.left > 0 && self.long.is_some() {
            return self.resume_long(input);
        }
        let mut passed = 0_usize;
        loop {
            let rest = input.get(passed..).unwrap_or_default();
            if self.left > 0 {
                let length = self.left.min(rest.len());
                if length == 0 {
                    return Ok(if passed > 0 {
                        Step::Pass { length: passed }
                    } else {
                        Step::Need(1)
                    });
                }
                self.left = self.left.saturating_sub(length);
                passed = passed.saturating_add(length);
                continue;
            }
            let header = match header(rest) {
                Ok(Some(header)) => header,
                Ok(None) | Err(_) if passed > 0 => return Ok(Step::Pass { length: passed }),
                Ok(None) => return Ok(Step::Need(HEADER_BYTES)),
                Err(malformed) => return Err(malformed),
            };
            match header.tag {
                b'D' | b'd' | b'A' => {
                    self.count(&header);
                    self.left = header.total.saturating_sub(HEADER_BYTES);
                    passed = passed.saturating_add(HEADER_BYTES);
                }
                _ if passed > 0 => return Ok(Step::Pass { length: passed }),
                _ => return self.look(rest, &header),
            }
        }
    }

    fn count(&mut self, header: &Header) {
        let body = header.total.saturating_sub(HEADER_BYTES);
        match header.tag {
            b'D' => self.rows = self.rows.saturating_add(1),
            b'd' => {
                let body = u64::try_from(body).unwrap_or(u64::MAX);
                self.copy_bytes = self.copy_bytes.saturating_add(body);
            }
            _ => {}
        }
    }

    fn look<'a>(&'a mut self, rest: &'a [u8], header: &Header) -> Result<Step<'a>, Malformed> {
        self.ended = (0, Vec::new());
        if header.total <= HOLD_BYTES_MAX {
            let Some(message) = rest.get(..header.total) else {
                return Ok(Step::Need(header.total));
            };
            let body = message.get(HEADER_BYTES..).unwrap_or_default();
            let message = view::parse(header.tag, body, view::Extent::Whole)?;
            return Ok(Step::Message { length: header.total, rows: self.rows, message });
        }
        // The header passes by itself; the body follows as a long message, whatever has arrived of it.
        self.left = header.total.saturating_sub(HEADER_BYTES);
        self.long = Some((header.tag, Vec::new()));
        Ok(Step::Pass { length: HEADER_BYTES })
    }

    fn resume_long<'a>(&'a mut self, input: &'a [u8]) -> Result<Step<'a>, Malformed> {
        let length = self.left.min(input.len());
        let (piece, _) = input.split_at_checked(length).unwrap_or_default();
        if piece.is_empty() {
            return Ok(Step::Need(1));
        }
        self.left = self.left.saturating_sub(length);
        let Some((_, start)) = &mut self.long else { return Ok(Step::Pass { length }) };
        let room = HOLD_BYTES_MAX.saturating_sub(start.len());
        start.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if self.left > 0 {
            return Ok(Step::Pass { length });
        }
        self.ended = self.long.take().unwrap_or_default();
        let (tag, start) = &self.ended;
        let message = view::parse(*tag, start, view::Extent::Beginning)?;
        Ok(Step::Message { length, rows: self.rows, message })
    }
}

struct Header {
    tag: u8,
    /// Bytes in all.
    total: usize,
}

fn header(input: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER_BYTES>() else {
        return match input.first() {
            Some(tag) => length_max(*tag).map(|_| None),
            None => Ok(None),
        };
    };
    let max = length_max(tag)?;
    let length = u32::from_be_bytes([a, b, c, d]);
    let total = total(length, max).ok_or(Malformed::Length { tag, length, max })?;
    Ok(Some(Header { tag, total }))
}

/// The fixed messages have the length that they have; the others PostgreSQL itself bounds only by its buffers.
fn length_max(tag: u8) -> Result<u32, Malformed> {
    match tag {
        b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c' => Ok(4),
        b'Z' => Ok(5),
        b'K' => Ok(key_length_max()),
        b'R' => Ok(super::limits::AUTHENTICATION_BYTES_MAX),
        b'v' => Ok(u32::try_from(super::limits::STARTUP_BYTES_MAX).unwrap_or(u32::MAX)),
        b'A' | b'C' | b'D' | b'E' | b'G' | b'H' | b'N' | b'S' | b'T' | b'V' | b'W' | b'd'
        | b't' => Ok(SERVER_MESSAGE_BYTES_MAX),
        tag => Err(Malformed::UnknownType { tag }),
    }
}

fn key_length_max() -> u32 {
    u32::try_from(CANCEL_KEY_BYTES_MAX.saturating_add(8)).unwrap_or(u32::MAX)
}

fn key_data(mut reader: Reader<'_>) -> Result<Message<'_>, Malformed> {
    let pid = reader.u32()?;
    let key = reader.rest();
    if (CANCEL_KEY_BYTES_MIN..=CANCEL_KEY_BYTES_MAX).contains(&key.len()) {
        Ok(Message::BackendKeyData { pid, key })
    } else {
        Err(reader.malformed("a cancel key has 4 to 256 bytes"))
    }
}
