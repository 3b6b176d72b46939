//! What a recorded statement affected: its text analysed once a shape, held against the names that the log has for the
//! oids of its outcome.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use affected::{Affected, Analysis, Evidence, Name, Relation, Shape, Whole};
use audit::index::Term;
use model::event::{
    Event, EventBody, RelationNamed, Statement, StatementOutcome, StatementProtocol,
};
use model::{ServerName, Timestamp};

/// Shapes whose analysis is kept.
const SHAPES_MAX: usize = 4_096;
/// An outcome's list of oids that is so long may have been longer.
const OIDS_MAX: usize = 64;

/// Analyses of texts, by shape.
#[derive(Debug, Default)]
pub(super) struct Texts {
    shapes: Mutex<HashMap<String, Arc<Analysis>>>,
}

impl Texts {
    pub(super) fn analysis(&self, statement: &Statement) -> Analysis {
        let whole = if statement.sql_bytes.is_some() { Whole::No } else { Whole::Yes };
        let unknown = match statement.protocol {
            StatementProtocol::Function => Some("it calls a function by oid"),
            StatementProtocol::Replication => Some("a replication command is not looked into"),
            // As the gateway writes down what it has no text of.
            _ if statement.sql.starts_with("/* runs ") => Some("its text is not known"),
            _ if statement.sql.starts_with("\\x") => Some("its text could not be read"),
            StatementProtocol::Simple | StatementProtocol::Extended => None,
            StatementProtocol::Query
            | StatementProtocol::Execute
            | StatementProtocol::BulkExecute
            | StatementProtocol::Fetch
            | StatementProtocol::Command => Some("MySQL's statements are not looked into"),
        };
        if let Some(why) = unknown {
            let mut analysis = Analysis::default();
            analysis.because(why);
            return analysis;
        }
        let shape = Shape::of(&statement.sql);
        shape.doubt(self.of(&shape).as_ref().clone(), whole)
    }

    fn of(&self, shape: &Shape) -> Arc<Analysis> {
        let lock = || self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(shape.text()) {
            return Arc::clone(known);
        }
        let analysis = Arc::new(shape.analyse());
        let mut shapes = lock();
        if shapes.len() >= SHAPES_MAX {
            shapes.clear();
        }
        shapes.insert(shape.text().to_owned(), Arc::clone(&analysis));
        analysis
    }

    /// The terms under which an event is found by its tables.
    pub(super) fn terms(&self, event: &Event, terms: &mut BTreeSet<Term>) {
        match &event.body {
            EventBody::Statement(statement) => {
                let Analysis { read, written, because: _ } = self.analysis(statement);
                terms
                    .extend(read.iter().chain(&written).map(|name| Term::new("table", &name.name)));
            }
            EventBody::StatementOutcome(outcome) => {
                let oids = outcome.relations.iter();
                terms.extend(oids.map(|oid| Term::new("oid", &oid.to_string())));
            }
            _ => {}
        }
    }
}

/// Server and database.
type Place = (ServerName, String);

/// What was said of an oid at a time.
#[derive(Debug)]
struct Said {
    at: Timestamp,
    relation: Option<Relation>,
    because: Option<String>,
}

/// Which oid had a name at a time.
#[derive(Debug)]
struct Called {
    at: Timestamp,
    oid: u32,
}

/// What the log says about names, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_oid: HashMap<(Place, u32), Vec<Said>>,
    by_name: HashMap<(Place, Name), Vec<Called>>,
}

impl Names {
    /// Events come in the log's order.
    pub(super) fn note(&mut self, at: Timestamp, named: RelationNamed) {
        let RelationNamed { server, database, oid, relation, because } = named;
        let (place, relation) = ((server, database), relation.map(described));
        if let Some(relation) = &relation {
            let name = (place.clone(), relation.name.clone());
            self.by_name.entry(name).or_default().push(Called { at, oid });
        }
        self.by_oid.entry((place, oid)).or_default().push(Said { at, relation, because });
    }

