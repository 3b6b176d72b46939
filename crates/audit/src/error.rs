//! Why the log cannot be opened or written.

use std::io;
use std::path::PathBuf;

use crate::verify::Damage;

/// Why the log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file operation failed.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes this log.
    #[error("another process writes the audit log in `{0}`")]
    Locked(PathBuf),
    /// What is on disk is not what was written.
    #[error("the audit log is damaged: {0}")]
    Damaged(Box<Damage>),
    /// An event could not be written as JSON.
    #[error("an event cannot be written as JSON: {0}")]
    Event(#[from] serde_json::Error),
    /// An event that does not write itself as an object.
    #[error("an event is not an object in JSON")]
    NotAnObject,
    /// An earlier write or sync failed; the log is closed until an operator has looked.
    #[error("the audit log was closed after a failure: {0}")]
    Closed(String),
}

impl AuditError {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
