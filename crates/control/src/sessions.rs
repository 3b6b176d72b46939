//! Live sessions towards people: who sees which, and who may cut them.

use access::activation::NOTE_BYTES_MAX;
use model::event::Actor;
use model::{ControlRole, PrincipalId, Refusal, ServerName, SessionId, code};

use crate::caller::{Caller, role};
use crate::control::Control;
use crate::live_sessions::{Cut, SessionInfo};
use crate::verb::Verb;

/// Which sessions are to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// One.
    Session(SessionId),
    /// Every one of a principal.
    Principal(PrincipalId),
    /// Every one on a server.
    Server(ServerName),
}

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
        let concerned = |session: &SessionInfo| match &which {
            Cutting::Session(id) => session.id == *id,
            Cutting::Principal(id) => session.principal.id == *id,
            Cutting::Server(name) => session.server == *name,
        };
        let sessions = self.live().list();
        let ids = sessions.iter().filter(|session| concerned(session)).map(|session| session.id);
        let told: Vec<SessionId> = ids.filter(|id| self.live().cut(*id, order.clone())).collect();
        if told.is_empty()
            && let Cutting::Session(id) = which
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
