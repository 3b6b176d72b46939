//! Names for the oids that outcomes hold: asked of the catalogue away from the data path, and recorded.
//!
//! A name is looked up when its oid is seen for the first time, and all of them again every minute while there are any,
//! so that what was renamed is noticed. What the log says already is said again once a day, so that a reader of one day
//! finds the names of that day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::Sighted;
use model::Timestamp;
use model::event::{Relation, RelationNamed};
use model::kind::server::Engine;

use super::connection::Trouble;
use super::pg::relation;
use super::server::Server;

/// Names are asked for again this often.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// What stands is recorded again this often.
const SAY_EVERY: Duration = Duration::from_hours(24);
/// Why a table has no name.
const NOT_ASKED: &str = "the database could not be asked";
/// Oids in one question.
const OIDS_AT_ONCE: usize = 500;

/// Which table: of a database, by oid or by name.
type Which = (String, Result<u32, String>);

/// What the log says.
type Said = BTreeMap<Which, (RelationNamed, Timestamp)>;

/// Until the server is over.
pub(super) async fn watch(server: Arc<Server>) {
    let clock = server.dialler.clock.clone();
    let shutdown = server.dialler.tasks.shutdown().clone();
    let mut news = server.control.live().sightings().news();
    let mut said = Said::new();
    let mut databases = 0;
    let mut due = clock.now().plus(LOOK_EVERY);
    loop {
        news.mark_unchanged();
        let again = clock.now() >= due;
        if again {
            due = clock.now().plus(LOOK_EVERY);
        }
        let sighted = server.control.live().sightings().on(&server.name);
        if server.names_all_tables() {
            let first = sighted.len() > databases;
            databases = sighted.len();
            if first || (again && server.is_used()) {
                server.name_tables(&mut said).await;
            }
        } else {
            server.name_relations(&mut said, (sighted, again)).await;
        }
        tokio::select! {
            // Cancel-safe, all of them: what is not seen now is seen the next time.
            changed = news.changed() => if changed.is_err() { return },
            () = clock.sleep_until(due) => {}
            () = shutdown.requested() => return,
            () = server.over.requested() => return,
        }
    }
}

impl Server {
    /// Whether its outcomes name none.
    fn names_all_tables(&self) -> bool {
        let document = self.document(&self.control.snapshots().load());
        document.is_ok_and(|document| document.spec.engine == Engine::MySql)
    }

    fn is_used(&self) -> bool {
        self.control.live().list().iter().any(|session| session.server == self.name)
    }

    async fn name_tables(&self, said: &mut Said) {
        let found = match self.ask_tables().await {
            Ok(found) => found,
            // Nobody there may be asked: names stay unknown, and records say so.
            Err(Trouble::Shared) => return,
            Err(trouble) => {
                tracing::warn!(server = %self.name, %trouble, "tables cannot be named");
                return;
            }
        };
        let named = found.into_iter().map(|relation| {
            let which = (relation.schema.clone(), Err(relation.name.clone()));
            let named = RelationNamed {
                server: self.name.clone(),
                database: relation.schema.clone(),
                oid: None,
                relation: Some(relation),
                because: None,
            };
            (which, named)
        });
        self.say(said, named);
    }

    /// Not over the standing connection: whoever has to end a session does not wait behind this.
    async fn ask_tables(&self) -> Result<Vec<Relation>, Trouble> {
        let document = self.document(&self.control.snapshots().load())?;
        let inside = self.dialler.connect(&document, &document.spec.maintenance_database).await?;
        inside.all_relations().await
    }

    /// `again`: what has a name too.
    async fn name_relations(&self, said: &mut Said, (sighted, again): (Sighted, bool)) {
        for (database, seen) in sighted {
            let wanted: Vec<u32> = seen
                .into_iter()
                .filter(|oid| again || !said.contains_key(&(database.clone(), Ok(*oid))))
                .collect();
            for oids in wanted.chunks(OIDS_AT_ONCE) {
                let found = self.ask_names(&database, oids).await;
                if matches!(found, Err(Trouble::Shared)) {
                    return;
                }
                if let Err(trouble) = &found {
                    tracing::warn!(server = %self.name, database, %trouble, "tables cannot be named");
                }
                let named = oids
                    .iter()
                    .map(|oid| ((database.clone(), Ok(*oid)), self.named(&database, *oid, &found)));
                self.say(said, named);
            }
        }
    }

    async fn ask_names(
        &self,
        database: &str,
        oids: &[u32],
    ) -> Result<Vec<relation::Relation>, Trouble> {
        let document = self.document(&self.control.snapshots().load())?;
        if document.spec.maintenance_database == database {
            let connection = self.standing(&document).await?;
            return connection.relations(oids).await;
        }
        let inside = self.dialler.connect(&document, database).await?;
        inside.relations(oids).await
    }

    /// Records what the log does not say yet, or has not said for a day.
    fn say(&self, said: &mut Said, named: impl Iterator<Item = (Which, RelationNamed)>) {
        let now = self.dialler.clock.now();
        let mut news = Vec::new();
        for (which, named) in named {
            let stands = said.get(&which).is_some_and(|(known, at)| {
                let failed = named.because.as_deref() == Some(NOT_ASKED);
                let same = *known == named || (failed && known.relation.is_some());
                same && now.since(*at) < SAY_EVERY
            });
            if !stands {
                said.insert(which, (named.clone(), now));
                news.push(named);
            }
        }
        if news.is_empty() {
            return;
        }
        if let Err(error) = self.control.record_names(news) {
            tracing::error!(%error, "names of tables could not be recorded");
        }
    }

    fn named(
        &self,
        database: &str,
        oid: u32,
        found: &Result<Vec<relation::Relation>, Trouble>,
    ) -> RelationNamed {
        let (relation, because) = match found {
            Err(_) => (None, Some(NOT_ASKED.to_owned())),
            Ok(found) => match found.iter().find(|relation| relation.oid == oid) {
                Some(relation) => (Some(described(relation)), None),
                None => {
                    (None, Some("it was gone, or not committed, when it was looked up".to_owned()))
                }
            },
        };
        RelationNamed {
            server: self.name.clone(),
            database: database.to_owned(),
            oid: Some(oid),
            relation,
            because,
        }
    }
}

fn described(relation: &relation::Relation) -> Relation {
    let relation::Relation { oid: _, schema, name, kind, on_read, on_write, over } =
        relation.clone();
    let kind = match kind {
        'r' => "table",
        'p' => "partitionedTable",
        'v' => "view",
        'm' => "materializedView",
        'f' => "foreignTable",
        'S' => "sequence",
        'i' | 'I' => "index",
        't' => "toastTable",
        'c' => "compositeType",
        _ => "relation",
    };
    Relation { schema, name, kind: kind.to_owned(), on_read, on_write, over }
}
