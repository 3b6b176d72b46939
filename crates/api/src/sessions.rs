//! `/v1/sessions`: what is open now, cutting it, and what became of what is gone.

use axum::Json as Answer;
use axum::extract::{Path, State};
use control::{Cutting, SessionInfo};
use model::event::{Event, EventBody};
use model::{PrincipalId, Refusal, ServerName, SessionId, code};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::audit_routes::collect;
use crate::authenticate::Authenticated;
use crate::body::{Asked, Json};
use crate::problem::{Problem, invalid};

/// Statements of a session are in the audit log; its story is told without them.
const STORY_EVENTS_MAX: usize = 1_000;

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
    let mut events = collect(&api, STORY_EVENTS_MAX, move |event| told(event, session)).await?;
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
