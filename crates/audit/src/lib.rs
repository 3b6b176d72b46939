//! The audit log of one gateway: appended before a statement is forwarded, hash-chained, group-committed, with signed
//! checkpoints, readable while written, verifiable offline.
//!
//! # On disk
//! Segments `<first sequence>.log`, one record a line: 64 hex digits of the chain's hash, a space, the event's JSON
//! (with `sequence` and `time`), a newline. The hash is SHA-256(previous hash ‖ JSON), so that a stranger can follow
//! the chain with `sha256sum`; the first previous hash is the [`chain::genesis`] of this gateway and key. `checkpoint`
//! holds the latest signed [`Checkpoint`], `checkpoints.log` one a second while there is something new.
//! `removed-after-<sequence>.bin` holds what a crash or a loss of power left after the last checkpoint and that made no
//! whole records. `staging.bin` holds what was appended and is in no segment yet, in the same lines.
//! `<first sequence>.index` says where something can be found, for searches only.

pub mod chain;
mod checkpoint;
mod commit;
mod error;
#[cfg(test)]
mod failing;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod index;
mod line;
mod lock;
mod log;
#[expect(unsafe_code, reason = "memory that is a file; the proof stands beside it")]
mod mapping;
mod media;
mod open;
pub mod read;
mod records;
pub mod search;
mod segment;
mod staging;
pub mod verify;
mod writer;

pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use error::AuditError;
pub use log::{Log, Receipt};
pub use open::{CheckpointSink, Opened, Options};
pub use records::Records;
