//! The staging file in memory: the crate's only `unsafe`.

use std::fs::File;
use std::io;

use memmap2::{MmapMut, MmapOptions};

use crate::lock::Exclusive;

/// A file's bytes, shared with the system: what is copied here is in the file as if it had been written, and outlives
/// the process.
pub(crate) struct Mapping {
    // Unmapped before the lock is given back.
    bytes: MmapMut,
    _lock: Exclusive,
}

impl Mapping {
    /// Maps that much of a file of the directory that is locked. Its blocks must have been reserved.
    pub(crate) fn of(file: &File, bytes: usize, lock: Exclusive) -> io::Result<Self> {
        // SAFETY: a mapping is sound while nobody else changes the file's bytes or takes them away, and while what is
        // read there may be anything.
        // - Nobody else writes: `lock` proves an exclusive lock of the directory, which every writer of a log takes and
        //   which the mapping holds until it is gone. Directory (0700) and file (0600) are this user's alone. Others
        //   read the file through the system only.
        // - Nobody shortens it: only `Staging::open` sets its length, under the same lock and before this. Were an
        //   intruder with this user's rights to do so, the next access would end the process, not read other memory.
        // - Every use is of plain bytes through `&self` or `&mut self`, of which the log's tail owns the only one, under
        //   its lock: bytes have no invalid values, and there is one reference at a time.
        let bytes = unsafe { MmapOptions::new().len(bytes).map_mut(file) }?;
        Ok(Self { bytes, _lock: lock })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}
