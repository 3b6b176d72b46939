//! The values of an execute, and the attributes of a query, as they lie in a message.

use std::sync::Arc;

use super::Malformed;
use super::reader::Reader;
use super::value::{Given, Type, TypedValue, Width};
use crate::part::{Kept, Part};

/// The types of a statement's parameters.
pub(crate) type Types = Arc<[Type]>;

/// Data that were sent ahead of an execute, by parameter.
pub(crate) type LongData = Arc<[(u16, Kept)]>;

/// The values of an execute, or the attributes of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Values<'a>(Source<'a>);

#[derive(Clone, Debug, PartialEq)]
enum Source<'a> {
    None,
    /// As they lie in an execute or in front of a query.
    Inline {
        head: Head<'a>,
        bytes: &'a [u8],
    },
    /// As they lie in a bulk execute: row after row.
    Rows {
        types: Types,
        bytes: &'a [u8],
    },
    /// Of a long message.
    Kept {
        values: &'a [KeptValue],
        rows: u64,
    },
    /// Of which nothing is known.
    NotUnderstood(Part<'a>),
}

/// A value of a long message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptValue {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) kind: Type,
    pub(crate) given: KeptGiven,
}

/// [`Given`], kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeptGiven {
    Null,
    Bytes(Kept),
    Default,
    Ignored,
    NotUnderstood(Kept),
}

impl KeptValue {
    fn borrow(&self) -> TypedValue<'_> {
        let given = match &self.given {
            KeptGiven::Null => Given::Null,
            KeptGiven::Bytes(kept) => Given::Bytes(kept.part()),
            KeptGiven::Default => Given::Default,
            KeptGiven::Ignored => Given::Ignored,
            KeptGiven::NotUnderstood(kept) => Given::NotUnderstood(kept.part()),
        };
        TypedValue { name: self.name.as_deref(), kind: self.kind, given }
    }
}

/// Whether each type has a name behind it: query attributes were agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Yes,
    No,
}

/// Attributes and parameters of one message: the protocol's own limit.
const COUNT_MAX: usize = 65_535;

/// What is known of a statement's parameters before an execute says more.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    /// How many there are.
    pub(crate) count: usize,
    /// As the last execute gave them.
    pub(crate) types: Types,
    /// Sent ahead of this execute.
    pub(crate) long: LongData,
}

/// What comes before the values of an execute, or of a query with attributes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head<'a> {
    /// One bit for each parameter.
    nulls: &'a [u8],
    pub(crate) types: Types,
    /// Types as they lie there, names and all.
    described: &'a [u8],
    named: Named,
    long: LongData,
}

impl<'a> Head<'a> {
    /// Without any values behind it.
    pub(crate) fn empty() -> Self {
        let (types, long) = (Types::default(), LongData::default());
        Self { nulls: &[], types, described: &[], named: Named::No, long }
    }

    /// Reads it, up to the first of so many values.
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        named: Named,
        count: usize,
        layout: &Layout,
    ) -> Result<Self, Malformed> {
        if count > COUNT_MAX {
            return Err(reader.malformed("it has more than 65,535 values"));
        }
        let nulls = reader.take(count.div_ceil(8))?;
        let bound = reader.u8()?;
        let before = reader.rest();
        let types = match bound {
            0 => Arc::clone(&layout.types),
            1 => types(reader, named, count, &layout.types)?,
            _ => return Err(reader.malformed("it neither has types nor leaves them out")),
        };
        if types.len() != count {
            return Err(reader.malformed("it has another number of values than of types"));
        }
        let length = before.len().saturating_sub(reader.rest().len());
        let described = before.get(..length).unwrap_or_default();
        Ok(Self { nulls, types, described, named, long: Arc::clone(&layout.long) })
    }

    fn is_null(&self, index: usize) -> bool {
        let byte = index.checked_div(8).and_then(|byte| self.nulls.get(byte));
        byte.is_some_and(|byte| byte & (1 << (index & 7)) != 0)
    }

    /// What stands for a parameter that has no bytes in the message.
    pub(crate) fn absent(&self, index: usize) -> Option<Given<'_>> {
        let long = self.long.binary_search_by_key(&index, |(parameter, _)| usize::from(*parameter));
        match long.ok().and_then(|found| self.long.get(found)) {
            Some((_, kept)) => Some(Given::Bytes(kept.part())),
            None if self.is_null(index) => Some(Given::Null),
            None => None,
        }
    }

    /// Names, one after the other, when there are any.
    pub(crate) fn names(&self) -> impl Iterator<Item = Name<'a>> + use<'a> {
        let (mut reader, named) = (Reader::new("parameters", self.described), self.named);
        std::iter::from_fn(move || type_and_name(&mut reader, named).ok().map(|(_, name)| name))
    }
}

/// Reads so many types; those that are remembered when they are the same.
pub(crate) fn types(
    reader: &mut Reader<'_>,
    named: Named,
    count: usize,
    remembered: &Types,
) -> Result<Types, Malformed> {
    let read = |_| type_and_name(reader, named).map(|(kind, _)| kind);
    let types = (0..count).map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(if **remembered == *types { Arc::clone(remembered) } else { types.into() })
}

/// A query attribute's name.
type Name<'a> = Option<&'a [u8]>;

fn type_and_name<'a>(reader: &mut Reader<'a>, named: Named) -> Result<(Type, Name<'a>), Malformed> {
    let kind = Type::from_bytes([reader.u8()?, reader.u8()?]);
    let name = match named {
        Named::Yes => Some(reader.lenenc_bytes()?).filter(|name| !name.is_empty()),
        Named::No => None,
    };
    Ok((kind, name))
}

