//! Bytes that one session's tracker keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::TRACKER_BYTES_MAX;

/// How many there are; what is kept holds a [`Charge`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Arc<AtomicUsize>);

/// Gives its bytes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// `None` when they are too many.
    pub(crate) fn charge(&self, bytes: usize) -> Option<Charge> {
        let charge = Charge { budget: self.clone(), bytes };
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= TRACKER_BYTES_MAX).then_some(charge)
    }
}

impl Charge {
    /// Says whether they are not too many with these.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let before = self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= TRACKER_BYTES_MAX
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
