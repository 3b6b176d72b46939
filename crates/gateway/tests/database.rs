//! Enrolment and database users on a throw-away PostgreSQL.

mod enrolment;
