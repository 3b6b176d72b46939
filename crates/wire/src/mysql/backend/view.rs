//! Payloads of a server's packets.

use crate::mysql::Malformed;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::reader::Reader;

/// Status flags.
pub mod status {
    /// A transaction is open.
    pub const IN_TRANS: u16 = 0x0001;
    /// Another result follows.
    pub const MORE_RESULTS_EXISTS: u16 = 0x0008;
    /// The statement has a cursor, whose rows are fetched.
    pub const CURSOR_EXISTS: u16 = 0x0040;
    /// The cursor has no more rows.
    pub const LAST_ROW_SENT: u16 = 0x0080;
    /// A backslash in a text is a character like any other.
    pub const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
    /// The packet says what of the session's state changed.
    pub const SESSION_STATE_CHANGED: u16 = 0x4000;
}

/// An OK or EOF packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<'a> {
    /// Rows changed, or found (`CLIENT_FOUND_ROWS`).
    pub affected: u64,
    /// The first AUTO_INCREMENT value; 0 when there was none.
    pub last_insert_id: u64,
    /// Status flags.
    pub status: u16,
    /// Number of warnings.
    pub warnings: u16,
    /// What the server says about it.
    pub info: &'a [u8],
    changes: &'a [u8],
}

/// Something of the session's state that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A variable.
    Variable {
        /// Its name.
        name: &'a [u8],
        /// Its new value.
        value: &'a [u8],
    },
    /// The default database.
    Database(&'a [u8]),
    /// Anything else, by its number.
    Other(u8),
}

impl<'a> Done<'a> {
    /// Whether another result follows.
    pub fn has_more_results(&self) -> bool {
        self.status & status::MORE_RESULTS_EXISTS != 0
    }

    /// Whether a cursor is open, be it this statement's or one that a procedure opened.
    pub(crate) fn has_cursor(&self) -> bool {
        self.status & status::CURSOR_EXISTS != 0
    }

    /// What changed of the session's state, until the end or the first that is broken.
    pub fn changes(&self) -> impl Iterator<Item = Change<'a>> + use<'a> {
        let mut reader = Reader::new("session state", self.changes);
        std::iter::from_fn(move || {
            let kind = reader.u8().ok()?;
            let mut data = Reader::new("session state", reader.lenenc_bytes().ok()?);
            Some(match kind {
                0 => Change::Variable {
                    name: data.lenenc_bytes().ok()?,
                    value: data.lenenc_bytes().ok()?,
                },
                1 => Change::Database(data.lenenc_bytes().ok()?),
                kind => Change::Other(kind),
            })
        })
    }
}

/// Reads the payload of an OK or EOF packet; of the one that ends a login too. What is missing behind the warnings is
/// not an error.
pub fn done(payload: &[u8], capabilities: Capabilities) -> Result<Done<'_>, Malformed> {
    let mut reader = Reader::new("OK", payload);
    let is_end = reader.u8()? == 0xfe;
    if is_end && payload.len() <= 5 {
        let (warnings, status) = (reader.u16()?, reader.u16()?);
        let (info, changes): (&[u8], &[u8]) = (&[], &[]);
        return Ok(Done { affected: 0, last_insert_id: 0, status, warnings, info, changes });
    }
    let (affected, last_insert_id) = (reader.lenenc()?, reader.lenenc()?);
    let (status, warnings) = (reader.u16()?, reader.u16()?);
    let (mut info, mut changes) = (reader.rest(), [].as_slice());
    if capabilities.contains(Capabilities::SESSION_TRACK) && !reader.is_at_end() {
        info = reader.lenenc_bytes().unwrap_or_default();
        if status & status::SESSION_STATE_CHANGED != 0 {
            let rest = reader.rest();
            changes = reader.lenenc_bytes().unwrap_or(rest);
        }
    }
    Ok(Done { affected, last_insert_id, status, warnings, info, changes })
}

/// The first packet about a prepared statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its number.
    pub statement: u32,
    /// Columns of its result.
    pub columns: u16,
    /// Its parameters.
    pub parameters: u16,
    /// Number of warnings.
    pub warnings: u16,
    /// Packets that describe parameters and columns, and are still to come.
    pub descriptions: u64,
}

pub(super) fn prepared(payload: &[u8], capabilities: Capabilities) -> Result<Prepared, Malformed> {
    let mut reader = Reader::new("COM_STMT_PREPARE_OK", payload);
    reader.take(1)?;
    let statement = reader.u32()?;
    let (columns, parameters) = (reader.u16()?, reader.u16()?);
    reader.take(1)?;
    let warnings = reader.u16()?;
    let ends = u64::from(!capabilities.contains(Capabilities::DEPRECATE_EOF));
    let packets = |count: u16| match u64::from(count) {
        0 => 0,
        count => count.saturating_add(ends),
    };
    let descriptions = packets(parameters).saturating_add(packets(columns));
    Ok(Prepared { statement, columns, parameters, warnings, descriptions })
}
