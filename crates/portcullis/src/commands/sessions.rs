//! `portcullis sessions`, `cut` and `why`: live sessions, and what became of those that are gone.

use model::SessionId;
use model::event::EventBody;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::address::Address;
use crate::cli::{Common, Cut, CutWhat, Sessions};
use crate::events;
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;
use crate::table::{Table, pairs};

#[derive(Deserialize)]
struct List {
    items: Vec<Value>,
}

pub(crate) fn list(common: &Common, sessions: &Sessions) -> Result<(), Failure> {
    let remote = Remote::open(common, "list sessions")?;
    let address = Address::of(&["v1", "sessions"])
        .maybe("principal", sessions.principal.as_deref())
        .maybe("server", sessions.server.as_ref().map(model::ServerName::as_str));
    let list: List = remote.get(&address)?;
    output::show_all(common.output, &list.items, || table(&list.items))
}

fn table(items: &[Value]) -> String {
    let mut table = Table::new(&[
        "SESSION",
        "WHO",
        "FROM",
        "SERVER",
        "DATABASE",
        "SINCE",
        "UNTIL",
        "STATE",
        "STATEMENT",
    ]);
    for item in items {
        let text = |pointer: &str| {
            item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        table.row([
            text("/id"),
            text("/principal/name"),
            text("/source"),
            text("/server"),
            text("/database"),
            text("/since"),
            text("/until"),
            text("/state"),
            shortened(&text("/statement")),
        ]);
    }
    table.render()
}

fn shortened(statement: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    if statement.chars().count() <= CHARACTERS_MAX {
        return statement.to_owned();
    }
    let start: String = statement.chars().take(CHARACTERS_MAX).collect();
    format!("{start}…")
}

#[derive(Deserialize, Serialize)]
struct Outcome {
    cut: Vec<SessionId>,
}

pub(crate) fn cut(common: &Common, cut: &Cut) -> Result<(), Failure> {
    let Cut { what: CutWhat { session, principal, server }, reason } = cut;
    let remote = Remote::open(common, "cut sessions")?;
    let body = json!({
        "session": session, "principal": principal, "server": server, "reason": reason,
    });
    let outcome: Outcome = remote.post(&Address::of(&["v1", "sessions", "cut"]), &body)?;
    output::show(common.output, &outcome, || {
        let cut: Vec<String> =
            outcome.cut.iter().map(|session| format!("session {session} is cut")).collect();
        if cut.is_empty() {
            return "no live session matches\n".to_owned();
        }
        format!("{}\n", cut.join("\n"))
    })
}

#[derive(Deserialize, Serialize)]
struct Story {
    session: SessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    live: Option<Value>,
    events: Vec<events::Found>,
}

pub(crate) fn why(common: &Common, session: SessionId) -> Result<(), Failure> {
    let remote = Remote::open(common, format!("say what became of session {session}"))?;
    let address = Address::of(&["v1", "sessions", &session.to_string()]);
    let story: Story = remote.get(&address)?;
    output::show(common.output, &story, || text(&story))
}

fn text(story: &Story) -> String {
    let mut text = String::new();
    if story.live.is_some() {
        text.push_str("the session is open\n\n");
    }
    text.push_str(&events::table(&story.events));
    for events::Found { event, .. } in &story.events {
        if let EventBody::SessionCut(cut) = &event.body {
            text.push('\n');
            text.push_str(&pairs([
                ("Cut because", format!("{}: {}", cut.code, cut.message)),
                ("Cause at", cut.cause_at.to_string()),
                ("Forwarding stopped at", cut.stopped_at.to_string()),
                ("Client closed at", cut.client_closed_at.to_string()),
                ("Client was told", if cut.told { "yes" } else { "no" }.to_owned()),
            ]));
        }
    }
    text
}
