//! SQL for MariaDB servers: fixed texts, names quoted by one function. The only SQL to protected servers is in this folder
//! and in its sibling.
//!
//! A user is an account for each address of the gateway's. All that it may do comes through one role of its own, its default
//! role, to which the active roles are granted: MariaDB knows one current role. That role's name ends in the id of the
//! user's document, so that an account that was dropped and made again by hand is told from ours.

pub(crate) mod account;
pub(crate) mod backend;
pub(crate) mod connection;
pub(crate) mod drift;
pub(crate) mod enrolment;
pub(crate) mod examine;
mod former;
pub(crate) mod grants;
pub(crate) mod leftovers;
pub(crate) mod observe;
pub(crate) mod quote;
pub(crate) mod relation;
pub(crate) mod role;
pub(crate) mod user;
pub(crate) mod version;
pub(crate) mod weakness;
