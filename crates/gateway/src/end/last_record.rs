//! The record that a session ended: written once, however it ended.

use std::sync::Arc;

use audit::Log;
use model::SessionId;
use model::event::{Actor, EventBody, SessionEnded};
use tracing::error;

use crate::relay::Activity;

/// Held by an open session. A session whose task panicked or was aborted is recorded as it is dropped.
#[derive(Debug)]
pub(crate) struct LastRecord {
    log: Log,
    session: SessionId,
    actor: Actor,
    activity: Arc<Activity>,
    written: bool,
}

impl LastRecord {
    /// Of a session that is open from now on.
    pub(crate) fn of(session: SessionId, actor: Actor, activity: &Arc<Activity>, log: Log) -> Self {
        Self { log, session, actor, activity: Arc::clone(activity), written: false }
    }

    /// Writes it.
    pub(crate) fn write(mut self, reason: &str, code: Option<&str>, statements: u64) {
        self.append(reason, code, statements);
    }

    fn append(&mut self, reason: &str, code: Option<&str>, statements: u64) {
        self.written = true;
        let (bytes_in, bytes_out) = self.activity.bytes();
        let event = EventBody::SessionEnded(Box::new(SessionEnded {
            session: self.session,
            actor: self.actor.clone(),
            reason: reason.to_owned(),
            code: code.map(str::to_owned),
            statements,
            bytes_in,
            bytes_out,
        }));
        if let Err(error) = self.log.append(&[event]) {
            error!(session = %self.session, %error, "the end of a session could not be recorded");
        }
    }
}

impl Drop for LastRecord {
    fn drop(&mut self) {
        if !self.written {
            let reason = if std::thread::panicking() { "panic" } else { "drain" };
            self.append(reason, None, 0);
        }
    }
}
