//! Portcullis' own state: resource documents, private records, and the immutable snapshot that every decision reads.
//!
//! SQLite with a write-ahead log that is synced at every commit. One thread writes; readers never wait for it. A write
//! is acknowledged after it is on disk *and* after the snapshot that shows it was published, so whoever sees the
//! acknowledgement also sees the effect. A commit that failed is never tried again: the store stops writing.
#![forbid(unsafe_code)]

mod acknowledge;
mod backup;
mod database;
mod error;
mod feed;
mod lock;
mod migrate;
mod record;
mod rows;
mod snapshots;
mod transaction;
mod writer;

pub use acknowledge::{Acknowledger, NotAcknowledged};
pub use backup::BackedUp;
pub use error::{StoreError, WriteError};
pub use record::{Reader, Record};
pub use rows::{ChangeRow, Operation};
pub use snapshots::Snapshots;
pub use transaction::Transaction;
pub use writer::{Committed, Store};
