//! Live sessions towards people: who sees which, and who may cut them.

use access::activation::NOTE_BYTES_MAX;
use model::event::Actor;
use model::{ControlRole, Refusal, SessionId, code};

use crate::caller::{Caller, role};
use crate::control::Control;
use crate::live_sessions::{Cut, Cutting, SessionInfo};
use crate::verb::Verb;

impl Control {
    /// The sessions that the caller may see: owners and auditors all, everyone their own.
    pub fn sessions(&self, caller: &Caller) -> Result<Vec<SessionInfo>, Refusal> {
        let state = self.snapshots().load();
        caller.authorise(Verb::ListSessions, &state)?;
        let all = match role(&caller.principal, &state) {
            ControlRole::Owner | ControlRole::Auditor => true,
            ControlRole::Approver | ControlRole::User => false,
        };
        let mut sessions = self.live().list();
        sessions.retain(|session| all || session.principal.id == caller.principal.id);
        Ok(sessions)
    }

    /// Orders sessions to be cut, after the order is in the audit log. The sessions that were told to end.
    pub async fn cut(
        &self,
        caller: &Caller,
        which: Cutting,
        reason: Option<String>,
    ) -> Result<Vec<SessionId>, Refusal> {
        let subject = match &which {
            Cutting::Session(id) => format!("Session/{id}"),
            Cutting::Principal(id) => format!("Principal/{id}"),
            Cutting::Server(name) => format!("DatabaseServer/{name}"),
        };
        let text = reason.clone();
        self.write(caller, Verb::CutSession, subject, move |_| bounded(text.as_deref())).await?;
        let order = Cut { by: Actor::from(&caller.principal), reason, at: self.now() };
        let one = match &which {
            Cutting::Session(id) => Some(*id),
            Cutting::Principal(_) | Cutting::Server(_) => None,
        };
        let told = self.live().cut(which, &order);
        if told.is_empty()
            && let Some(id) = one
        {
            let message = format!("there is no live session {id}");
            return Err(Refusal::new(&code::NOT_FOUND, message)
                .hint(format!("`portcullis why {id}` says what became of it")));
        }
        Ok(told)
    }
}

/// A reason is text of people: an unbounded one is a denial of service.
pub(crate) fn bounded(text: Option<&str>) -> Result<(), Refusal> {
    match text {
        Some(text) if text.len() > NOTE_BYTES_MAX => {
            let message =
                format!("the text has {} bytes; {NOTE_BYTES_MAX} are allowed", text.len());
            Err(Refusal::new(&code::TOO_LARGE, message))
        }
        _ => Ok(()),
    }
}
