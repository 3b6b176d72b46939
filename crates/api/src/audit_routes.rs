//! `/v1/audit`: the audit log, read by those who may; every reading is itself recorded before its answer.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use access::token::Credential;
use audit::Checkpoint;
use audit::read::Reader;
use audit::search::{Access, Query};
use axum::Json as Answer;
use axum::extract::{Path as Address, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use control::{Verb, allowed};
use model::event::{Actor, Event, EventBody};
use model::{ControlRole, Refusal, SessionId, Timestamp, code};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::audit_search::story::StatementStory;
use crate::authenticate::{Authenticated, standing};
use crate::body::Asked;
use crate::lines::{Lines, Sink};
use crate::problem::{self, Problem, invalid};

/// Events in one answer at most; more are asked for in parts.
pub(crate) const LIMIT_MAX: usize = 50_000;
const LIMIT_DEFAULT: usize = 1_000;
/// How often a follower looks for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// The query of the address.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Question {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    actor: Option<String>,
    server: Option<String>,
    session: Option<SessionId>,
    /// Separated by commas.
    types: Option<String>,
    text: Option<String>,
    code: Option<String>,
    table: Option<String>,
    access: Option<Access>,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// NDJSON: one event a line, the oldest first, the newest `limit` of those that match.
pub(crate) async fn search(
    State(api): State<Api>,
    caller: Authenticated,
    Asked(question): Asked<Question>,
) -> Result<Response, Problem> {
    authorise(caller.caller.role)?;
    let limit = question.limit.unwrap_or(LIMIT_DEFAULT);
    if limit > LIMIT_MAX {
        return Err(invalid(format!("`limit` is at most {LIMIT_MAX}")));
    }
    let follow = question.follow;
    let query = query(question)?;
    let last = record_reading(&api, &caller, &query).await?;
    let (searches, asked) = (Arc::clone(&api.searches), query.clone());
    let found = searching(&api, move || searches.newest(&asked, (limit, last))).await?;
    let (lines, sink) = Lines::channel();
    drop(api.tasks.clone().spawn("audit-answer", async move {
        if sink.send_all(&found).await && follow {
            let following = Search::new(query, limit).after(api.log.directory(), last);
            let ended = match following {
                Ok(following) => follow_on(&api, &caller.credential, following, &sink).await,
                Err(error) => Err(unreadable(&error)),
            };
            let Err(problem) = ended else { return };
            // Whether the reader is still there to see it or not, this is the end.
            let _seen = sink.send_all([&problem::Body::from(&problem.0)]).await;
        }
    }));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines.into_body()).into_response())
}

/// The newest events that match, for who may read the log; the reading is recorded.
pub(crate) async fn found(
    api: &Api,
    caller: &Authenticated,
    query: Query,
    limit: usize,
) -> Result<Vec<Event>, Problem> {
    authorise(caller.caller.role)?;
    let last = record_reading(api, caller, &query).await?;
    let searches = Arc::clone(&api.searches);
    let found = searching(api, move || searches.newest(&query, (limit, last))).await?;
    Ok(found.into_iter().map(|found| found.event).collect())
}

/// One statement, and everything that the log has about it.
pub(crate) async fn statement(
    State(api): State<Api>,
    caller: Authenticated,
    Address((session, number)): Address<(SessionId, u64)>,
) -> Result<Answer<StatementStory>, Problem> {
    authorise(caller.caller.role)?;
    let query = Query { session: Some(session), ..Query::default() };
    record_reading(&api, &caller, &query).await?;
    let searches = Arc::clone(&api.searches);
    let story = searching(&api, move || searches.statement(session, number)).await?;
    let unknown = || {
        let message = format!("session {session} has no statement {number} in the audit log");
        Refusal::new(&code::NOT_FOUND, message).hint("`portcullis audit` shows both numbers")
    };
    Ok(Answer(story.ok_or_else(unknown)?))
}

