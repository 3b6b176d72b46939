//! Bodies of a server's messages.

use super::{Authentication, Message, TransactionStatus, key_data};
use crate::pg::Malformed;
use crate::pg::limits::SERVER_TEXT_BYTES_MAX;
use crate::pg::reader::Reader;

/// How much of a body there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Of a very long message only the beginning: what is missing is not an error.
    Beginning,
}

pub(super) fn parse(tag: u8, body: &[u8], extent: Extent) -> Result<Message<'_>, Malformed> {
    match tag {
        b'R' => authentication(body).map(Message::Authentication),
        b'S' => parameter_status(body, extent),
        b'K' => key_data(Reader::new("BackendKeyData", body)),
        b'Z' => ready(body),
        b'C' => command_complete(body, extent),
        b'E' => Ok(Message::ErrorResponse(Fields { body })),
        b'N' => Ok(Message::NoticeResponse(Fields { body })),
        b't' => parameter_description(body, extent),
        b'T' => row_description(body, extent),
        b'G' => Ok(Message::CopyInResponse),
        b'H' => Ok(Message::CopyOutResponse),
        b'W' => Ok(Message::CopyBothResponse),
        b'c' => Ok(Message::CopyDone),
        b'I' => Ok(Message::EmptyQueryResponse),
        b's' => Ok(Message::PortalSuspended),
        b'1' => Ok(Message::ParseComplete),
        b'2' => Ok(Message::BindComplete),
        b'3' => Ok(Message::CloseComplete),
        b'n' => Ok(Message::NoData),
        b'V' => Ok(Message::FunctionCallResponse),
        b'v' => Ok(Message::NegotiateProtocolVersion),
        tag => Err(Malformed::UnknownType { tag }),
    }
}

fn authentication(body: &[u8]) -> Result<Authentication<'_>, Malformed> {
    let mut reader = Reader::new("Authentication", body);
    let code = reader.u32()?;
    let data = reader.rest();
    Ok(match code {
        0 => {
            reader.end()?;
            Authentication::Ok
        }
        3 => {
            reader.end()?;
            Authentication::CleartextPassword
        }
        5 => {
            let salt = data.try_into().map_err(|_| reader.malformed("a salt has four bytes"))?;
            Authentication::Md5Password(salt)
        }
        10 => Authentication::Sasl(data),
        11 => Authentication::SaslContinue(data),
        12 => Authentication::SaslFinal(data),
        other => Authentication::Other(other),
    })
}

fn parameter_status(body: &[u8], extent: Extent) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("ParameterStatus", body);
    let name = reader.cstring()?;
    let value = text(&mut reader, extent)?;
    Ok(Message::ParameterStatus { name, value })
}

fn command_complete(body: &[u8], extent: Extent) -> Result<Message<'_>, Malformed> {
    text(&mut Reader::new("CommandComplete", body), extent).map(Message::CommandComplete)
}

/// The last string of a body; of a long message it may have no end.
fn text<'a>(reader: &mut Reader<'a>, extent: Extent) -> Result<&'a [u8], Malformed> {
    let rest = reader.rest();
    match reader.cstring() {
        Ok(text) => {
            if extent == Extent::Whole {
                reader.end()?;
            }
            Ok(text)
        }
        Err(_) if extent == Extent::Beginning => Ok(rest),
        Err(malformed) => Err(malformed),
    }
}

fn ready(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("ReadyForQuery", body);
    let status = match reader.u8()? {
        b'I' => TransactionStatus::Idle,
        b'T' => TransactionStatus::InTransaction,
        b'E' => TransactionStatus::Failed,
        _ => return Err(reader.malformed("the status is none of I, T and E")),
    };
    reader.end()?;
    Ok(Message::ReadyForQuery(status))
}

