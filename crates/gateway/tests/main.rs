//! The gateway's administration of a database server, against a real one.

mod database;
