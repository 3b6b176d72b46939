//! Records that are about to be appended, as JSON already, in one piece of memory that the next batch uses again.

use serde::Serialize;

use crate::AuditError;

/// A batch larger than this gives its memory back.
const BYTES_KEPT: usize = 256 * 1024;

/// Bodies of records, in order. Invariant: each is a JSON object of one line with at least one member.
#[derive(Debug, Default)]
pub struct Records {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    /// Adds one, which is written as [`EventBody`](model::event::EventBody) is: an object with at least its `type`.
    pub fn push(&mut self, body: &impl Serialize) -> Result<(), AuditError> {
        let start = self.text.len();
        let written = serde_json::to_writer(&mut self.text, body);
        let is_object = self.text.get(start..).is_some_and(|body| body.starts_with(b"{\""));
        if written.is_ok() && is_object {
            self.ends.push(self.text.len());
            return Ok(());
        }
        self.text.truncate(start);
        written?;
        Err(AuditError::NotAnObject)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Makes room for the next batch.
    pub fn clear(&mut self) {
        if self.text.capacity() > BYTES_KEPT {
            self.text = Vec::new();
        }
        self.text.clear();
        self.ends.clear();
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            self.text.get(std::mem::replace(&mut start, *end)..*end).unwrap_or_default()
        })
    }
}
