//! One process writes a log.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::AuditError;

/// The right to write in a log's directory. Held as long as the log is open, so that two processes never write one
/// chain.
#[derive(Debug)]
pub(crate) struct Exclusive {
    _file: File,
}

impl Exclusive {
    /// Makes the directory when it is missing.
    pub(crate) fn of(directory: &Path) -> Result<Self, AuditError> {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(AuditError::file("create", directory))?;
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(AuditError::file("open", path))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| AuditError::Locked(directory.to_owned()))?;
        Ok(Self { _file: file })
    }
}
