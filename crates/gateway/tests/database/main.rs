//! The gateway's administration of a database server, against a real one: enrolment and database users.

mod bench;
mod enrolment;
mod users;
