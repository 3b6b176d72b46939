//! Writes that were recorded and never committed: the process ended in between. The record comes first (no write is
//! without one), so after a crash it may say more than the store does; the next start takes that back.

use std::collections::BTreeMap;

use audit::Log;
use audit::read::Reader;
use model::event::{ActivationChanged, EventBody, Outcome, Write};
use model::{Refusal, Revision, code};

/// So many events before the last checkpoint are looked at. An interrupted write was the store's last, and what
/// sessions record while a disk syncs is far less.
const EVENTS_BACK: u64 = 100_000;

/// Appends, for every recorded write that the store does not know, that it was not made.
pub(crate) fn take_back(log: &Log, committed: Revision) -> Result<usize, Refusal> {
    let last = log.checkpoint().map_or(0, |checkpoint| checkpoint.sequence);
    let from = last.saturating_sub(EVENTS_BACK).max(1);
    let events = Reader::open(log.directory(), from).map_err(|error| unread(&error))?;
    let mut claimed: BTreeMap<(Revision, String), EventBody> = BTreeMap::new();
    for event in events {
        let event = event.map_err(|error| unread(&error))?.body;
        let Some((revision, subject, outcome)) = claim(&event) else { continue };
        if revision <= committed {
            continue;
        }
        match outcome {
            Outcome::Succeeded => claimed.insert((revision, subject), event),
            // Taken back at an earlier start.
            Outcome::Refused { .. } => claimed.remove(&(revision, subject)),
        };
    }
    if claimed.is_empty() {
        return Ok(0);
    }
    let events: Vec<EventBody> = claimed.into_values().map(taken_back).collect();
    tracing::warn!(writes = events.len(), "recorded writes were never committed");
    let appended = log.append(&events).and_then(|receipt| log.durable_blocking(receipt));
    appended.map_err(|error| unread(&error))?;
    Ok(events.len())
}

fn unread(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "the audit log cannot be compared with the store");
    Refusal::new(&code::AUDIT_FAILED, "the audit log cannot be compared with the store")
}

fn claim(event: &EventBody) -> Option<(Revision, String, &Outcome)> {
    if let EventBody::Write(write) = event {
        return Some((write.revision?, write.subject.clone(), &write.outcome));
    }
    let EventBody::ActivationChanged(changed) = event else { return None };
    Some((changed.revision?, changed.activation.to_string(), &changed.outcome))
}

fn taken_back(event: EventBody) -> EventBody {
    let outcome = Outcome::Refused {
        code: code::STORE_UNAVAILABLE.id.to_owned(),
        message: "the process ended before this was committed; it was not made".to_owned(),
    };
    if let EventBody::Write(write) = event {
        let changes = BTreeMap::new();
        return EventBody::Write(Box::new(Write { outcome, changes, ..*write }));
    }
    if let EventBody::ActivationChanged(changed) = event {
        return EventBody::ActivationChanged(Box::new(ActivationChanged { outcome, ..*changed }));
    }
    event
}
