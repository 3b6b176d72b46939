//! MySQL's and MariaDB's protocol.
//!
//! A connection in order: [`greeting`] (what is offered is [`capabilities::offered`]), [`handshake`] (SSLRequest, TLS,
//! handshake response), [`authentication`] to ask for the credential. Packets of the login are held whole
//! ([`packet::login`]) and built by [`packet::encode`].

pub mod authentication;
pub mod capabilities;
pub mod error;
pub mod greeting;
pub mod handshake;
pub mod limits;
mod malformed;
pub mod packet;
mod reader;

pub use capabilities::Capabilities;
pub use malformed::Malformed;