fn query(question: Question) -> Result<Query, Problem> {
    let Question { since, until, actor, server, session, types, text, code, table, access, .. } =
        question;
    if access.is_some() && table.is_none() {
        return Err(invalid("`access` says how a `table` was affected: name one"));
    }
    let types = types.unwrap_or_default();
    let types = types.split(',').map(str::trim).filter(|name| !name.is_empty());
    let types = types.map(str::to_owned).collect();
    Ok(Query { since, until, actor, server, session, types, code, table, access, text })
}

/// Ends when the client is gone or the process stops; with a refusal as soon as the credential does not let its holder
/// read the log any more.
async fn follow_on(
    api: &Api,
    credential: &Credential,
    (mut search, mut reader): (Search, Reader),
    sink: &Sink,
) -> Result<(), Problem> {
    loop {
        tokio::select! {
            () = api.tasks.shutdown().requested() => return Ok(()),
            () = sink.closed() => return Ok(()),
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
        }
        let caller = standing(credential, &api.snapshots.load(), api.clock.now())?;
        authorise(caller.role)?;
        let looked = blocking(api, move || {
            let found = search.newest(&mut reader)?;
            Ok((found, search, reader))
        });
        let (found, search_so_far, reader_so_far) = looked.await?;
        (search, reader) = (search_so_far, reader_so_far);
        if !sink.send_all(&found).await {
            return Ok(());
        }
    }
}

/// A query with what it needs to know between events: a statement that matched brings its outcome along, which names
/// neither actor nor server.
struct Search {
    query: Query,
    limit: usize,
    statements: HashSet<(SessionId, u64)>,
}

impl Search {
    fn new(query: Query, limit: usize) -> Self {
        Self { query, limit, statements: HashSet::new() }
    }

    /// Goes on behind a record.
    fn after(self, directory: &Path, last: u64) -> io::Result<(Self, Reader)> {
        Ok((self, Reader::open(directory, last.saturating_add(1))?))
    }

    fn wants(&mut self, event: &Event) -> bool {
        // While it happens it is not known what a statement affects; a search afterwards says.
        let wanted = self.query.table.is_none() && self.query.matches(event);
        match &event.body {
            EventBody::Statement(statement) if wanted => {
                self.statements.insert((statement.session, statement.number));
                true
            }
            EventBody::StatementOutcome(outcome) => {
                let known = self.statements.remove(&(outcome.session, outcome.number));
                wanted || (known && self.query.types.is_empty())
            }
            _ => wanted,
        }
    }

    /// What matches of all that can be read now; the newest `limit` of it.
    fn newest(&mut self, reader: &mut Reader) -> io::Result<VecDeque<Event>> {
        let mut found = VecDeque::new();
        for event in reader {
            let event = event?;
            if !self.wants(&event) {
                continue;
            }
            if found.len() == self.limit {
                found.pop_front();
            }
            found.push_back(event);
        }
        Ok(found)
    }
}

/// The events that `wanted` picks, oldest first and at most the newest `limit`. The log is searched from its newest
/// segment backwards, as far as an event that is picked and `begins`. `turn` is given back when the search is over, also
/// when nobody waits for its answer any more.
pub(crate) async fn story<T: Send + 'static>(
    api: &Api,
    turn: T,
    limit: usize,
    (wanted, begins): (impl Fn(&Event) -> bool + Send + 'static, fn(&Event) -> bool),
) -> Result<Vec<Event>, Problem> {
    let directory = api.log.directory().to_owned();
    let search = move || Ok((backwards(&directory, limit, wanted, begins)?, turn));
    blocking(api, search).await.map(|(events, _turn)| events)
}

fn backwards(
    directory: &Path,
    limit: usize,
    wanted: impl Fn(&Event) -> bool,
    begins: fn(&Event) -> bool,
) -> io::Result<Vec<Event>> {
    let mut story = VecDeque::new();
    let mut end = u64::MAX;
    for first in Reader::segments(directory)?.into_iter().rev() {
        let mut found = Vec::new();
        for event in Reader::open(directory, first)? {
            let event = event?;
            if event.sequence >= end {
                break;
            }
            if wanted(&event) {
                found.push(event);
            }
        }
        let begun = found.iter().any(begins);
        for event in found.into_iter().rev() {
            if story.len() < limit {
                story.push_front(event);
            }
        }
        if begun {
            break;
        }
        end = first;
    }
    Ok(story.into())
}

