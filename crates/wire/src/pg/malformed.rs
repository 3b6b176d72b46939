//! Bytes that are not the protocol.

use thiserror::Error;

/// Why bytes are not PostgreSQL's protocol. Whoever sent them is not answered further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// No message has this type byte.
    #[error("unknown message type `{}`", .tag.escape_ascii())]
    UnknownType {
        /// The type byte.
        tag: u8,
    },
    /// The length field is below four or above the type's limit.
    #[error("message of type `{}` declares {length} bytes; allowed are 4 to {max}", .tag.escape_ascii())]
    Length {
        /// The type byte.
        tag: u8,
        /// As declared.
        length: u32,
        /// The type's limit.
        max: u32,
    },
    /// The body has another form than its type demands.
    #[error("body of message `{message}` is not as the protocol says: {what}")]
    Body {
        /// The message's name.
        message: &'static str,
        /// What was wrong.
        what: &'static str,
    },
}
