//! Prepared statements by number, and what is known of their parameters.
//!
//! The server numbers a statement when it answers; MariaDB's clients execute it before that under
//! [`LAST`], which means the one that was prepared last. So statements that are not answered yet wait in order.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::lexer::{Backslash, placeholders};
use super::limits::{STATEMENTS_MAX, VALUE_BYTES_MAX};
use super::statement::LimitExceeded;
use super::values::{Layout, LongData, Types};
use crate::budget::{Budget, Charge};
use crate::part::{Collector, Kept, Part};
use crate::value::Encoding;

/// The statement that was prepared last, in MariaDB's clients.
pub const LAST: u32 = u32::MAX;

/// A rough price of an entry besides its bytes.
const OVERHEAD: usize = 256;

/// A prepared statement's text.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) text: Kept,
    /// In which its text is.
    pub(crate) encoding: Encoding,
    /// What a backslash in it means.
    pub(crate) backslash: Backslash,
    /// After how many changes of the default database it was prepared.
    pub(crate) databases: u64,
    _charge: Charge,
}

#[derive(Debug)]
struct Entry {
    prepared: Arc<Prepared>,
    /// Parameters, once the server has said how many there are.
    count: Option<u16>,
    types: Types,
    long: BTreeMap<u16, Sent>,
}

/// Data sent ahead of an execute.
struct Sent {
    data: Collector,
    charge: Charge,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sent")
    }
}

/// The prepared statements of one session.
#[derive(Debug, Default)]
pub struct Statements {
    numbered: HashMap<u32, Entry>,
    /// Those that the server has not answered yet, in order.
    unnumbered: VecDeque<Entry>,
    last: Last,
    budget: Budget,
    /// More was sent ahead than may be kept.
    full: bool,
    pub(crate) backslash: Backslash,
    /// How often the default database has become another.
    pub(crate) databases: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    None,
    /// The last of those that are not answered.
    Unnumbered,
    Numbered(u32),
}

impl Statements {
    fn entry(&self, id: u32) -> Option<&Entry> {
        match (id, self.last) {
            (LAST, Last::None) => None,
            (LAST, Last::Unnumbered) => self.unnumbered.back(),
            (LAST, Last::Numbered(id)) | (id, _) => self.numbered.get(&id),
        }
    }

    fn entry_mut(&mut self, id: u32) -> Option<&mut Entry> {
        match (id, self.last) {
            (LAST, Last::None) => None,
            (LAST, Last::Unnumbered) => self.unnumbered.back_mut(),
            (LAST, Last::Numbered(id)) | (id, _) => self.numbered.get_mut(&id),
        }
    }

    /// The text behind a number.
    pub(crate) fn text(&self, id: u32) -> Option<Arc<Prepared>> {
        self.entry(id).map(|entry| Arc::clone(&entry.prepared))
    }

    /// A statement is sent to be prepared.
    pub(crate) fn prepare(
        &mut self,
        text: Part<'_>,
        encoding: Encoding,
    ) -> Result<(), LimitExceeded> {
        if self.numbered.len().saturating_add(self.unnumbered.len()) >= STATEMENTS_MAX {
            return Err(LimitExceeded::Statements);
        }
        let charge = self.budget.charge(text.start.len().saturating_add(OVERHEAD));
        let charge = charge.ok_or(LimitExceeded::Bytes)?;
        let (text, backslash, databases) = (text.into(), self.backslash, self.databases);
        let prepared = Prepared { text, encoding, backslash, databases, _charge: charge };
        let prepared = Arc::new(prepared);
        let (count, types, long) = (None, Types::default(), BTreeMap::new());
        self.unnumbered.push_back(Entry { prepared, count, types, long });
        self.last = Last::Unnumbered;
        Ok(())
    }

    /// The server has prepared the first of those that wait.
    pub(crate) fn numbered(&mut self, id: u32, parameters: u16) {
        let Some(mut entry) = self.unnumbered.pop_front() else { return };
        entry.count = Some(parameters);
        self.numbered.insert(id, entry);
        if self.last == Last::Unnumbered && self.unnumbered.is_empty() {
            self.last = Last::Numbered(id);
        }
    }

    /// The default database is another: what is prepared keeps the one that it was prepared in.
    pub(crate) fn another_database(&mut self) {
        self.databases = self.databases.saturating_add(1);
    }

    /// The server has refused the first of those that wait.
    pub(crate) fn refused(&mut self) {
        self.unnumbered.pop_front();
        if self.last == Last::Unnumbered && self.unnumbered.is_empty() {
            self.last = Last::None;
        }
    }

    /// A statement is closed.
    pub(crate) fn close(&mut self, id: u32) {
        let id = match (id, self.last) {
            (LAST, Last::Numbered(id)) => id,
            (id, _) => id,
        };
        self.numbered.remove(&id);
        if self.last == Last::Numbered(id) {
            self.last = Last::None;
        }
    }

    /// What was sent ahead counts no more.
    pub(crate) fn reset(&mut self, id: u32) {
        if let Some(entry) = self.entry_mut(id) {
            entry.long.clear();
        }
    }

    /// All statements that the server has numbered are gone.
    pub(crate) fn clear(&mut self) {
        self.numbered.clear();
        if self.last != Last::Unnumbered {
            self.last = Last::None;
        }
    }

    /// A piece of a parameter is sent ahead. Whether there was room for it says [`Self::is_full`].
    pub(crate) fn long_data(&mut self, id: u32, parameter: u16, piece: &[u8]) {
        let budget = self.budget.clone();
        let Some(entry) = self.entry_mut(id) else { return };
        if entry.count.is_some_and(|count| parameter >= count) {
            return;
        }
        let sent = match entry.long.entry(parameter) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => {
                let Some(charge) = budget.charge(OVERHEAD) else {
                    self.full = true;
                    return;
                };
                slot.insert(Sent { data: Collector::new(VALUE_BYTES_MAX), charge })
            }
        };
        let kept = sent.data.push(piece);
        if !sent.charge.grow(kept) {
            self.full = true;
        }
    }

    /// Whether more is kept than may be.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// What is known of a statement's parameters; what was sent ahead is for this execute only.
    pub(crate) fn layout(&mut self, id: u32) -> Option<Layout> {
        let entry = self.entry_mut(id)?;
        let count = if let Some(count) = entry.count {
            usize::from(count)
        } else {
            let text = entry.prepared.text.part();
            text.is_whole().then(|| placeholders(text.start, entry.prepared.backslash))?
        };
        let types = Arc::clone(&entry.types);
        if entry.long.is_empty() {
            return Some(Layout { count, types, long: LongData::default() });
        }
        let long = std::mem::take(&mut entry.long);
        let long = long.into_iter().map(|(parameter, sent)| (parameter, sent.data.finish()));
        Some(Layout { count, types, long: long.collect() })
    }

    /// An execute gave types.
    pub(crate) fn remember(&mut self, id: u32, types: &Types) {
        if let Some(entry) = self.entry_mut(id)
            && !Arc::ptr_eq(&entry.types, types)
        {
            entry.types = Arc::clone(types);
        }
    }
}
