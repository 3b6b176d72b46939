//! What a segment is written to: a file, or in tests one that fails.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Something that can be appended to and synced.
pub(crate) trait Media: Send + Sync + fmt::Debug {
    /// Appends all of it, or fails.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything appended so far is on disk.
    fn sync(&self) -> io::Result<()>;
}

impl Media for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&mut &*self).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Opens, or creates, the segment at the path.
pub(crate) type Opener = Arc<dyn Fn(&Path) -> io::Result<Arc<dyn Media>> + Send + Sync>;

/// Opens files that only their owner can read.
pub(crate) fn files() -> Opener {
    Arc::new(|path| {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Arc::new(file))
    })
}
