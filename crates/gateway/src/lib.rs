//! The data path.

pub mod enroll;
pub mod provision;
