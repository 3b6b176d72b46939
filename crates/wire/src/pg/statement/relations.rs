//! Tables that described rows come from, by oid.

use std::sync::{Arc, Mutex, PoisonError};

use crate::pg::backend;
use crate::pg::limits::RELATIONS_MAX;

/// Distinct oids in the order in which the columns name them, at most [`RELATIONS_MAX`].
pub type Relations = Arc<[u32]>;

/// Gathers oids in one place, and makes a list only when there is none that says the same.
#[derive(Debug, Default)]
pub(super) struct Collected {
    oids: Vec<u32>,
    /// What was made last: a session asks the same things over and over.
    last: Relations,
}

impl Collected {
    /// The rows of one more statement of a Query.
    pub(super) fn add(&mut self, row: &backend::Row<'_>) {
        let mut previous = 0;
        for table in row.iter().map(|column| column.table) {
            let news = table != 0 && table != previous && !self.oids.contains(&table);
            if news && self.oids.len() < RELATIONS_MAX {
                self.oids.push(table);
            }
            previous = table;
        }
    }

    /// The list of one description alone; `known` itself when it says the same.
    pub(super) fn only(&mut self, row: &backend::Row<'_>, known: &Relations) -> Relations {
        self.oids.clear();
        self.add(row);
        if **known == *self.oids {
            self.oids.clear();
            return Arc::clone(known);
        }
        self.take()
    }

    /// Everything since the last time.
    pub(super) fn take(&mut self) -> Relations {
        if self.oids.is_empty() {
            return Relations::default();
        }
        if *self.last != *self.oids {
            self.last = self.oids.as_slice().into();
        }
        self.oids.clear();
        Arc::clone(&self.last)
    }
}

/// The tables of a statement's rows, as they were described last.
#[derive(Debug, Default)]
pub(super) struct DescribedRows(Mutex<Relations>);

impl DescribedRows {
    pub(super) fn get(&self) -> Relations {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, next: impl FnOnce(&Relations) -> Relations) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = next(&known);
    }
}
