//! Whether the webhooks are sent reviews: only after they were seen to work.

use std::sync::{Arc, Mutex, PoisonError};

/// Seen by all clones.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(Arc<Mutex<Result<(), String>>>);

impl Readiness {
    pub(crate) fn not_yet() -> Self {
        Self(Arc::new(Mutex::new(
            Err("no pod has been mutated to see whether it works".to_owned()),
        )))
    }

    /// Whether that changed anything.
    pub(crate) fn set(&self, seen: Result<(), String>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *known != seen;
        *known = seen;
        changed
    }

    pub(crate) fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
