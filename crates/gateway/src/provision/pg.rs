//! SQL for PostgreSQL servers: fixed texts, fully qualified, names quoted by one function. The only SQL to protected
//! servers is in this folder.

pub(crate) mod connection;
pub(crate) mod drift;
pub(crate) mod enrolment;
pub(crate) mod examine;
pub(crate) mod grants;
pub(crate) mod leftovers;
pub(crate) mod quote;
pub(crate) mod relation;
pub(crate) mod role;
pub(crate) mod user;
