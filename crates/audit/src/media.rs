//! What a segment is written to: a file, or in tests one that fails.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::segment::SEGMENT_BYTES_MAX;

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

/// Where segments lie, and how large they grow.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(crate) open: Opener,
    /// A new segment begins once the current one is larger.
    pub(crate) segment_bytes_max: u64,
}

impl Storage {
    /// Files that only their owner can read.
    pub(crate) fn files() -> Self {
        let open: Opener = Arc::new(|path| {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            Ok(Arc::new(file))
        });
        Self { open, segment_bytes_max: SEGMENT_BYTES_MAX }
    }
}
