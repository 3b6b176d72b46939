//! Bind values of the binary protocol as people read them.

use super::reader::Reader;
use crate::part::Part;
use crate::value::{Encoding, Parameter, float, hex};

/// The type of a value (`enum_field_types`), and whether a number has no sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its number.
    pub code: u8,
    /// Whether it has no sign.
    pub unsigned: bool,
}

/// How many bytes a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Always so many.
    Fixed(usize),
    /// As many as one byte before it says.
    Counted,
    /// As many as the number before it says.
    Lenenc,
}

impl Type {
    pub(crate) fn from_bytes([code, flags]: [u8; 2]) -> Self {
        Self { code, unsigned: flags & 0x80 != 0 }
    }

    /// `None` for a type that no server takes.
    pub(crate) fn width(self) -> Option<Width> {
        Some(match self.code {
            1 => Width::Fixed(1),
            2 | 13 => Width::Fixed(2),
            3 | 4 | 9 => Width::Fixed(4),
            5 | 8 => Width::Fixed(8),
            6 => Width::Fixed(0),
            7 | 10 | 11 | 12 | 14 => Width::Counted,
            0 | 15 | 16 | 242 | 245..=255 => Width::Lenenc,
            _ => return None,
        })
    }

    /// Whether its bytes are a text.
    fn is_text(self) -> bool {
        matches!(self.code, 0 | 15 | 245..=248 | 253 | 254)
    }
}

/// What stands for a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// NULL.
    Null,
    /// These bytes.
    Bytes(Part<'a>),
    /// The column's default (MariaDB's bulk execute).
    Default,
    /// Whatever is there already (MariaDB's bulk execute).
    Ignored,
    /// All the rest of the message, which could not be told apart: a type that is not known, or a number of
    /// parameters that is not.
    NotUnderstood(Part<'a>),
}

/// A bind value or query attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypedValue<'a> {
    /// Its name, when it is a query attribute.
    pub name: Option<&'a [u8]>,
    /// Its type.
    pub kind: Type,
    /// Its bytes.
    pub given: Given<'a>,
}

impl TypedValue<'_> {
    /// For the record: at most `bytes_max` bytes of it.
    pub fn parameter(&self, encoding: &Encoding, bytes_max: usize) -> Parameter {
        let (whole, kind) = match self.given {
            Given::Null => return Parameter::Null,
            Given::Default => return Parameter::Text("<default>".to_owned()),
            Given::Ignored => return Parameter::Text("<ignore>".to_owned()),
            Given::Bytes(part) => (part, Some(self.kind)),
            Given::NotUnderstood(part) => (part, None),
        };
        let part = whole.cut(bytes_max);
        let is_text = kind.is_some_and(Type::is_text);
        let text = match kind {
            Some(_) if is_text => encoding.decode(&part),
            Some(kind) if part.is_whole() => decode(kind, part.start),
            Some(_) | None => None,
        };
        match (part.sha256, text) {
            (Some(sha256), text) => Parameter::Truncated {
                start: text.unwrap_or_else(|| hex(part.start)),
                bytes: part.length,
                sha256,
            },
            (None, Some(text)) => Parameter::Text(text),
            (None, None) => Parameter::Binary(hex(part.start)),
        }
    }
}

/// The text of a number or a time; `None` when the type is neither, or the bytes are not its.
fn decode(kind: Type, bytes: &[u8]) -> Option<String> {
    match (kind.code, kind.unsigned) {
        (1, true) => Some(u8::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (1, false) => Some(i8::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (2, true) | (13, _) => Some(u16::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (2, false) => Some(i16::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (3 | 9, true) => Some(u32::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (3 | 9, false) => Some(i32::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (8, true) => Some(u64::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (8, false) => Some(i64::from_le_bytes(bytes.try_into().ok()?).to_string()),
        (4, _) => {
            let number = f32::from_le_bytes(bytes.try_into().ok()?);
            Some(float(f64::from(number), &format!("{number:?}")))
        }
        (5, _) => {
            let number = f64::from_le_bytes(bytes.try_into().ok()?);
            Some(float(number, &format!("{number:?}")))
        }
        (11, _) => time(bytes),
        (10 | 14, _) => date_and_time(bytes, "0000-00-00", ""),
        (7 | 12, _) => date_and_time(bytes, "0000-00-00 00:00:00", " 00:00:00"),
        _ => None,
    }
}

fn fraction(microseconds: u32) -> String {
    if microseconds == 0 { String::new() } else { format!(".{microseconds:06}") }
}

/// Year, month, day; hour, minute, second; microseconds: none, the first, the first two, or all three groups.
fn date_and_time(bytes: &[u8], zero: &str, midnight: &str) -> Option<String> {
    let mut reader = Reader::new("DATETIME", bytes);
    if reader.is_at_end() {
        return Some(zero.to_owned());
    }
    let date = [reader.u16().ok()?, reader.u8().ok()?.into(), reader.u8().ok()?.into()];
    let [year, month, day] = date;
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    if reader.is_at_end() {
        text.push_str(midnight);
        return Some(text);
    }
    let [hour, minute, second] = [reader.u8().ok()?, reader.u8().ok()?, reader.u8().ok()?];
    let microseconds = if reader.is_at_end() { 0 } else { reader.u32().ok()? };
    reader.end().ok()?;
    Some(format!("{text} {hour:02}:{minute:02}:{second:02}{}", fraction(microseconds)))
}

/// Sign, days, hour, minute, second, and perhaps microseconds.
fn time(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader::new("TIME", bytes);
    if reader.is_at_end() {
        return Some("00:00:00".to_owned());
    }
    let sign = if reader.u8().ok()? == 0 { "" } else { "-" };
    let days = reader.u32().ok()?;
    let [hour, minute, second] = [reader.u8().ok()?, reader.u8().ok()?, reader.u8().ok()?];
    let microseconds = if reader.is_at_end() { 0 } else { reader.u32().ok()? };
    reader.end().ok()?;
    let hours = u64::from(days).saturating_mul(24).saturating_add(u64::from(hour));
    Some(format!("{sign}{hours:02}:{minute:02}:{second:02}{}", fraction(microseconds)))
}
