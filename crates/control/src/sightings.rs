//! Tables that sessions got rows from, by oid: what whoever can ask the server's catalogue has to name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::ServerName;
use tokio::sync::watch;

/// Oids kept of one database, and databases of one server; what is beyond has no name in the log.
const OIDS_MAX: usize = 20_000;
const DATABASES_MAX: usize = 256;

/// Oids by database.
pub type Sighted = BTreeMap<String, BTreeSet<u32>>;

/// What was seen since the process began. Copies are handles to the same.
#[derive(Clone, Debug)]
pub struct Sightings {
    seen: Arc<Mutex<BTreeMap<ServerName, Sighted>>>,
    /// Counts what was seen for the first time.
    news: watch::Sender<u64>,
}

impl Default for Sightings {
    fn default() -> Self {
        Self { seen: Arc::default(), news: watch::Sender::new(0) }
    }
}

impl Sightings {
    /// Notes oids; wakes who waits only for those that were never seen before, and for a database that was not.
    pub(crate) fn note(&self, server: &ServerName, database: &str, oids: &[u32]) {
        let mut seen = self.lock();
        if !seen.contains_key(server) {
            seen.insert(server.clone(), Sighted::new());
        }
        let Some(databases) = seen.get_mut(server) else { return };
        let before = databases.len();
        if !databases.contains_key(database) && before < DATABASES_MAX {
            databases.insert(database.to_owned(), BTreeSet::new());
        }
        let first = databases.len() > before;
        let Some(known) = databases.get_mut(database) else { return };
        let before = known.len();
        for oid in oids {
            if known.len() < OIDS_MAX {
                known.insert(*oid);
            }
        }
        if first || known.len() > before {
            self.news.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Everything seen on a server.
    pub fn on(&self, server: &ServerName) -> Sighted {
        self.lock().get(server).cloned().unwrap_or_default()
    }

    /// Changes when something is seen for the first time, on whichever server.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServerName, Sighted>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_wakes_and_each_database_has_its_own() {
        let sightings = Sightings::default();
        let mut news = sightings.news();
        let orders: ServerName = "orders".parse().unwrap();
        let mut note = |database: &str, oids: &[u32]| {
            sightings.note(&orders, database, oids);
            let woken = news.has_changed().unwrap();
            news.mark_unchanged();
            woken
        };
        assert!(note("a", &[7, 9]));
        assert!(!note("a", &[9, 7]));
        assert!(note("b", &[7]));
        assert!(note("c", &[]));
        assert!(!note("c", &[]));
        let expected = [
            ("a".to_owned(), [7, 9].into()),
            ("b".to_owned(), [7].into()),
            ("c".to_owned(), [].into()),
        ];
        assert_eq!(sightings.on(&orders), expected.into());
        assert_eq!(sightings.on(&"other".parse().unwrap()), Sighted::new());
    }
}
