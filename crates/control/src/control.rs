//! The control plane's parts, handed to every intent.

use std::sync::Arc;

use audit::{AuditError, Log};
use model::Timestamp;
use model::event::{EventBody, RelationNamed};
use runtime::Clock;
use store::{Snapshots, Store};

use crate::live_sessions::LiveSessions;

/// What the control plane is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where it keeps its state.
    pub store: Store,
    /// Where it records what it does.
    pub log: Log,
    /// The time.
    pub clock: Clock,
    /// The sessions that can be cut.
    pub live: LiveSessions,
}

/// The control plane: intents of people and of Portcullis itself. Copies are handles to the same.
#[derive(Clone, Debug)]
pub struct Control {
    parts: Arc<Parts>,
}

impl Control {
    /// From its parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// The directory as decisions read it.
    pub fn snapshots(&self) -> Snapshots {
        self.parts.store.snapshots()
    }

    /// Where the control plane keeps its state. Reading is free; writes go through `write` and `system`.
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// The sessions that can be cut.
    pub fn live(&self) -> &LiveSessions {
        &self.parts.live
    }

    /// Records what tables are called: an observation, which changes nothing and asks nobody's leave.
    pub fn record_names(&self, names: Vec<RelationNamed>) -> Result<(), AuditError> {
        let names = names.into_iter().map(|named| EventBody::RelationNamed(Box::new(named)));
        let events: Vec<EventBody> = names.collect();
        self.parts.log.append(&events).map(drop)
    }

    pub(crate) fn log(&self) -> &Log {
        &self.parts.log
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}
