//! Which events a reader of the log wants to see.

use model::event::{Actor, Event, EventBody};
use model::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Found anywhere in the event, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Query {
    /// Whether the event is wanted. Sessions' outcomes and ends name no server: ask for them by session.
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
            && self.text.as_deref().is_none_or(|wanted| contains(&value, &wanted.to_lowercase()))
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
