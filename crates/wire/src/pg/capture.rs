//! Query, Parse, Bind and FunctionCall messages that are too long to be held: understood field by field as they stream,
//! with the beginning of every text and value kept.

use super::frontend::{Bind, Format, FunctionCall, Message, Parse, Query, Value};
use super::limits::{NAME_BYTES_MAX, SQL_BYTES_MAX, VALUE_BYTES_MAX, VALUES_BYTES_MAX};
use super::{Kept, Malformed};
use crate::part::Collector;

/// Understands one long message.
pub(crate) struct Capture {
    message: &'static str,
    field: Field,
    /// Bytes of the body that have not come yet.
    left: usize,
    number: Number,
    text: Collector,
    captured: Captured,
    /// Repetitions of the current field that are to come.
    repeat: u16,
    /// Bytes of the current value that have not come yet.
    value_left: usize,
    /// Bytes of values kept so far.
    values_kept: usize,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Capture {{ message: {}, field: {:?}, left: {} }}",
            self.message, self.field, self.left
        )
    }
}

/// The field that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// Parse: statement. Bind: portal.
    Name,
    /// Bind: statement.
    Statement,
    /// Query, Parse: text.
    Text,
    TypeCount,
    Type,
    FunctionOid,
    FormatCount,
    Format,
    ValueCount,
    ValueLength,
    Value,
    ResultFormatCount,
    ResultFormat,
    End,
}

/// A big-endian number that may arrive byte by byte.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    bytes: u8,
    value: u32,
}

impl Number {
    fn push(&mut self, byte: u8, width: u8) -> Option<u32> {
        self.value = (self.value << 8) | u32::from(byte);
        self.bytes = self.bytes.saturating_add(1);
        (self.bytes == width).then(|| std::mem::take(self).value)
    }
}

/// What was kept of a long message.
#[derive(Debug)]
pub(crate) struct Captured {
    tag: u8,
    name: Vec<u8>,
    statement: Vec<u8>,
    text: Kept,
    types: Vec<u32>,
    oid: u32,
    values: BoundValues,
}

/// Values with their formats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BoundValues {
    formats: Vec<Format>,
    values: Vec<Option<Kept>>,
}

impl BoundValues {
    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'_>> {
        self.values.iter().enumerate().map(|(index, value)| Value {
            format: self.format(index),
            bytes: value.as_ref().map(Kept::part),
        })
    }

    fn format(&self, index: usize) -> Format {
        let format = match self.formats.as_slice() {
            [format] => Some(format),
            formats => formats.get(index),
        };
        format.copied().unwrap_or(Format::Text)
    }
}

impl Captured {
    pub(crate) fn message(&self) -> Message<'_> {
        match self.tag {
            b'Q' => Message::Query(Query { text: self.text.part() }),
            b'P' => Message::Parse(Parse {
                statement: &self.name,
                text: self.text.part(),
                types: self.types.clone(),
            }),
            b'B' => Message::Bind(Bind {
                portal: &self.name,
                statement: &self.statement,
                values: (&self.values).into(),
            }),
            _ => Message::FunctionCall(FunctionCall {
                oid: self.oid,
                arguments: (&self.values).into(),
            }),
        }
    }
}

impl Capture {
    pub(crate) fn new(tag: u8, body_length: usize) -> Result<Self, Malformed> {
        let (message, field) = match tag {
            b'Q' => ("Query", Field::Text),
            b'P' => ("Parse", Field::Name),
            b'B' => ("Bind", Field::Name),
            b'F' => ("FunctionCall", Field::FunctionOid),
            tag => return Err(Malformed::UnknownType { tag }),
        };
        Ok(Self {
            message,
            field,
            left: body_length,
            number: Number::default(),
            text: Collector::new(SQL_BYTES_MAX),
            captured: Captured {
                tag,
                name: Vec::new(),
                statement: Vec::new(),
                text: Kept::default(),
                types: Vec::new(),
                oid: 0,
                values: BoundValues::default(),
            },
            repeat: 0,
            value_left: 0,
            values_kept: 0,
        })
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed::Body { message: self.message, what }
    }

