//! What tests and the demo stand on: real servers on loopback, with an end for every one of them.
//!
//! Tests drive the real binary from outside and never reach into the crates that it is made of.
#![expect(missing_docs, reason = "documentation for its own sake is padding in test code")]

pub mod damage;
pub mod disk;
pub mod general_log;
pub mod issuer;
pub mod kubernetes;
pub mod mariadb;
pub mod mysql;
pub mod postgres;
pub mod process;
pub mod program;
pub mod server;
pub mod slot;
pub mod stack;
pub mod statement_log;
pub mod wait;

pub use slot::{Kind, Slot, slot};
