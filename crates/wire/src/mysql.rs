//! MySQL's and MariaDB's protocol.
//!
//! A connection in order: [`greeting`] (what is offered is [`capabilities::offered`]), [`handshake`] (SSLRequest, TLS,
//! handshake response), [`authentication`] to ask for the credential; packets of the login are held whole
//! ([`packet::login`]) and built by [`packet::encode`]. Then two scanners ([`frontend::Scanner`] for the client's bytes,
//! [`backend::Scanner`] for the server's) and one [`statement::Tracker`] that is told of both; [`command`] says what
//! becomes of each command.

pub mod authentication;
pub mod backend;
pub mod capabilities;
pub(crate) mod capture;
mod charset;
pub mod command;
pub mod error;
pub mod frontend;
pub mod greeting;
pub mod handshake;
mod head;
mod lexer;
pub mod limits;
mod local_infile;
mod malformed;
pub mod packet;
mod reader;
pub mod rows;
pub mod sql;
pub mod statement;
pub mod statements;
mod streamed;
mod value;
mod values;

pub use crate::part::{Kept, Part};
pub use capabilities::Capabilities;
pub use malformed::Malformed;
pub use values::Values;
