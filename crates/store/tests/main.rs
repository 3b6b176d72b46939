//! The store, from outside.

#[path = "it/snapshot.rs"]
mod snapshot;
