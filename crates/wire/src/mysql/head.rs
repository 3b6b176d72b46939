//! What comes before the values of an execute, the text of a query, or data that are sent ahead.

use super::Malformed;
use super::capabilities::Capabilities;
use super::reader::Reader;
use super::statements::Statements;
use super::values::{Head, Layout, Named, Types, types};

/// What is known of the parameters of the statement that a command speaks of; asked once, because what was sent ahead
/// is for one execute only.
#[derive(Debug, Default)]
pub(super) enum Known {
    #[default]
    NotAsked,
    Asked(Option<Layout>),
}

impl Known {
    pub(super) fn ask(&mut self, statement: u32, statements: &mut Statements) -> Option<&Layout> {
        if matches!(self, Self::NotAsked) {
            *self = Self::Asked(statements.layout(statement));
        }
        match self {
            Self::Asked(layout) => layout.as_ref(),
            Self::NotAsked => None,
        }
    }
}

/// The fixed fields of an execute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    pub(super) statement: u32,
    pub(super) flags: u16,
}

/// An execute's flag: a number of parameters follows, whatever the statement has.
const PARAMETER_COUNT_AVAILABLE: u16 = 8;

/// A bulk execute's flag: types follow.
const SEND_TYPES: u16 = 128;

/// The fixed fields of an execute, and what follows them.
pub(super) fn execute(body: &[u8]) -> Option<(Fixed, &[u8])> {
    let mut reader = Reader::new("COM_STMT_EXECUTE", body);
    let statement = reader.u32().ok()?;
    let flags = u16::from(reader.u8().ok()?);
    let _iterations = reader.u32().ok()?;
    Some((Fixed { statement, flags }, reader.rest()))
}

/// The fixed fields of a bulk execute, and what follows them.
pub(super) fn bulk(body: &[u8]) -> Option<(Fixed, &[u8])> {
    let mut reader = Reader::new("COM_STMT_BULK_EXECUTE", body);
    let statement = reader.u32().ok()?;
    let flags = reader.u16().ok()?;
    Some((Fixed { statement, flags }, reader.rest()))
}

/// The head of an execute's values, when there are any, and what follows it.
pub(super) fn parameters<'a>(
    body: &'a [u8],
    fixed: Fixed,
    layout: &Layout,
    capabilities: Capabilities,
) -> Option<(Option<Head<'a>>, &'a [u8])> {
    let mut reader = Reader::new("COM_STMT_EXECUTE", body);
    let attributes = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
    let announced = fixed.flags & PARAMETER_COUNT_AVAILABLE != 0;
    if layout.count == 0 && !(attributes && announced) {
        return Some((None, body));
    }
    let (mut named, mut count) = (Named::No, layout.count);
    if attributes {
        named = Named::Yes;
        count = usize::try_from(reader.lenenc().ok()?).ok()?;
        if count == 0 {
            return Some((None, reader.rest()));
        }
    }
    let head = Head::read(&mut reader, named, count, layout).ok()?;
    Some((Some(head), reader.rest()))
}

/// The types of a bulk execute, and what follows them.
pub(super) fn bulk_types<'a>(
    body: &'a [u8],
    fixed: Fixed,
    layout: &Layout,
) -> Option<(Types, &'a [u8])> {
    let mut reader = Reader::new("COM_STMT_BULK_EXECUTE", body);
    let types = if fixed.flags & SEND_TYPES == 0 {
        Types::clone(&layout.types)
    } else {
        types(&mut reader, Named::No, layout.count, &layout.types).ok()?
    };
    (types.len() == layout.count).then(|| (types, reader.rest()))
}

/// The head of a query's attributes, and what follows it: their values, then the text.
pub(super) fn attributes(body: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let mut reader = Reader::new("COM_QUERY", body);
    let head = query(&mut reader).ok()?;
    Some((head, reader.rest()))
}

/// As [`attributes`], saying what is wrong.
pub(super) fn query<'a>(reader: &mut Reader<'a>) -> Result<Head<'a>, Malformed> {
    let count = reader.lenenc()?;
    if reader.lenenc()? != 1 {
        return Err(reader.malformed("it has not one set of attributes"));
    }
    let count = usize::try_from(count).map_err(|_| reader.malformed("it ends early"))?;
    if count == 0 {
        return Ok(Head::empty());
    }
    Head::read(reader, Named::Yes, count, &Layout::default())
}

/// Data sent ahead: for which parameter of which statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    pub(super) statement: u32,
    pub(super) parameter: u16,
}

/// The fixed fields of data sent ahead, and the data.
pub(super) fn long_data(body: &[u8]) -> Option<(Ahead, &[u8])> {
    let mut reader = Reader::new("COM_STMT_SEND_LONG_DATA", body);
    let statement = reader.u32().ok()?;
    let parameter = reader.u16().ok()?;
    Some((Ahead { statement, parameter }, reader.rest()))
}
