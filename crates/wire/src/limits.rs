//! Bounds that all protocols share.

/// A message that someone must look at is held back whole up to this size, header included; the buffers that a
/// scanner reads from must be at least this long. Longer ones stream, and only their beginning is kept.
pub const HOLD_BYTES_MAX: usize = 64 * 1024;

/// Of a statement's text at most this much is kept; of the rest, length and SHA-256.
pub const SQL_BYTES_MAX: usize = 1024 * 1024;

/// Of one bind value in a message longer than [`HOLD_BYTES_MAX`] at most this much is kept.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Of all bind values of one message longer than [`HOLD_BYTES_MAX`] at most this much is kept.
pub const VALUES_BYTES_MAX: usize = 1024 * 1024;

/// Texts and values that one session's tracker keeps: of prepared statements, portals, whatever an error could bring
/// back, and data sent ahead.
pub const TRACKER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest command tag, error message or parameter value of a server that is kept.
pub const SERVER_TEXT_BYTES_MAX: usize = 8 * 1024;
