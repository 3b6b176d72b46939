//! `/v1/sessions`: what is open now, cutting it, and what became of what is gone.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use control::{Cutting, SessionInfo};
use model::event::{Event, EventBody};
use model::{PrincipalId, Refusal, ServerName, SessionId, code};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Api;
use crate::audit_routes::story;
use crate::authenticate::Authenticated;
use crate::body::{Asked, Json};
use crate::problem::{Problem, invalid};

/// Statements of a session are in the audit log; its story is told without them.
const STORY_EVENTS_MAX: usize = 1_000;
/// How long one search of the log waits for another.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// Which live sessions are listed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Filter {
    principal: Option<String>,
    server: Option<ServerName>,
}

/// Live sessions.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    items: Vec<SessionInfo>,
}

pub(crate) async fn list(
    State(api): State<Api>,
    caller: Authenticated,
    Asked(filter): Asked<Filter>,
) -> Result<Answer<List>, Problem> {
    let mut items = api.control.sessions(&caller.caller)?;
    items.retain(|session| {
        filter.principal.as_ref().is_none_or(|name| *name == session.principal.name)
            && filter.server.as_ref().is_none_or(|name| *name == session.server)
    });
    Ok(Answer(List { items }))
}

/// Which sessions are cut: one of the three.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Order {
    session: Option<SessionId>,
    principal: Option<String>,
    server: Option<ServerName>,
    reason: Option<String>,
}

/// The sessions that were told to end.
#[derive(Debug, Serialize)]
pub(crate) struct WasCut {
    cut: Vec<SessionId>,
}

pub(crate) async fn cut(
    State(api): State<Api>,
    caller: Authenticated,
    Json(order): Json<Order>,
) -> Result<Answer<WasCut>, Problem> {
    let Order { session, principal, server, reason } = order;
    let which = match (session, principal, server) {
        (Some(session), None, None) => Cutting::Session(session),
        (None, Some(name), None) => Cutting::Principal(caller.principal_named(&name)?.id),
        (None, None, Some(server)) => Cutting::Server(server),
        _ => return Err(invalid("name one of `session`, `principal` and `server`")),
    };
    Ok(Answer(WasCut { cut: api.control.cut(&caller.caller, which, reason).await? }))
}

/// What became of a session.
#[derive(Debug, Serialize)]
pub(crate) struct Story {
    session: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<SessionInfo>,
    events: Vec<Event>,
}

/// For those who read the audit log, and for the one whose session it was.
pub(crate) async fn why(
    State(api): State<Api>,
    caller: Authenticated,
    Path(session): Path<SessionId>,
) -> Result<Answer<Story>, Problem> {
    let unknown = || {
        Refusal::new(&code::NOT_FOUND, format!("no session {session} is known here"))
            .hint("the id is in the client's error and in `portcullis audit`")
    };
    let live = api.live.get(session);
    let turn = turn(&api.stories).await?;
    let picked = (move |event: &Event| told(event, session), begins as fn(&Event) -> bool);
    let mut events = story(&api, turn, STORY_EVENTS_MAX, picked).await?;
    if !control::allowed(control::Verb::ReadAudit, caller.caller.role) {
        let own = |id: PrincipalId| id == caller.caller.principal.id;
        let mine = live.as_ref().map_or_else(
            || events.iter().filter_map(owner_of).any(own),
            |live| own(live.principal.id),
        );
        if !mine {
            return Err(unknown().into());
        }
        events.iter_mut().for_each(without_cause);
    }
    if live.is_none() && events.is_empty() {
        return Err(unknown().into());
    }
    Ok(Answer(Story { session, live, events }))
}

/// One search of the log at a time: who asks for many waits, and costs the others nothing.
async fn turn(stories: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    let turn = tokio::time::timeout(TURN_WITHIN, Arc::clone(stories).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| {
        Refusal::new(&code::RATE_LIMITED, "stories of other sessions are being looked up")
    })
}

/// Nothing of a session's story is before this.
const fn begins(event: &Event) -> bool {
    matches!(&event.body, EventBody::SessionRefused { .. } | EventBody::SessionOpened(_))
}

/// Whether the event belongs to the session's story: its opening, refusal, cut and end.
fn told(event: &Event, session: SessionId) -> bool {
    match &event.body {
        EventBody::SessionRefused { session: of, .. } => *of == session,
        EventBody::SessionOpened(opened) => opened.session == session,
        EventBody::SessionEnded(ended) => ended.session == session,
        EventBody::SessionCut(cut) => cut.session == session,
        _ => false,
    }
}

fn owner_of(event: &Event) -> Option<PrincipalId> {
    match &event.body {
        EventBody::SessionRefused { actor, .. } => actor.id,
        EventBody::SessionOpened(opened) => opened.actor.id,
        EventBody::SessionEnded(ended) => ended.actor.id,
        EventBody::SessionCut(cut) => cut.actor.id,
        _ => None,
    }
}

/// The cause is for those who look after the installation; clients are not told it.
fn without_cause(event: &mut Event) {
    if let EventBody::SessionRefused { cause, .. } = &mut event.body {
        *cause = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_story_is_searched_for_at_a_time() {
        let stories = Arc::new(Semaphore::new(1));
        let first = turn(&stories).await.unwrap();
        assert_eq!(turn(&stories).await.unwrap_err().code, &code::RATE_LIMITED);
        drop(first);
        drop(turn(&stories).await.unwrap());
    }
}
