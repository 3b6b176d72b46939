//! Bind values as people read them.

use super::frontend::{Format, Value};
use crate::value::{Encoding, Parameter, float, hex};

impl Encoding {
    /// By PostgreSQL's name, as in the ParameterStatus `client_encoding`.
    pub fn named(name: &[u8]) -> Self {
        match name {
            b"UTF8" | b"SQL_ASCII" => Self::Utf8,
            b"LATIN1" => Self::Latin1,
            other => {
                let name = String::from_utf8_lossy(other).into_owned();
                Self::Other { characters: characters_of(&name), name }
            }
        }
    }
}

/// PostgreSQL's client encodings by the web's names for them; where those hold more characters, the common ones agree.
fn characters_of(name: &str) -> Option<&'static encoding_rs::Encoding> {
    Some(match name {
        "SJIS" | "SHIFT_JIS_2004" => encoding_rs::SHIFT_JIS,
        "EUC_JP" | "EUC_JIS_2004" => encoding_rs::EUC_JP,
        "EUC_KR" | "UHC" => encoding_rs::EUC_KR,
        "EUC_CN" | "GBK" => encoding_rs::GBK,
        "GB18030" => encoding_rs::GB18030,
        "BIG5" => encoding_rs::BIG5,
        "KOI8R" => encoding_rs::KOI8_R,
        "KOI8U" => encoding_rs::KOI8_U,
        "LATIN2" => encoding_rs::ISO_8859_2,
        "LATIN3" => encoding_rs::ISO_8859_3,
        "LATIN4" => encoding_rs::ISO_8859_4,
        "LATIN5" | "WIN1254" => encoding_rs::WINDOWS_1254,
        "LATIN6" => encoding_rs::ISO_8859_10,
        "LATIN7" => encoding_rs::ISO_8859_13,
        "LATIN8" => encoding_rs::ISO_8859_14,
        "LATIN9" => encoding_rs::ISO_8859_15,
        "LATIN10" => encoding_rs::ISO_8859_16,
        "ISO_8859_5" => encoding_rs::ISO_8859_5,
        "ISO_8859_6" => encoding_rs::ISO_8859_6,
        "ISO_8859_7" => encoding_rs::ISO_8859_7,
        "ISO_8859_8" => encoding_rs::ISO_8859_8,
        "WIN866" => encoding_rs::IBM866,
        "WIN874" => encoding_rs::WINDOWS_874,
        "WIN1250" => encoding_rs::WINDOWS_1250,
        "WIN1251" => encoding_rs::WINDOWS_1251,
        "WIN1252" => encoding_rs::WINDOWS_1252,
        "WIN1253" => encoding_rs::WINDOWS_1253,
        "WIN1255" => encoding_rs::WINDOWS_1255,
        "WIN1256" => encoding_rs::WINDOWS_1256,
        "WIN1257" => encoding_rs::WINDOWS_1257,
        "WIN1258" => encoding_rs::WINDOWS_1258,
        _ => return None,
    })
}

/// A bind value with its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypedValue<'a> {
    /// How it is written, and its bytes.
    pub value: Value<'a>,
    /// Oid of its type; 0 when it is not known.
    pub type_oid: u32,
}

impl TypedValue<'_> {
    /// For the record: at most `bytes_max` bytes of it.
    pub fn parameter(&self, encoding: &Encoding, bytes_max: usize) -> Parameter {
        let Some(whole) = self.value.bytes else { return Parameter::Null };
        let part = whole.cut(bytes_max);
        let (text, is_text) = match self.value.format {
            Format::Text => (encoding.decode(&part), true),
            Format::Binary if is_string(self.type_oid) => (encoding.decode(&part), true),
            Format::Binary if part.is_whole() => (decode(self.type_oid, part.start), true),
            Format::Binary => (None, false),
        };
        match (part.sha256, text) {
            (Some(sha256), text) => Parameter::Truncated {
                start: text.filter(|_| is_text).unwrap_or_else(|| hex(part.start)),
                bytes: part.length,
                sha256,
            },
            (None, Some(text)) => Parameter::Text(text),
            (None, None) => Parameter::Binary(hex(part.start)),
        }
    }
}

/// Oids are fixed in PostgreSQL's catalogue (`pg_type.dat`).
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const CHAR: u32 = 18;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const XML: u32 = 142;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// Types whose binary form is their text.
fn is_string(type_oid: u32) -> bool {
    [oid::CHAR, oid::NAME, oid::TEXT, oid::JSON, oid::XML, oid::UNKNOWN, oid::BPCHAR, oid::VARCHAR]
        .contains(&type_oid)
}

