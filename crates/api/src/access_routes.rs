//! Who the caller is, and why someone may, or may not, connect.

use std::net::{IpAddr, Ipv4Addr};

use access::{Condition, Request};
use axum::Json as Answer;
use axum::extract::State;
use control::{Verb, allowed};
use model::{ControlRole, PrincipalId, PrincipalKind, Refusal, ServerName, code};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::authenticate::Authenticated;
use crate::body::Asked;
use crate::problem::Problem;

/// The caller.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Me {
    id: PrincipalId,
    name: String,
    kind: PrincipalKind,
    role: ControlRole,
}

pub(crate) async fn me(caller: Authenticated) -> Answer<Me> {
    let control::Caller { principal, role, source: _ } = caller.caller;
    Answer(Me { id: principal.id, name: principal.name, kind: principal.kind, role })
}

/// Whose access is explained; the caller's own when nobody is named.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Question {
    principal: Option<String>,
    server: ServerName,
    database: Option<String>,
    source: Option<IpAddr>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    principal: String,
    server: ServerName,
    /// Absent when none was named and any is reachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    source: IpAddr,
    allowed: bool,
    conditions: Vec<Condition>,
}

pub(crate) async fn explain(
    State(api): State<Api>,
    caller: Authenticated,
    Asked(question): Asked<Question>,
) -> Result<Answer<Explanation>, Problem> {
    let principal = match &question.principal {
        Some(name) => caller.principal_named(name)?,
        None => caller.caller.principal.clone(),
    };
    let own = principal.id == caller.caller.principal.id;
    if !own && !allowed(Verb::Explain, caller.caller.role) {
        let message = "only auditors, approvers and owners see why others may connect";
        return Err(Refusal::new(&code::FORBIDDEN, message).into());
    }
    let database = question.database.or_else(|| first_database(&caller, &question.server));
    let source =
        question.source.or(caller.caller.source).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    // Where any database is reachable, the conditions are the same for all of them.
    let asked = database.clone().unwrap_or_else(|| "postgres".to_owned());
    let request = Request::hypothetical(&principal, question.server.clone(), asked, source);
    let conditions = access::explain(&request, &caller.snapshot, api.clock.now());
    Ok(Answer(Explanation {
        principal: principal.name,
        server: question.server,
        database,
        source,
        allowed: conditions.iter().all(|condition| condition.met),
        conditions,
    }))
}

/// The database that is explained when none is named; none when any is reachable.
fn first_database(caller: &Authenticated, server: &ServerName) -> Option<String> {
    use model::kind::server::Databases;

    let server = caller.snapshot.servers.get(server);
    match server.map(|server| &server.spec.databases) {
        Some(Databases::Only(names)) => names.first().cloned(),
        Some(Databases::Any) | None => None,
    }
}
