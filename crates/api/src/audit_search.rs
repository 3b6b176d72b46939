//! Searching the audit log: by its index, from the newest part backwards, statements together with their outcomes and
//! with what they affected.

mod objects;
pub(crate) mod story;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use affected::{Affected, Engine};
use audit::index::{Index, Part, Term};
use audit::search::{Access, Query};
use model::event::{Event, EventBody, Statement};
use model::{SessionId, Timestamp};
use serde::Serialize;

use objects::{Names, Table, Texts, affected, engine};

/// What stands is named again once a day: names of a time are found in so long before it.
const NAMES_BEFORE: Duration = Duration::from_hours(25);
/// Events that one search holds at most.
const EVENTS_MAX: usize = 50_000;

/// An event as it is found; a statement with what it affected.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub(crate) event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) affected: Option<Affected>,
}

/// The searches of one log.
#[derive(Debug)]
pub(crate) struct Searches {
    index: Index,
    texts: Arc<Texts>,
}

type Key = (SessionId, u64);

/// What was found of one search so far.
#[derive(Default)]
struct Hunt {
    /// Events that match by themselves.
    events: BTreeMap<u64, Event>,
    /// Statements that match, or may, and the place of the part in which they or their outcomes were met.
    keys: BTreeMap<Key, usize>,
    /// The two halves of each.
    pairs: HashMap<Key, Pair>,
}

#[derive(Default)]
struct Pair {
    statement: Option<Event>,
    outcome: Option<Event>,
}

/// The table that is searched for, the oids under which it is known, and views over it that have none.
struct Wanted {
    table: Table,
    oids: BTreeSet<u32>,
    views: Vec<Table>,
}

impl Searches {
    pub(crate) fn new(directory: &Path) -> Self {
        let texts = Arc::new(Texts::default());
        let of_tables = Arc::clone(&texts);
        let terms = Box::new(move |event: &Event, terms: &mut BTreeSet<Term>| {
            audit::search::terms(event, terms);
            of_tables.terms(event, terms);
        });
        Self { index: Index::new(directory, terms), texts }
    }

    /// The newest `limit` events up to record `last` that match, oldest first.
    pub(crate) fn newest(
        &self,
        query: &Query,
        (limit, last): (usize, u64),
    ) -> io::Result<Vec<Found>> {
        let held = self.held(query.since)?;
        let parts: Vec<&Part> = held.iter().flat_map(|parts| parts.iter()).collect();
        let names = self.names(&parts)?;
        let wanted = query.table.as_deref().map(|text| {
            let table = Table::wanted(text);
            let (oids, views) = (names.oids(&table), names.views(&table));
            Wanted { table, oids, views }
        });
        let enough = if wanted.is_some() { EVENTS_MAX } else { limit };
        let mut hunt = Hunt::default();
        for (place, part) in parts.iter().enumerate().rev() {
            if !is_relevant(part, query, wanted.as_ref()) {
                continue;
            }
            for event in self.index.events(part)? {
                if event.sequence <= last {
                    self.take(&mut hunt, (place, event), (query, wanted.as_ref()));
                }
            }
            if hunt.events.len().max(hunt.keys.len()) >= enough {
                break;
            }
        }
        self.complete(&mut hunt, &parts)?;
        let mut found = self.joined(hunt, (query, wanted.as_ref()), &names);
        found.retain(|found| found.event.sequence <= last);
        Ok(found.split_off(found.len().saturating_sub(limit)))
    }

    fn take(
        &self,
        hunt: &mut Hunt,
        (place, event): (usize, Event),
        (query, wanted): (&Query, Option<&Wanted>),
    ) {
        match (&event.body, wanted) {
            (EventBody::StatementOutcome(outcome), Some(wanted))
                if outcome.relations.iter().any(|oid| wanted.oids.contains(oid)) =>
            {
                hunt.keys.insert((outcome.session, outcome.number), place);
            }
            (EventBody::Statement(statement), wanted)
                if query.matches(&event)
                    && wanted.is_none_or(|wanted| self.names_it(statement, wanted)) =>
            {
                hunt.keys.insert((statement.session, statement.number), place);
            }
            (_, None) if query.matches(&event) => {
                hunt.events.insert(event.sequence, event);
            }
            _ => {}
        }
    }

    fn names_it(&self, statement: &Statement, wanted: &Wanted) -> bool {
        let (analysis, engine) = (self.texts.analysis(statement), engine(statement));
        let mut names = analysis.read.iter().chain(&analysis.written);
        names.any(|name| wanted.tables().any(|table| table.is(&name.shown(engine), engine)))
    }

    /// Finds both halves of every key: onwards from where it was met, as far as outcomes are missing, and then
    /// backwards, as far as statements are.
    fn complete(&self, hunt: &mut Hunt, parts: &[&Part]) -> io::Result<()> {
        let Some(first) = hunt.keys.values().min().copied() else { return Ok(()) };
        let last = hunt.keys.values().max().copied().unwrap_or(first);
        for part in parts.iter().skip(first) {
            let missing = hunt.missing(|pair| pair.outcome.is_none());
            if missing.is_empty() {
                break;
            }
            if part.may_have(&missing) {
                hunt.keep(self.index.events(part)?);
            }
        }
        for part in parts.iter().take(last + 1).rev() {
            let missing = hunt.missing(|pair| pair.statement.is_none());
            if missing.is_empty() {
                break;
            }
            if part.may_have(&missing) {
                hunt.keep(self.index.events(part)?);
            }
        }
        Ok(())
    }

