//! One statement with everything around it: who, under which approval, what, with which values, on which tables, how
//! many rows, with what outcome.

use std::collections::BTreeSet;
use std::io;

use affected::Affected;
use audit::index::{Part, Term};
use model::event::{Event, EventBody};
use model::{ActivationId, SessionId};
use serde::Serialize;

use super::{Hunt, Pair, Searches};

/// Everything that the log has about one statement.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatementStory {
    /// The statement as it was received.
    statement: Event,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Event>,
    /// The tables.
    affected: Affected,
    /// The opening of its session: from where, under which roles, activations and token.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Event>,
    /// The steps of those activations, up to the statement: who asked and why, who approved.
    activations: Vec<Event>,
}

impl Searches {
    /// Absent when the log has no such statement.
    pub(crate) fn statement(
        &self,
        session: SessionId,
        number: u64,
    ) -> io::Result<Option<StatementStory>> {
        let held = self.held(None)?;
        let parts: Vec<&Part> = held.iter().flat_map(|parts| parts.iter()).collect();
        let term = [Term::new("session", &session.to_string())];
        let Some(newest) = parts.iter().rposition(|part| part.may_have(&term)) else {
            return Ok(None);
        };
        let mut hunt = Hunt::default();
        let mut opened = None;
        hunt.keys.insert((session, number), newest);
        for part in parts.iter().take(newest + 1).rev().filter(|part| part.may_have(&term)) {
            let events = self.index.events(part)?;
            opened = events.iter().find(|event| opens(event, session)).cloned();
            hunt.keep(events);
            if opened.is_some() {
                break;
            }
        }
        let pair = hunt.pairs.remove(&(session, number)).unwrap_or_default();
        let Pair { statement: Some(statement), outcome } = pair else { return Ok(None) };
        let names = self.names(&parts)?;
        let Some(affected) = self.affected(&statement, outcome.as_ref(), &names) else {
            return Ok(None);
        };
        let activations = match &opened {
            Some(opened) => self.activations(opened, &statement, &parts)?,
            None => Vec::new(),
        };
        Ok(Some(StatementStory { statement, outcome, affected, session: opened, activations }))
    }

    fn activations(
        &self,
        opened: &Event,
        statement: &Event,
        parts: &[&Part],
    ) -> io::Result<Vec<Event>> {
        let EventBody::SessionOpened(session) = &opened.body else { return Ok(Vec::new()) };
        let ids: BTreeSet<ActivationId> = session.activations.iter().copied().collect();
        let terms: Vec<Term> =
            ids.iter().map(|id| Term::new("activation", &id.to_string())).collect();
        let mut steps = Vec::new();
        for part in parts.iter().filter(|part| part.may_have(&terms)) {
            let events = self.index.events(part)?.into_iter();
            steps.extend(events.filter(|event| {
                event.sequence < statement.sequence
                    && matches!(&event.body, EventBody::ActivationChanged(changed)
                        if ids.contains(&changed.activation))
            }));
        }
        Ok(steps)
    }
}

fn opens(event: &Event, session: SessionId) -> bool {
    matches!(&event.body, EventBody::SessionOpened(opened) if opened.session == session)
}
