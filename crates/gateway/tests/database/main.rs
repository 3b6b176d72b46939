//! The gateway's administration of a database server, against a real one: enrolment and database users.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod enrolment;
#[cfg(test)]
mod users;
