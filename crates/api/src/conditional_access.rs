//! `/v1/conditionalaccess/whatif`: what a draft of a policy would have done to the sessions of the last days.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use access::conditional::{self, Session};
use audit::search::Query;
use axum::Json as Answer;
use axum::extract::State;
use model::event::{Event, EventBody, SessionOpened};
use model::kind::conditional_access_policy::ConditionalAccessPolicy;
use model::verdict::Outcome;
use model::{GroupName, ServerName, Snapshot, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::audit_routes::{self, LIMIT_MAX};
use crate::authenticate::Authenticated;
use crate::body::Json;
use crate::problem::{Problem, invalid};

/// More days take too long to read.
const DAYS_MAX: u16 = 90;
/// Addresses that are named of those who would be affected.
const SOURCES_MAX: usize = 5;

/// The draft, and how far to look back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Draft {
    policy: ConditionalAccessPolicy,
    #[serde(default = "a_week")]
    days: u16,
}

const fn a_week() -> u16 {
    7
}

/// When a session was opened, and how.
type Opened = (Timestamp, Box<SessionOpened>);

/// What it would have done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The first instant that was looked at.
    since: Timestamp,
    /// Sessions that were opened since.
    sessions: usize,
    /// Of them, those that the policy speaks of.
    applied: usize,
    /// Of people and workloads that are gone: nobody can say.
    unknown: usize,
    /// The log has more sessions than can be looked at; these are the newest.
    truncated: bool,
    /// Whose would not have been opened.
    refused: Vec<Refused>,
}

/// Someone whose sessions would not have been opened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refused {
    principal: String,
    server: ServerName,
    outcome: Outcome,
    sessions: usize,
    /// A few of the addresses.
    sources: Vec<IpAddr>,
    last: Timestamp,
}

pub(crate) async fn what_if(
    State(api): State<Api>,
    caller: Authenticated,
    Json(Draft { policy, days }): Json<Draft>,
) -> Result<Answer<Report>, Problem> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(invalid(format!("`days` is between 1 and {DAYS_MAX}")));
    }
    let since = api.clock.now().minus(Duration::from_hours(24 * u64::from(days)));
    let types = vec!["sessionOpened".to_owned()];
    let query = Query { since: Some(since), types, ..Query::default() };
    let found = audit_routes::found(&api, &caller, query, LIMIT_MAX).await?;
    let opened: Vec<Opened> = found
        .into_iter()
        .filter_map(|Event { time, body, .. }| match body {
            EventBody::SessionOpened(opened) => Some((time, opened)),
            _ => None,
        })
        .collect();
    Ok(Answer(report(&policy, (since, &opened), &caller.snapshot)))
}

fn report(
    policy: &ConditionalAccessPolicy,
    (since, opened): (Timestamp, &[Opened]),
    snapshot: &Arc<Snapshot>,
) -> Report {
    let (mut applied, mut unknown) = (0, 0);
    let mut refused: BTreeMap<(String, ServerName, String), Refused> = BTreeMap::new();
    for (time, session) in opened {
        let Some(principal) = session.actor.id.and_then(|id| snapshot.principal(id)) else {
            unknown += 1;
            continue;
        };
        // What was active then may be over: the session says what it rested on.
        let also_in: Vec<GroupName> = session
            .activations
            .iter()
            .filter_map(|id| snapshot.activations.get(id.to_string()))
            .map(|activation| activation.spec.group.clone())
            .collect();
        let asked = Session {
            principal: &principal,
            server: &session.server,
            source: session.source,
            methods: &session.methods,
            signed_in_at: session.signed_in_at,
            client: session.client,
            also_in: &also_in,
        };
        let outcome = conditional::what_if(policy, &asked, snapshot, *time);
        applied += usize::from(!matches!(outcome, Outcome::NotApplied(_)));
        if !outcome.refuses() {
            continue;
        }
        let key = (principal.name.clone(), session.server.clone(), format!("{outcome:?}"));
        let entry = refused.entry(key).or_insert_with(|| Refused {
            principal: principal.name.clone(),
            server: session.server.clone(),
            outcome,
            sessions: 0,
            sources: Vec::new(),
            last: *time,
        });
        entry.sessions += 1;
        entry.last = entry.last.max(*time);
        if entry.sources.len() < SOURCES_MAX && !entry.sources.contains(&session.source) {
            entry.sources.push(session.source);
        }
    }
    Report {
        since,
        sessions: opened.len(),
        applied,
        unknown,
        truncated: opened.len() >= LIMIT_MAX,
        refused: refused.into_values().collect(),
    }
}