    /// Takes the next piece of the body.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        self.left = self.left.saturating_sub(piece.len());
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.field {
                Field::Name | Field::Statement | Field::Text => self.string(rest),
                Field::Value => self.value(rest),
                Field::End => return Err(self.malformed("bytes follow its end")),
                Field::TypeCount
                | Field::Type
                | Field::FunctionOid
                | Field::FormatCount
                | Field::Format
                | Field::ValueCount
                | Field::ValueLength
                | Field::ResultFormatCount
                | Field::ResultFormat => self.number(rest)?,
            };
        }
        Ok(())
    }

    /// The whole body has been pushed.
    pub(crate) fn finish(self) -> Result<Captured, Malformed> {
        if self.field == Field::End && self.left == 0 {
            Ok(self.captured)
        } else {
            Err(self.malformed("it ends early"))
        }
    }

    fn string<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let end = piece.iter().position(|byte| *byte == 0);
        let (text, rest) = piece.split_at_checked(end.unwrap_or(piece.len())).unwrap_or_default();
        match self.field {
            Field::Name => keep_name(&mut self.captured.name, text),
            Field::Statement => keep_name(&mut self.captured.statement, text),
            _ => {
                self.text.push(text);
            }
        }
        if end.is_none() {
            return &[];
        }
        self.field = match (self.field, self.captured.tag) {
            (Field::Name, b'P') => Field::Text,
            (Field::Name, _) => Field::Statement,
            (Field::Statement, _) => Field::FormatCount,
            (_, tag) => {
                let text = std::mem::replace(&mut self.text, Collector::new(0));
                self.captured.text = text.finish();
                if tag == b'P' { Field::TypeCount } else { Field::End }
            }
        };
        rest.split_first().map_or(rest, |(_, rest)| rest)
    }

    fn number<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let Some((byte, rest)) = piece.split_first() else { return Ok(piece) };
        let width = match self.field {
            Field::Type | Field::FunctionOid | Field::ValueLength => 4,
            _ => 2,
        };
        if let Some(value) = self.number.push(*byte, width) {
            self.field = self.numbered(value)?;
        }
        Ok(rest)
    }

    /// A number is complete: keeps it, and says which field follows.
    fn numbered(&mut self, value: u32) -> Result<Field, Malformed> {
        let count = || u16::try_from(value).unwrap_or(u16::MAX);
        Ok(match self.field {
            Field::TypeCount => self.repeated(count(), Field::Type, Field::End),
            Field::Type => {
                self.captured.types.push(value);
                self.again(Field::Type, Field::End)
            }
            Field::FunctionOid => {
                self.captured.oid = value;
                Field::FormatCount
            }
            Field::FormatCount => self.repeated(count(), Field::Format, Field::ValueCount),
            Field::Format => {
                let format = Format::from_code(count())
                    .ok_or_else(|| self.malformed("a format code is neither 0 nor 1"))?;
                self.captured.values.formats.push(format);
                self.again(Field::Format, Field::ValueCount)
            }
            Field::ValueCount => {
                let formats = self.captured.values.formats.len();
                if formats > 1 && formats != usize::from(count()) {
                    return Err(
                        self.malformed("it has another number of format codes than of values")
                    );
                }
                self.repeated(count(), Field::ValueLength, Field::ResultFormatCount)
            }
            Field::ValueLength => self.value_begins(value)?,
            // A FunctionCall has one result format and no count before it.
            Field::ResultFormatCount if self.captured.tag == b'F' => Field::End,
            Field::ResultFormatCount => self.repeated(count(), Field::ResultFormat, Field::End),
            Field::ResultFormat => self.again(Field::ResultFormat, Field::End),
            other => other,
        })
    }

    fn repeated(&mut self, count: u16, field: Field, then: Field) -> Field {
        self.repeat = count;
        if count == 0 { then } else { field }
    }

    fn again(&mut self, field: Field, then: Field) -> Field {
        self.repeated(self.repeat.saturating_sub(1), field, then)
    }

    fn value_begins(&mut self, length: u32) -> Result<Field, Malformed> {
        if length == u32::MAX {
            self.captured.values.values.push(None);
            return Ok(self.again(Field::ValueLength, Field::ResultFormatCount));
        }
        let length = usize::try_from(length)
            .ok()
            .filter(|_| i32::try_from(length).is_ok())
            .ok_or_else(|| self.malformed("a length is negative"))?;
        let room = VALUES_BYTES_MAX.saturating_sub(self.values_kept).min(VALUE_BYTES_MAX);
        self.text = Collector::new(room);
        self.value_left = length;
        if length == 0 {
            return Ok(self.value_ends());
        }
        Ok(Field::Value)
    }

    fn value<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let length = self.value_left.min(piece.len());
        let (value, rest) = piece.split_at_checked(length).unwrap_or_default();
        self.text.push(value);
        self.value_left = self.value_left.saturating_sub(length);
        if self.value_left == 0 {
            self.field = self.value_ends();
        }
        rest
    }

    fn value_ends(&mut self) -> Field {
        let value = std::mem::replace(&mut self.text, Collector::new(0)).finish();
        self.values_kept = self.values_kept.saturating_add(value.part().start.len());
        self.captured.values.values.push(Some(value));
        self.again(Field::ValueLength, Field::ResultFormatCount)
    }
}

/// Names that agree in their first 63 bytes are the same name.
fn keep_name(name: &mut Vec<u8>, text: &[u8]) {
    let room = NAME_BYTES_MAX.saturating_sub(name.len());
    name.extend_from_slice(text.get(..room).unwrap_or(text));
}