/// The bytes of one value.
fn value_bytes<'a>(reader: &mut Reader<'a>, kind: Type) -> Result<&'a [u8], Malformed> {
    match kind.width() {
        Some(Width::Fixed(bytes)) => reader.take(bytes),
        Some(Width::Counted) => {
            let length = reader.u8()?;
            reader.take(usize::from(length))
        }
        Some(Width::Lenenc) => reader.lenenc_bytes(),
        None => Err(reader.malformed("a value has an unknown type")),
    }
}

/// How a value of a bulk execute is given.
pub(crate) enum Indicator {
    Bytes,
    Null,
    Default,
    Ignored,
}

impl Indicator {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Bytes),
            1 => Some(Self::Null),
            2 => Some(Self::Default),
            3 => Some(Self::Ignored),
            _ => None,
        }
    }
}

impl<'a> Values<'a> {
    pub(crate) const NONE: Self = Self(Source::None);

    /// Of an execute; `body` follows its head.
    pub(crate) fn inline(head: Head<'a>, body: &'a [u8]) -> Self {
        Self(Source::Inline { head, bytes: body })
    }

    /// Of a bulk execute; `body` follows its types.
    pub(crate) fn of_rows(types: Types, body: &'a [u8]) -> Self {
        Self(Source::Rows { types, bytes: body })
    }

    /// Of a long message, with so many rows of a bulk execute.
    pub(crate) fn kept(values: &'a [KeptValue], rows: u64) -> Self {
        Self(Source::Kept { values, rows })
    }

    /// Of which nothing is known.
    pub(crate) fn not_understood(part: Part<'a>) -> Self {
        if part.length == 0 { Self::NONE } else { Self(Source::NotUnderstood(part)) }
    }

    /// Rows of a bulk execute.
    pub fn rows(&self) -> u64 {
        match &self.0 {
            Source::Rows { types, bytes } => {
                let (mut reader, mut values) = (Reader::new("rows", bytes), 0_usize);
                let walked =
                    walk_rows(types, &mut reader, &mut |_| values = values.saturating_add(1));
                let rows = values.checked_div(types.len()).filter(|_| walked.is_ok());
                u64::try_from(rows.unwrap_or_default()).unwrap_or(u64::MAX)
            }
            Source::Kept { rows, .. } => *rows,
            Source::None | Source::Inline { .. } | Source::NotUnderstood(_) => 0,
        }
    }

    /// Calls `each` with one after the other; those of a bulk execute row by row.
    pub fn for_each(&self, mut each: impl FnMut(TypedValue<'_>)) {
        match &self.0 {
            Source::None => {}
            Source::Inline { head, bytes } => {
                let mut reader = Reader::new("COM_STMT_EXECUTE", bytes);
                let read_all = walk(head, &mut reader, &mut each);
                if read_all.is_err() {
                    each(rest(&reader));
                }
            }
            Source::Rows { types, bytes } => {
                let mut reader = Reader::new("COM_STMT_BULK_EXECUTE", bytes);
                if walk_rows(types, &mut reader, &mut each).is_err() {
                    each(rest(&reader));
                }
            }
            Source::Kept { values, .. } => values.iter().for_each(|value| each(value.borrow())),
            Source::NotUnderstood(part) => each(not_understood(*part)),
        }
    }
}

fn not_understood(part: Part<'_>) -> TypedValue<'_> {
    let kind = Type { code: 0, unsigned: false };
    TypedValue { name: None, kind, given: Given::NotUnderstood(part) }
}

fn rest<'a>(reader: &Reader<'a>) -> TypedValue<'a> {
    not_understood(Part::whole(reader.rest()))
}

/// Walks the values behind a head. What cannot be told apart is left in the reader.
pub(crate) fn walk(
    head: &Head<'_>,
    reader: &mut Reader<'_>,
    each: &mut impl FnMut(TypedValue<'_>),
) -> Result<(), Malformed> {
    let mut names = head.names();
    for (index, kind) in head.types.iter().enumerate() {
        let name = names.next().flatten();
        let given = if let Some(given) = head.absent(index) {
            given
        } else {
            let mut ahead = *reader;
            let bytes = value_bytes(&mut ahead, *kind)?;
            *reader = ahead;
            Given::Bytes(Part::whole(bytes))
        };
        each(TypedValue { name, kind: *kind, given });
    }
    Ok(())
}

fn walk_rows(
    types: &[Type],
    reader: &mut Reader<'_>,
    each: &mut impl FnMut(TypedValue<'_>),
) -> Result<(), Malformed> {
    if types.is_empty() && !reader.is_at_end() {
        return Err(reader.malformed("it has values and no types"));
    }
    while !reader.is_at_end() {
        for kind in types {
            let mut ahead = *reader;
            let indicator = Indicator::from_byte(ahead.u8()?);
            let given = match indicator {
                Some(Indicator::Bytes) => {
                    Given::Bytes(Part::whole(value_bytes(&mut ahead, *kind)?))
                }
                Some(Indicator::Null) => Given::Null,
                Some(Indicator::Default) => Given::Default,
                Some(Indicator::Ignored) => Given::Ignored,
                None => return Err(reader.malformed("a value has an unknown indicator")),
            };
            *reader = ahead;
            each(TypedValue { name: None, kind: *kind, given });
        }
    }
    Ok(())
}