/// The text of a value in binary form; `None` when the type is not known or the bytes are not its.
fn decode(type_oid: u32, bytes: &[u8]) -> Option<String> {
    match type_oid {
        oid::BOOL => match bytes {
            [0] => Some("f".to_owned()),
            [1] => Some("t".to_owned()),
            _ => None,
        },
        oid::BYTEA => Some(format!("\\x{}", hex(bytes))),
        oid::INT2 => Some(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
        oid::INT4 => Some(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        oid::INT8 => Some(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        oid::OID => Some(u32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        oid::FLOAT4 => {
            let number = f32::from_be_bytes(bytes.try_into().ok()?);
            Some(float(f64::from(number), &format!("{number:?}")))
        }
        oid::FLOAT8 => {
            let number = f64::from_be_bytes(bytes.try_into().ok()?);
            Some(float(number, &format!("{number:?}")))
        }
        oid::UUID => uuid(bytes),
        oid::JSONB => match bytes.split_first()? {
            (1, json) => std::str::from_utf8(json).ok().map(str::to_owned),
            _ => None,
        },
        oid::DATE => date(i32::from_be_bytes(bytes.try_into().ok()?)),
        oid::TIMESTAMP => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), ""),
        oid::TIMESTAMPTZ => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "+00"),
        oid::NUMERIC => numeric(bytes),
        _ => None,
    }
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push_str(&hex(&[*byte]));
    }
    Some(text)
}

/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MICROSECONDS: i64 = 86_400_000_000;

fn date(days: i32) -> Option<String> {
    match days {
        i32::MAX => Some("infinity".to_owned()),
        i32::MIN => Some("-infinity".to_owned()),
        days => {
            let (date, era) = civil(i64::from(days))?;
            Some(format!("{date}{era}"))
        }
    }
}

fn timestamp(microseconds: i64, zone: &str) -> Option<String> {
    match microseconds {
        i64::MAX => return Some("infinity".to_owned()),
        i64::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let (date, era) = civil(microseconds.div_euclid(DAY_MICROSECONDS))?;
    let of_day = microseconds.rem_euclid(DAY_MICROSECONDS);
    let seconds = of_day.div_euclid(1_000_000);
    let fraction = of_day.rem_euclid(1_000_000);
    let (hour, minute, second) =
        (seconds.div_euclid(3600), seconds.div_euclid(60).rem_euclid(60), seconds.rem_euclid(60));
    let fraction = if fraction == 0 {
        String::new()
    } else {
        let digits = format!("{fraction:06}");
        format!(".{}", digits.trim_end_matches('0'))
    };
    Some(format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}{zone}{era}"))
}

/// A day of the proleptic Gregorian calendar from days since 2000-01-01, after Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> Option<(String, &'static str)> {
    let shifted = days.checked_add(EPOCH_DAYS)?.checked_add(719_468)?;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let leap_days = day_of_era
        .checked_div(1_460)?
        .checked_sub(day_of_era.checked_div(36_524)?)?
        .checked_add(day_of_era.checked_div(146_096)?)?;
    let year_of_era = day_of_era.checked_sub(leap_days)?.checked_div(365)?;
    let before_year = year_of_era
        .checked_mul(365)?
        .checked_add(year_of_era.checked_div(4)?)?
        .checked_sub(year_of_era.checked_div(100)?)?;
    let day_of_year = day_of_era.checked_sub(before_year)?;
    let march_month = day_of_year.checked_mul(5)?.checked_add(2)?.checked_div(153)?;
    let before_month = march_month.checked_mul(153)?.checked_add(2)?.checked_div(5)?;
    let day = day_of_year.checked_sub(before_month)?.checked_add(1)?;
    let month =
        if march_month < 10 { march_month.checked_add(3)? } else { march_month.checked_sub(9)? };
    let year =
        era.checked_mul(400)?.checked_add(year_of_era)?.checked_add(i64::from(month <= 2))?;
    let (year, era) = if year > 0 { (year, "") } else { (1_i64.checked_sub(year)?, " BC") };
    Some((format!("{year:04}-{month:02}-{day:02}"), era))
}

/// No more digits than this are written out; a few bytes could otherwise stand for 131,072 zeros.
const NUMERIC_DIGITS_MAX: i32 = 1_000;

/// Base-10,000 digits, the weight of the first, a sign, and the number of decimals to show.
fn numeric(bytes: &[u8]) -> Option<String> {
    let (words, over) = bytes.as_chunks::<2>();
    let [count, weight, sign, scale, digits @ ..] = words else { return None };
    let (sign, scale) = (u16::from_be_bytes(*sign), u16::from_be_bytes(*scale));
    match sign {
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        0x0000 | 0x4000 => {}
        _ => return None,
    }
    let weight = i32::from(i16::from_be_bytes(*weight));
    let (scale_wide, limit) = (i32::from(scale), NUMERIC_DIGITS_MAX);
    if usize::from(u16::from_be_bytes(*count)) != digits.len()
        || !over.is_empty()
        || weight.abs() > limit
        || scale_wide > limit
    {
        return None;
    }
    let digit = |position: i32| -> u16 {
        let index = weight.checked_sub(position).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| digits.get(index)).map_or(0, |digit| u16::from_be_bytes(*digit))
    };
    let four = |mut text: String, position: i32| {
        let digit = format!("{:04}", digit(position));
        text.push_str(&digit);
        text
    };
    let whole = (0..=weight.max(0)).rev().fold(String::new(), four);
    let mut whole = whole.trim_start_matches('0').to_owned();
    if whole.is_empty() {
        whole.push('0');
    }
    let groups = scale_wide.checked_add(3)?.checked_div(4)?;
    let mut decimals = (1..=groups).filter_map(i32::checked_neg).fold(String::new(), four);
    decimals.truncate(usize::from(scale));
    let sign = if sign == 0x4000 { "-" } else { "" };
    let point = if decimals.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{decimals}"))
}