/// The fields of an ErrorResponse or NoticeResponse. Any may be missing; a server that says nothing is not an error of
/// ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    body: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Type and text of each field, in order, until the end or the first that is broken.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut reader = Reader::new("ErrorResponse", self.body);
        std::iter::from_fn(move || match reader.u8() {
            Ok(0) | Err(_) => None,
            Ok(field) => {
                let rest = reader.rest();
                let text = reader.cstring().unwrap_or_else(|_| {
                    reader = Reader::new("ErrorResponse", &[]);
                    rest
                });
                Some((field, text))
            }
        })
    }

    /// The text of one field.
    pub fn field(&self, field: u8) -> Option<&'a [u8]> {
        self.iter().find(|(candidate, _)| *candidate == field).map(|(_, text)| text)
    }

    /// SQLSTATE; `XX000` (internal error) when the server gave none that is five letters and digits.
    pub fn sqlstate(&self) -> &'a str {
        self.field(b'C')
            .filter(|code| code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric))
            .and_then(|code| std::str::from_utf8(code).ok())
            .unwrap_or("XX000")
    }

    /// Whether the session ends with it. `V` is never translated; servers before 9.6 have only `S`.
    pub fn is_fatal(&self) -> bool {
        let severity = self.field(b'V').or_else(|| self.field(b'S')).unwrap_or_default();
        matches!(severity, b"FATAL" | b"PANIC")
    }

    /// The primary message, in UTF-8 as far as it is, cut at [`SERVER_TEXT_BYTES_MAX`].
    pub fn message(&self) -> String {
        let message = self.field(b'M').unwrap_or_default();
        let message = message.get(..SERVER_TEXT_BYTES_MAX).unwrap_or(message);
        String::from_utf8_lossy(message).into_owned()
    }
}

impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.sqlstate(), self.message())
    }
}

/// Oids of a prepared statement's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterTypes<'a> {
    oids: &'a [[u8; 4]],
}

impl<'a> ParameterTypes<'a> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.oids.iter().copied().map(u32::from_be_bytes)
    }
}

fn parameter_description(body: &[u8], extent: Extent) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("ParameterDescription", body);
    let count = usize::from(reader.u16()?);
    let (oids, over) = reader.rest().as_chunks::<4>();
    if extent == Extent::Whole && (oids.len() != count || !over.is_empty()) {
        return Err(reader.malformed("it has another number of types than it says"));
    }
    Ok(Message::ParameterDescription(ParameterTypes { oids }))
}

/// The columns of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    count: u16,
    columns: &'a [u8],
}

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Oid of its table, 0 when it is none's.
    pub table: u32,
    /// Number in its table.
    pub attribute: u16,
    /// Oid of its type.
    pub type_oid: u32,
    /// Format code.
    pub format: u16,
}

impl<'a> Row<'a> {
    /// How many columns there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// One after the other; of a very long description perhaps not all.
    pub fn iter(&self) -> impl Iterator<Item = Column<'a>> + use<'a> {
        let mut reader = Reader::new("RowDescription", self.columns);
        (0..self.count).map_while(move |_| column(&mut reader).ok())
    }
}

fn column<'a>(reader: &mut Reader<'a>) -> Result<Column<'a>, Malformed> {
    let name = reader.cstring()?;
    let table = reader.u32()?;
    let attribute = reader.u16()?;
    let type_oid = reader.u32()?;
    let _type_size = reader.u16()?;
    let _type_modifier = reader.u32()?;
    let format = reader.u16()?;
    Ok(Column { name, table, attribute, type_oid, format })
}

fn row_description(body: &[u8], extent: Extent) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new("RowDescription", body);
    let count = reader.u16()?;
    let row = Row { count, columns: reader.rest() };
    if extent == Extent::Whole {
        for _ in 0..count {
            column(&mut reader)?;
        }
        reader.end()?;
    }
    Ok(Message::RowDescription(row))
}

/// Rows that a command tag speaks of: the last word when it is a number (`INSERT 0 5`, `SELECT 10`, `COPY 7`).
pub fn rows_of_tag(tag: &[u8]) -> Option<u64> {
    let last = tag.rsplit(|byte| *byte == b' ').next()?;
    let digits = std::str::from_utf8(last).ok().filter(|_| last.len() < tag.len())?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
