//! Text or a value of which perhaps only the beginning was kept.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A borrowed text or value: all of it, or its beginning with length and SHA-256 of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// All of it, or its beginning.
    pub start: &'a [u8],
    /// Bytes in all.
    pub length: u64,
    /// SHA-256 of all, when `start` is only its beginning.
    pub sha256: Option<[u8; 32]>,
}

impl<'a> Part<'a> {
    /// All of it.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self { start: bytes, length: length(bytes), sha256: None }
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.sha256.is_none()
    }

    /// At most the first `bytes_max` bytes of it; the digest still speaks of the whole.
    #[must_use]
    pub fn cut(self, bytes_max: usize) -> Self {
        match self.start.get(..bytes_max) {
            None => self,
            Some(start) if start.len() == self.start.len() => self,
            Some(start) => Self {
                start,
                length: self.length,
                sha256: Some(self.sha256.unwrap_or_else(|| sha256(self.start))),
            },
        }
    }

    /// SHA-256 of all of it.
    pub fn digest(&self) -> [u8; 32] {
        self.sha256.unwrap_or_else(|| sha256(self.start))
    }
}

/// A kept text or value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    start: Vec<u8>,
    length: u64,
    sha256: Option<[u8; 32]>,
}

impl Kept {
    /// The borrowed form.
    pub fn part(&self) -> Part<'_> {
        Part { start: &self.start, length: self.length, sha256: self.sha256 }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.start.len().saturating_add(size_of::<Self>())
    }
}

impl From<Part<'_>> for Kept {
    fn from(part: Part<'_>) -> Self {
        Self { start: part.start.to_vec(), length: part.length, sha256: part.sha256 }
    }
}

/// Collects a text that arrives in pieces: the beginning, the length, and a digest once the beginning is full.
pub(crate) struct Collector {
    start: Vec<u8>,
    start_max: usize,
    length: u64,
    digest: Option<Context>,
}

impl Collector {
    pub(crate) fn new(start_max: usize) -> Self {
        Self { start: Vec::new(), start_max, length: 0, digest: None }
    }

    /// Says how many bytes were kept.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        self.length = self.length.saturating_add(length(bytes));
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
            return 0;
        }
        let room = self.start_max.saturating_sub(self.start.len());
        let (kept, over) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.start.extend_from_slice(kept);
        if !over.is_empty() {
            let mut digest = Context::new(&SHA256);
            digest.update(&self.start);
            digest.update(over);
            self.digest = Some(digest);
        }
        kept.len()
    }

    pub(crate) fn finish(self) -> Kept {
        let sha256 = self.digest.map(|digest| to_array(digest.finish().as_ref()));
        Kept { start: self.start, length: self.length, sha256 }
    }
}

/// SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(digest(&SHA256, bytes).as_ref())
}

fn to_array(digest: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    for (to, from) in array.iter_mut().zip(digest) {
        *to = *from;
    }
    array
}

/// A slice's length as the wider type; `usize` has at most 64 bits on every platform that Rust supports.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
