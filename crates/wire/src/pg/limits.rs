//! Every bound of the PostgreSQL side, with its source.

pub use crate::limits::{
    HOLD_BYTES_MAX, SERVER_TEXT_BYTES_MAX, SQL_BYTES_MAX, TRACKER_BYTES_MAX, VALUE_BYTES_MAX,
    VALUES_BYTES_MAX,
};

/// PostgreSQL refuses longer startup packets too (`MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// The shortest startup packet: length and code.
pub const STARTUP_BYTES_MIN: usize = 8;

/// Shortest and longest cancel key (protocol 3.2; 3.0 has exactly four bytes).
pub const CANCEL_KEY_BYTES_MIN: usize = 4;
/// Longest cancel key of protocol 3.2.
pub const CANCEL_KEY_BYTES_MAX: usize = 256;

/// Longest password or SASL message, counted as the length field does (`PG_MAX_AUTH_TOKEN_LENGTH`).
pub const AUTHENTICATION_BYTES_MAX: u32 = 65_535;

/// Greatest length field of D, E, C, H, S, X, c and f (`PQ_SMALL_MESSAGE_LIMIT`).
pub const SMALL_MESSAGE_BYTES_MAX: u32 = 10_000;

/// Greatest length field of Q, P, B, F and d (`PQ_LARGE_MESSAGE_LIMIT`, which is `MaxAllocSize - 1`).
pub const LARGE_MESSAGE_BYTES_MAX: u32 = 0x3fff_fffe;

/// Greatest length field of a server's message: its buffer (`MaxAllocSize`, 1 GiB − 1) and the field itself.
pub const SERVER_MESSAGE_BYTES_MAX: u32 = 0x3fff_ffff + 4;

/// Type byte and length.
pub const HEADER_BYTES: usize = 5;

/// Statement and portal names are equal when their first 63 bytes are (`NAMEDATALEN - 1`).
pub const NAME_BYTES_MAX: usize = 63;

/// Prepared statements of one session; drivers' caches hold at most a few thousand.
pub const STATEMENTS_MAX: usize = 16_384;

/// Portals of one session.
pub const PORTALS_MAX: usize = 16_384;

/// Messages sent whose replies have not come. A reader stops reading at half of it; the server answers at the latest
/// every 8 KiB of replies, so it never has to be passed.
pub const PENDING_MAX: usize = 65_536;

/// Command tags kept of one Query; their rows are counted beyond that.
pub const TAGS_MAX: usize = 1_000;

/// Tables kept of one statement's rows; a list of so many may have been longer.
pub const RELATIONS_MAX: usize = 64;