    /// Statements with what they affected, those of the table that is wanted; outcomes beside them.
    fn joined(
        &self,
        hunt: Hunt,
        (query, wanted): (&Query, Option<&Wanted>),
        names: &Names,
    ) -> Vec<Found> {
        let Hunt { events, keys: _, pairs } = hunt;
        let mut found: BTreeMap<u64, Found> = events
            .into_iter()
            .map(|(sequence, event)| (sequence, Found { event, affected: None }))
            .collect();
        for Pair { statement, outcome } in pairs.into_values() {
            let Some(statement) = statement.filter(|statement| query.matches(statement)) else {
                continue;
            };
            let affected = self.affected(&statement, outcome.as_ref(), names);
            let EventBody::Statement(body) = &statement.body else { continue };
            let engine = engine(body);
            let fits = |wanted: &Wanted| {
                affected.as_ref().is_some_and(|it| uses(it, query, (wanted, engine)))
            };
            if !wanted.is_none_or(fits) {
                continue;
            }
            found.insert(statement.sequence, Found { event: statement, affected });
            if let Some(event) = outcome
                && query.types.is_empty()
            {
                found.insert(event.sequence, Found { event, affected: None });
            }
        }
        found.into_values().collect()
    }

    fn affected(
        &self,
        statement: &Event,
        outcome: Option<&Event>,
        names: &Names,
    ) -> Option<Affected> {
        let EventBody::Statement(body) = &statement.body else { return None };
        let outcome = outcome.and_then(|event| match &event.body {
            EventBody::StatementOutcome(outcome) => Some(&**outcome),
            _ => None,
        });
        Some(affected((statement.time, body), outcome, (&self.texts, names)))
    }

    /// The parts of the log from a time on, and those before it in which its names are.
    fn held(&self, since: Option<Timestamp>) -> io::Result<Vec<Arc<[Part]>>> {
        let since = since.map(|since| since.minus(NAMES_BEFORE));
        let segments = self.index.segments()?;
        let begun_before =
            |(_, begun): &(u64, Timestamp)| since.is_some_and(|since| *begun <= since);
        // The segment that was written at that time belongs to it.
        let first = segments.iter().rposition(begun_before).unwrap_or(0);
        segments.iter().skip(first).map(|(first, _)| self.index.parts(*first)).collect()
    }

    fn names(&self, parts: &[&Part]) -> io::Result<Names> {
        let mut names = Names::default();
        let term = [Term::new("type", "relationNamed")];
        for part in parts.iter().filter(|part| part.may_have(&term)) {
            for event in self.index.events(part)? {
                if let EventBody::RelationNamed(named) = event.body {
                    names.note(event.time, *named);
                }
            }
        }
        Ok(names)
    }
}

impl Wanted {
    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.views.iter().chain([&self.table])
    }
}

impl Hunt {
    /// Sessions of keys that lack something.
    fn missing(&self, lacks: fn(&Pair) -> bool) -> Vec<Term> {
        let missing = self.keys.keys().filter(|key| self.pairs.get(key).is_none_or(lacks));
        let sessions: BTreeSet<SessionId> = missing.map(|(session, _)| *session).collect();
        sessions.iter().map(|session| Term::new("session", &session.to_string())).collect()
    }

    fn keep(&mut self, events: Vec<Event>) {
        for event in events {
            let (key, statement) = match &event.body {
                EventBody::Statement(it) => ((it.session, it.number), true),
                EventBody::StatementOutcome(it) => ((it.session, it.number), false),
                _ => continue,
            };
            if self.keys.contains_key(&key) {
                let pair = self.pairs.entry(key).or_default();
                let half = if statement { &mut pair.statement } else { &mut pair.outcome };
                // A statement whose commit failed has a second outcome, which is the one that counts.
                let later = half.as_ref().is_none_or(|known| known.sequence < event.sequence);
                if later {
                    *half = Some(event);
                }
            }
        }
    }
}

/// Whether a part may have something of it.
fn is_relevant(part: &Part, query: &Query, wanted: Option<&Wanted>) -> bool {
    let within = query.since.is_none_or(|since| part.until >= since)
        && query.until.is_none_or(|until| part.from < until);
    within
        && match wanted {
            // An outcome names neither actor nor server.
            Some(wanted) => {
                let oids = wanted.oids.iter().map(|oid| Term::new("oid", &oid.to_string()));
                let any: Vec<Term> = oids.chain(wanted.tables().map(Table::term)).collect();
                part.may_have(&any)
            }
            None => query.terms().iter().all(|any| part.may_have(any)),
        }
}

fn uses(affected: &Affected, query: &Query, (wanted, engine): (&Wanted, Engine)) -> bool {
    let has = |names: &BTreeSet<String>| names.iter().any(|name| wanted.table.is(name, engine));
    match query.access {
        None => has(&affected.read) || has(&affected.written),
        Some(Access::Read) => has(&affected.read),
        Some(Access::Wrote) => has(&affected.written),
    }
}
