//! One statement, told whole: who, under which approval, what, with which values, on which tables, how many rows, with
//! what outcome.

use affected::Affected;
use model::event::{ActivationChanged, Event, EventBody, SessionOpened};
use serde::{Deserialize, Serialize};

use crate::events;
use crate::table::pairs;

/// As the server tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StatementStory {
    statement: Event,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Event>,
    affected: Affected,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<Event>,
    activations: Vec<Event>,
}

impl StatementStory {
    /// For people.
    pub(super) fn pairs(&self) -> String {
        let Self { statement, outcome, affected, session, activations } = self;
        let mut told = Vec::new();
        if let EventBody::Statement(statement) = &statement.body {
            told.push(("Who", statement.actor.name.clone()));
            told.push(("Where", format!("{}/{}", statement.server, statement.database)));
        }
        if let Some(Event { body: EventBody::SessionOpened(opened), .. }) = session {
            let SessionOpened { source, database_user, roles, .. } = &**opened;
            let roles = roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            told.push(("From", format!("{source} as {database_user} with {roles}")));
        }
        for event in activations {
            if let EventBody::ActivationChanged(changed) = &event.body {
                told.push(("Approval", step(event, changed)));
            }
        }
        told.push(("When", statement.time.to_string()));
        if let EventBody::Statement(statement) = &statement.body {
            told.push(("Statement", statement.sql.clone()));
            let values = statement.parameters.iter().enumerate();
            let values: Vec<String> = values
                .map(|(index, value)| format!("${} = {}", index + 1, events::parameter(value)))
                .collect();
            if !values.is_empty() {
                told.push(("Values", values.join("\n")));
            }
        }
        told.extend(tables(affected));
        let (rows, took, ended) = match outcome {
            Some(Event { body: EventBody::StatementOutcome(outcome), .. }) => {
                events::outcome_cells(outcome)
            }
            _ => (String::new(), String::new(), "not known".to_owned()),
        };
        told.extend([("Rows", rows), ("Took", took), ("Outcome", ended)]);
        pairs(told)
    }
}

fn step(event: &Event, changed: &ActivationChanged) -> String {
    let ActivationChanged { activation, actor, step, group, note, .. } = changed;
    let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    format!("{step} of `{group}` by {} at {}{note} ({activation})", actor.name, event.time)
}

fn tables(affected: &Affected) -> Vec<(&'static str, String)> {
    let Affected { read, written, complete, because } = affected;
    let list = |names: &std::collections::BTreeSet<String>| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.iter().cloned().collect::<Vec<_>>().join(", ")
        }
    };
    let whole = if *complete {
        "yes: there are no others".to_owned()
    } else {
        let because = because.iter().cloned().collect::<Vec<_>>();
        format!("no: there may be others\n{}", because.join("\n"))
    };
    vec![("Read", list(read)), ("Written", list(written)), ("Complete", whole)]
}
