//! PostgreSQL protocol 3.
//!
//! A connection in order: [`startup`] until the first message is known, [`error`] and [`sasl`] to ask for the
//! credential, then two scanners ([`frontend::Scanner`] for the client's bytes, [`backend::Scanner`] for the server's)
//! and one [`statement::Tracker`] that is told of both.

pub mod backend;
mod capture;
pub mod error;
pub mod frontend;
pub mod limits;
mod malformed;
mod reader;
pub mod sasl;
pub mod startup;
pub mod statement;
mod value;

pub use crate::part::{Kept, Part};
pub use malformed::Malformed;
