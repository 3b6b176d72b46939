//! Decisions: whether a principal may open, and keep, a session on a database server.
//!
//! Pure: every rule takes values and `now`. The gateway calls [`decide`] at login and again, with the same request, on
//! every change of the snapshot and at every deadline; `portcullis explain` calls [`explain`], which runs the same
//! checks and reports each.
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod activation;
pub mod conditional;
pub mod database_user;
mod decide;
pub mod host;
pub mod membership;
pub mod network;
pub mod route;
pub mod token;
pub mod webauthn;

pub use decide::{Condition, Decision, Grant, NETWORK, OpenedWith, Request, decide, explain};
