//! What a recorded statement affected: its text analysed once a shape, held against the names that the log has for the
//! oids of its outcome.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use affected::{Affected, Analysis, Engine, Evidence, Name, Relation, Shape, Strings, Whole};
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
            StatementProtocol::Simple
            | StatementProtocol::Extended
            | StatementProtocol::Query
            | StatementProtocol::Execute
            | StatementProtocol::BulkExecute
            | StatementProtocol::Fetch
            | StatementProtocol::Command => None,
        };
        if let Some(why) = unknown {
            let mut analysis = Analysis::default();
            analysis.because(why);
            return analysis;
        }
        let strings =
            if statement.plain_backslash { Strings::Standard } else { Strings::Backslash };
        let shape = Shape::of(&statement.sql, engine(statement), strings);
        let mut analysis = shape.doubt(self.of(&shape).as_ref().clone(), whole);
        let mut names = analysis.read.iter().chain(&analysis.written);
        let is_bare = names.any(|name| name.schema.is_none());
        if statement.database_doubtful && is_bare {
            analysis.because("the session may have changed its default database unseen");
        }
        analysis
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
                terms.extend(read.iter().chain(&written).map(|name| term(&name.name)));
            }
            EventBody::StatementOutcome(outcome) => {
                let oids = outcome.relations.iter();
                terms.extend(oids.map(|oid| Term::new("oid", &oid.to_string())));
            }
            _ => {}
        }
    }
}

/// Whose statement it is.
pub(super) fn engine(statement: &Statement) -> Engine {
    match statement.protocol {
        StatementProtocol::Simple
        | StatementProtocol::Extended
        | StatementProtocol::Function
        | StatementProtocol::Replication => Engine::PostgreSql,
        StatementProtocol::Query
        | StatementProtocol::Execute
        | StatementProtocol::BulkExecute
        | StatementProtocol::Fetch
        | StatementProtocol::Command => Engine::MySql,
    }
}

/// In whatever case: to MySQL it may be the same.
fn term(table: &str) -> Term {
    Term::new("table", &table.to_lowercase())
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
    /// Of servers that number no tables, by their names in lower case.
    unnumbered: HashMap<(ServerName, String), Vec<Said>>,
}

impl Names {
    /// Events come in the log's order.
    pub(super) fn note(&mut self, at: Timestamp, named: RelationNamed) {
        let RelationNamed { server, database, oid, relation, because } = named;
        let relation = relation.map(described);
        let Some(oid) = oid else {
            let Some(name) = relation.as_ref().map(|relation| lower(&relation.name)) else {
                return;
            };
            let said = self.unnumbered.entry((server, name)).or_default();
            said.push(Said { at, relation, because });
            return;
        };
        let place = (server, database);
        if let Some(relation) = &relation {
            let name = (place.clone(), relation.name.clone());
            self.by_name.entry(name).or_default().push(Called { at, oid });
        }
        self.by_oid.entry((place, oid)).or_default().push(Said { at, relation, because });
    }

    /// Oids that were ever known as this table, or as a view over it, anywhere.
    pub(super) fn oids(&self, wanted: &Table) -> BTreeSet<u32> {
        let fits = |relation: &Relation| {
            let is = |name: &Name| wanted.is(&name.shown(Engine::PostgreSql), Engine::PostgreSql);
            is(&relation.name) || relation.over.iter().any(is)
        };
        let known = |said: &Said| said.relation.as_ref().is_some_and(fits);
        let all = self.by_oid.iter().filter(|(_, said)| said.iter().any(known));
        all.map(|((_, oid), _)| *oid).collect()
    }

    /// Views that were ever known to be over a table that no number leads to.
    pub(super) fn views(&self, wanted: &Table) -> Vec<Table> {
        let said = self.unnumbered.values().flatten().filter_map(|said| said.relation.as_ref());
        let over = said.filter(|relation| {
            relation.over.iter().any(|name| wanted.is(&name.shown(Engine::MySql), Engine::MySql))
        });
        over.map(|view| Table::wanted(&view.name.shown(Engine::MySql))).collect()
    }

    /// A table by its name; where there is none, the one whose name differs in case only.
    fn named(&self, server: &ServerName, name: &Name, at: Timestamp) -> Option<&Relation> {
        let said = self.unnumbered.get(&(server.clone(), lower(name)))?;
        let relations = || said.iter().filter_map(|said| Some((said.at, said.relation.as_ref()?)));
        let exact: Vec<_> = relations().filter(|(_, relation)| relation.name == *name).collect();
        let fitting = if exact.is_empty() { relations().collect() } else { exact };
        let (_, first) = fitting.first()?;
        if fitting.iter().any(|(_, relation)| relation.name != first.name) {
            return None;
        }
        standing(&fitting, |(at, _)| *at, at).map(|(_, relation)| *relation)
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

fn lower(name: &Name) -> String {
    name.shown(Engine::MySql).to_lowercase()
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
    let engine = engine(statement);
    let catalogue = |name: &Name| match engine {
        Engine::PostgreSql => names.called(&place, name, at),
        Engine::MySql => names.named(&statement.server, name, at),
    };
    let home = Some(statement.database.as_str());
    let home = home.filter(|database| engine == Engine::MySql && !database.is_empty());
    let rows_from = &rows_from;
    let evidence = Evidence { engine, home, rows_from, because, catalogue: &catalogue };
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
        let plain = |part: &str| part.trim_matches(['"', '`']).to_owned();
        match text.split_once('.') {
            Some((schema, name)) => Self { schema: Some(plain(schema)), name: plain(name) },
            None => Self { schema: None, name: plain(text) },
        }
    }

    pub(super) fn term(&self) -> Term {
        term(&self.name)
    }

    /// Whether a name, as it is shown, is or may be this table's: one without a schema may, and of MySQL's one that
    /// differs in case only.
    pub(super) fn is(&self, shown: &str, engine: Engine) -> bool {
        let Self { schema, name } = Self::wanted(shown);
        let same = |one: &str, other: &str| match engine {
            Engine::PostgreSql => one == other,
            Engine::MySql => one.eq_ignore_ascii_case(other),
        };
        let schemas = schema.as_deref().zip(self.schema.as_deref());
        same(&name, &self.name) && schemas.is_none_or(|(one, other)| same(one, other))
    }
}
