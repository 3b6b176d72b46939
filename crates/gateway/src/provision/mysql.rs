//! SQL for MariaDB and MySQL servers: fixed texts, names quoted by one function. The only SQL to protected servers is in this
//! folder and in its sibling.
//!
//! A user is an account for each address of the gateway's. What differs between the two is where accounts are kept, which
//! `catalog` knows, and how roles reach them. On MariaDB, which knows one current role, all that a user may do comes through
//! one role of its own, to which the active roles are granted (`own_role`); its name ends in the id of the user's document,
//! so that an account that was dropped and made again by hand is told from ours. On MySQL the active roles are granted to
//! the accounts, all as default roles, and an attribute holds that id (`marked`).

pub(crate) mod account;
pub(crate) mod backend;
pub(crate) mod catalog;
pub(crate) mod connection;
pub(crate) mod drift;
pub(crate) mod enrolment;
pub(crate) mod examine;
mod former;
pub(crate) mod grants;
pub(crate) mod leftovers;
mod listed;
mod marked;
pub(crate) mod observe;
mod own_role;
pub(crate) mod quote;
pub(crate) mod relation;
pub(crate) mod role;
pub(crate) mod user;
pub(crate) mod version;
pub(crate) mod weakness;
