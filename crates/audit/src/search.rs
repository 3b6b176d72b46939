//! Which events a reader of the log wants to see.

use std::collections::BTreeSet;

use model::event::{Actor, Event, EventBody};
use model::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::index::Term;

/// Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Query {
    /// At or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Name or object id of who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The server that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The session that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Event types, such as `statement`; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// A refusal's stable code, or the SQLSTATE of a statement's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A table that statements affected, as `schema.name` or `name`. Statements only; said by whoever knows tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// How it was affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Found anywhere in the event, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How a table was affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// Rows were asked for, or looked at.
    Read,
    /// It was changed.
    Wrote,
}

impl Query {
    /// Whether the event is wanted, tables left aside. Sessions' outcomes and ends name no server: ask for them by
    /// session.
    pub fn matches(&self, event: &Event) -> bool {
        if self.since.is_some_and(|since| event.time < since)
            || self.until.is_some_and(|until| event.time >= until)
        {
            return false;
        }
        let Ok(value) = serde_json::to_value(&event.body) else { return false };
        let member = |name: &str| value.get(name).and_then(Value::as_str);
        let session = self.session.map(|session| session.to_string());
        (self.types.is_empty()
            || member("type").is_some_and(|is| self.types.iter().any(|wanted| wanted == is)))
            && session.is_none_or(|wanted| member("session") == Some(wanted.as_str()))
            && self.server.as_deref().is_none_or(|wanted| member("server") == Some(wanted))
            && self.actor.as_deref().is_none_or(|wanted| actor_is(&event.body, &value, wanted))
            && self.code.as_deref().is_none_or(|wanted| codes(&value).any(|code| code == wanted))
            && self.text.as_deref().is_none_or(|wanted| contains(&value, &wanted.to_lowercase()))
    }
}

/// What an event was refused or ended with.
fn codes(value: &Value) -> impl Iterator<Item = &str> {
    ["/code", "/outcome/refused/code", "/error/sqlstate"]
        .into_iter()
        .filter_map(|place| value.pointer(place).and_then(Value::as_str))
}

/// The terms under which an event is found by what [`Query::matches`] asks for.
pub fn terms(event: &Event, terms: &mut BTreeSet<Term>) {
    let Ok(value) = serde_json::to_value(&event.body) else { return };
    let mut add =
        |field, value: Option<&str>| terms.extend(value.map(|value| Term::new(field, value)));
    for field in ["type", "session", "server"] {
        add(field, value.get(field).and_then(Value::as_str));
    }
    for place in ["/actor/name", "/actor/id"] {
        add("actor", value.pointer(place).and_then(Value::as_str));
    }
    codes(&value).for_each(|code| add("code", Some(code)));
    if let EventBody::ActivationChanged(changed) = &event.body {
        add("actor", Some(&changed.user));
        add("activation", Some(&changed.activation.to_string()));
    }
}

impl Query {
    /// A part of the log has none of what is wanted unless it has one term of each group.
    pub fn terms(&self) -> Vec<Vec<Term>> {
        let session = self.session.map(|session| session.to_string());
        let single = [
            ("server", self.server.as_deref()),
            ("session", session.as_deref()),
            ("actor", self.actor.as_deref()),
            ("code", self.code.as_deref()),
        ];
        let single =
            single.into_iter().filter_map(|(field, value)| Some(vec![Term::new(field, value?)]));
        let types: Vec<Term> = self.types.iter().map(|name| Term::new("type", name)).collect();
        single.chain((!types.is_empty()).then_some(types)).collect()
    }
}

fn actor_is(body: &EventBody, value: &Value, wanted: &str) -> bool {
    let named =
        |actor: &Actor| actor.name == wanted || actor.id.is_some_and(|id| id.to_string() == wanted);
    let actor =
        value.get("actor").and_then(|actor| serde_json::from_value::<Actor>(actor.clone()).ok());
    let whose = match body {
        EventBody::ActivationChanged(changed) => changed.user == wanted,
        _ => false,
    };
    actor.as_ref().is_some_and(named) || whose
}

fn contains(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text.to_lowercase().contains(wanted),
        Value::Array(values) => values.iter().any(|value| contains(value, wanted)),
        Value::Object(members) => members.values().any(|value| contains(value, wanted)),
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(_) | Value::Null => false,
    }
}