/// The latest signed position of the log, and the key that signed it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Position {
    checkpoint: Option<Checkpoint>,
    public_key: String,
}

pub(crate) async fn checkpoint(
    State(api): State<Api>,
    caller: Authenticated,
) -> Result<Answer<Position>, Problem> {
    authorise(caller.caller.role)?;
    let key = api.log.public_key();
    let public_key = key.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    Ok(Answer(Position { checkpoint: api.log.checkpoint(), public_key }))
}

fn authorise(role: ControlRole) -> Result<(), Refusal> {
    if allowed(Verb::ReadAudit, role) {
        return Ok(());
    }
    let message = format!("role `{role}` does not read the audit log");
    Err(Refusal::new(&code::FORBIDDEN, message).hint("ask an auditor"))
}

/// The record of the reading: what follows it was not asked for.
async fn record_reading(api: &Api, caller: &Authenticated, query: &Query) -> Result<u64, Refusal> {
    let unrecorded = |error: audit::AuditError| {
        tracing::error!(%error, "a reading of the audit log could not be recorded");
        Refusal::new(&code::AUDIT_FAILED, "the reading cannot be recorded, so there is none")
    };
    let query = serde_json::to_string(query)
        .map_err(|_| Refusal::new(&code::INTERNAL, "the query cannot be written down"))?;
    let actor = Actor::from(&caller.caller.principal);
    let receipt = api.log.append(&[EventBody::AuditRead { actor, query }]).map_err(unrecorded)?;
    api.log.durable(receipt).await.map_err(unrecorded)?;
    Ok(receipt.sequence)
}

fn unreadable(error: &io::Error) -> Problem {
    tracing::error!(%error, "the audit log cannot be read");
    Refusal::new(&code::AUDIT_FAILED, "the audit log cannot be read").into()
}

/// On a thread of its own, with the stack that the analysis of a statement's text can take.
async fn searching<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let panicked = |_| io::Error::other("the search broke off");
    blocking(api, move || {
        let thread = std::thread::Builder::new().name("audit-search".to_owned());
        thread.stack_size(affected::STACK_BYTES).spawn(work)?.join().map_err(panicked)?
    })
    .await
}

async fn blocking<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    match api.tasks.spawn_blocking("audit-read", work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(error) => Err(unreadable(&io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_searched_for_backwards_and_no_further_than_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let write = |first: u64, records: &[String]| {
            let lines = records.iter().map(|json| format!("{} {json}\n", "0".repeat(64)));
            let path = folder.path().join(format!("{first:020}.log"));
            std::fs::write(path, lines.collect::<String>()).unwrap();
        };
        let read = |sequence: u64, query: &str| {
            let actor = Actor::portcullis();
            let body = EventBody::AuditRead { actor, query: query.to_owned() };
            let event = Event { sequence, time: Timestamp::EPOCH, body };
            serde_json::to_string(&event).unwrap()
        };
        let queried = |event: &Event| match &event.body {
            EventBody::AuditRead { query, .. } => query.clone(),
            _ => String::new(),
        };
        let begins: fn(&Event) -> bool =
            |event| matches!(&event.body, EventBody::AuditRead { query, .. } if query == "begin");
        write(1, &["unreadable, and never read".to_owned()]);
        write(2, &[read(2, "begin"), read(3, "other"), read(4, "go on")]);
        write(5, &[read(5, "end")]);
        let search = |limit| {
            let wanted = |event: &Event| queried(event) != "other";
            let found = backwards(folder.path(), limit, wanted, begins).unwrap();
            found.iter().map(queried).collect::<Vec<_>>()
        };
        assert_eq!(search(9), ["begin", "go on", "end"]);
        assert_eq!(search(2), ["go on", "end"]);
    }
}
