//! The person's database user and its memberships.

pub(crate) mod pg;