    /// Oids that were ever known as this table, or as a view over it, anywhere.
    pub(super) fn oids(&self, wanted: &Table) -> BTreeSet<u32> {
        let fits = |relation: &Relation| {
            wanted.is(&relation.name.to_string())
                || relation.over.iter().any(|name| wanted.is(&name.to_string()))
        };
        let known = |said: &Said| said.relation.as_ref().is_some_and(fits);
        let all = self.by_oid.iter().filter(|(_, said)| said.iter().any(known));
        all.map(|((_, oid), _)| *oid).collect()
    }

    fn of(&self, place: &Place, oid: u32, at: Timestamp) -> Result<&Relation, String> {
        let said = self.by_oid.get(&(place.clone(), oid)).map(Vec::as_slice).unwrap_or_default();
        let said = standing(said, |said| said.at, at)
            .ok_or_else(|| format!("table {oid} has no name in the log yet"))?;
        said.relation.as_ref().ok_or_else(|| {
            let because = said.because.as_deref().unwrap_or("nothing is known of it");
            format!("table {oid} has no name: {because}")
        })
    }

    fn called(&self, place: &Place, name: &Name, at: Timestamp) -> Option<&Relation> {
        let said = self.by_name.get(&(place.clone(), name.clone()))?;
        let Called { oid, .. } = standing(said, |called| called.at, at)?;
        self.of(place, *oid, at).ok().filter(|relation| relation.name == *name)
    }
}

/// What stood at a time: the last that was said before it, else the first that was said after it.
fn standing<T>(said: &[T], when: impl Fn(&T) -> Timestamp, at: Timestamp) -> Option<&T> {
    let before = said.iter().rev().find(|each| when(each) <= at);
    before.or_else(|| said.first())
}

fn described(relation: model::event::Relation) -> Relation {
    let model::event::Relation { schema, name, kind, on_read, on_write, over } = relation;
    let over = over.into_iter().map(|(schema, name)| Name::qualified(schema, name)).collect();
    Relation { name: Name::qualified(schema, name), kind, on_read, on_write, over }
}

/// The statement's text, its outcome and the names of its time, together.
pub(super) fn affected(
    (at, statement): (Timestamp, &Statement),
    outcome: Option<&StatementOutcome>,
    (texts, names): (&Texts, &Names),
) -> Affected {
    let analysis = texts.analysis(statement);
    let place = (statement.server.clone(), statement.database.clone());
    let (mut rows_from, mut because) = (Vec::new(), Vec::new());
    for oid in outcome.map(|outcome| &*outcome.relations).unwrap_or_default() {
        match names.of(&place, *oid, at) {
            Ok(relation) => rows_from.push(relation),
            Err(why) => because.push(why),
        }
    }
    match outcome {
        None => because.push("its outcome is not known yet".to_owned()),
        Some(outcome) if outcome.relations.len() >= OIDS_MAX => {
            because.push(format!("its rows come from {OIDS_MAX} tables or more"));
        }
        Some(_) => {}
    }
    let catalogue = |name: &Name| names.called(&place, name, at);
    let evidence = Evidence { rows_from: &rows_from, because, catalogue: &catalogue };
    affected::resolve(&analysis, &evidence)
}

/// A table that is searched for: `schema.name`, or `name` of whichever schema.
#[derive(Clone, Debug)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    /// As a person wrote it.
    pub(super) fn wanted(text: &str) -> Self {
        let plain = |part: &str| part.trim_matches('"').to_owned();
        match text.split_once('.') {
            Some((schema, name)) => Self { schema: Some(plain(schema)), name: plain(name) },
            None => Self { schema: None, name: plain(text) },
        }
    }

    pub(super) fn term(&self) -> Term {
        Term::new("table", &self.name)
    }

    /// Whether a name, as it is shown, is or may be this table's: one without a schema may.
    pub(super) fn is(&self, shown: &str) -> bool {
        let Self { schema, name } = Self::wanted(shown);
        name == self.name && (schema.is_none() || self.schema.is_none() || schema == self.schema)
    }
}
