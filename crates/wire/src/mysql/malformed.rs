//! Bytes that are not the protocol.

use thiserror::Error;

/// Why bytes are not MySQL's protocol. Whoever sent them is not answered further, but with `1156 08S01` for a sequence
/// and `1043 08S01` for anything else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Packets are numbered; one is missing, or someone put one in.
    #[error("packet {found} came where packet {expected} was due")]
    Sequence {
        /// The number that was due.
        expected: u8,
        /// The number that came.
        found: u8,
    },
    /// More bytes than such a message may have.
    #[error("`{message}` declares {length} bytes; allowed are {max}")]
    Length {
        /// The message's name.
        message: &'static str,
        /// As declared.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The body has another form than the message demands.
    #[error("body of `{message}` is not as the protocol says: {what}")]
    Body {
        /// The message's name.
        message: &'static str,
        /// What was wrong.
        what: &'static str,
    },
    /// A client's message of no known kind.
    #[error("unknown command {code:#04x}")]
    UnknownCommand {
        /// Its first byte.
        code: u8,
    },
    /// The server spoke without being asked, and it was not an error.
    #[error("the server sent a packet that answers nothing")]
    Unasked,
}
