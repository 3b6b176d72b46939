//! PostgreSQL's and MySQL's protocols as bytes: framing, views of messages, and what they say about statements. No I/O,
//! no clock.
//!
//! Everything here borrows its input, can say "not yet", and allocates by what has arrived, never by what a peer
//! declares. `pg` and `mysql` hold the protocols, `sql` the little that audit needs to know about SQL text,
//! `proxy_protocol` what a balancer says in front of it.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod budget;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod limits;
pub mod mysql;
mod part;
pub mod pg;
pub mod proxy_protocol;
mod reader;
pub mod sql;
mod value;

pub use part::Part;
