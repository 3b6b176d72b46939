//! SQL for PostgreSQL servers: fixed texts, fully qualified, names quoted by one function. The only SQL to protected
//! servers is in this folder.

pub(crate) mod enrolment;
pub(crate) mod quote;
