//! sqlx's own suite, as its crate brings it.

include!(concat!(env!("SQLX_SUITE"), "/error.rs"));
