//! Every bound of the MySQL side, with its source.

pub use crate::limits::{
    HOLD_BYTES_MAX, SERVER_TEXT_BYTES_MAX, SQL_BYTES_MAX, TRACKER_BYTES_MAX, VALUE_BYTES_MAX,
    VALUES_BYTES_MAX,
};

/// Longest packet with a token or other authentication data in it: as for PostgreSQL (`PG_MAX_AUTH_TOKEN_LENGTH`), so
/// that a token which opens one kind of server opens the other.
pub const AUTHENTICATION_BYTES_MAX: usize = 65_535;

/// Longest handshake response: authentication data, and 16 KiB of everything else. Servers keep at most 64 KiB of
/// attributes and clients send some hundred bytes.
pub const HANDSHAKE_RESPONSE_BYTES_MAX: usize = 65_535 + 16 * 1024;

/// Longest greeting, and longest packet of a server during login; theirs have less than 200 bytes, an RSA key 800.
pub const GREETING_BYTES_MAX: usize = 16 * 1024;

/// Prepared statements of one session: a server's own default for all its sessions together
/// (`max_prepared_stmt_count`).
pub const STATEMENTS_MAX: usize = 16_382;

/// Commands sent whose answers have not come. A reader stops reading at half of it.
pub const PENDING_MAX: usize = 65_536;

/// Of a long execute or query at most this much is looked at to find its first value or the text.
pub const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// Values kept of one message longer than [`HOLD_BYTES_MAX`].
pub const VALUES_MAX: usize = 65_535;
