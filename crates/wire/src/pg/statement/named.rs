//! Prepared statements and portals by name, and the memory that they take.

use std::sync::{Arc, OnceLock};

use super::relations::DescribedRows;
use super::text::deallocated;
use super::{LimitExceeded, Tracker};
use crate::budget::{Budget, Charge};
use crate::pg::frontend::{self, Format, Value};
use crate::pg::limits::{NAME_BYTES_MAX, TRACKER_BYTES_MAX};
use crate::pg::value::TypedValue;
use crate::pg::{Kept, Part};
use crate::value::Encoding;

/// A statement's or portal's name.
pub(super) type Name = Box<[u8]>;

/// Names that agree in their first 63 bytes are the same name.
pub(super) fn name(bytes: &[u8]) -> Name {
    bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes).into()
}

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) text: Kept,
    /// In which its text is.
    pub(super) encoding: Encoding,
    /// As the client gave them: perhaps zeros, perhaps too few.
    types: Vec<u32>,
    /// As the server described them.
    described: OnceLock<Vec<u32>>,
    pub(super) relations: DescribedRows,
    _charge: Charge,
}

impl Prepared {
    pub(super) fn new(
        parse: &frontend::Parse<'_>,
        encoding: Encoding,
        budget: &Budget,
    ) -> Result<Self, LimitExceeded> {
        let types = parse.types.len().saturating_mul(size_of::<u32>());
        let bytes = parse.text.start.len().saturating_add(types).saturating_add(OVERHEAD);
        let charge = budget.charge(bytes).ok_or(LimitExceeded::Bytes)?;
        Ok(Self {
            text: parse.text.into(),
            encoding,
            types: parse.types.clone(),
            described: OnceLock::new(),
            relations: DescribedRows::default(),
            _charge: charge,
        })
    }

    pub(super) fn describe(&self, types: Vec<u32>) {
        // The first description stands; a statement's types do not change.
        self.described.get_or_init(|| types);
    }

    fn type_oid(&self, index: usize) -> u32 {
        let types = self.described.get().unwrap_or(&self.types);
        types.get(index).copied().unwrap_or_default()
    }
}

/// A rough price of an entry besides its bytes.
const OVERHEAD: usize = 256;

/// Beyond half of the budget a bind value is kept by its beginning and digest only.
const VALUE_BYTES_SCARCE: usize = 256;

/// A prepared statement with values.
#[derive(Debug)]
pub(super) struct Portal {
    /// Unknown when SQL's PREPARE made it.
    pub(super) prepared: Option<Arc<Prepared>>,
    /// Name of the statement.
    pub(super) statement: Name,
    values: Vec<(Format, Option<Kept>)>,
    /// Of a statement that SQL's PREPARE made.
    relations: DescribedRows,
    _charge: Charge,
}

impl Portal {
    pub(super) fn new(
        bind: &frontend::Bind<'_>,
        prepared: Option<Arc<Prepared>>,
        budget: &Budget,
    ) -> Result<Self, LimitExceeded> {
        let scarce = budget.used() > TRACKER_BYTES_MAX / 2;
        let keep = |part: Part<'_>| -> Kept {
            if scarce { part.cut(VALUE_BYTES_SCARCE).into() } else { part.into() }
        };
        let values: Vec<_> =
            bind.values.iter().map(|value| (value.format, value.bytes.map(keep))).collect();
        let bytes = values.iter().fold(OVERHEAD, |sum, (_, value)| {
            sum.saturating_add(value.as_ref().map_or(size_of::<Kept>(), Kept::memory))
        });
        let charge = budget.charge(bytes).ok_or(LimitExceeded::Bytes)?;
        let (statement, relations) = (name(bind.statement), DescribedRows::default());
        Ok(Self { prepared, statement, values, relations, _charge: charge })
    }

    /// Where the tables of its rows are kept: with its statement, so that one description serves every Execute.
    pub(super) fn relations(&self) -> &DescribedRows {
        self.prepared.as_ref().map_or(&self.relations, |prepared| &prepared.relations)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = TypedValue<'_>> {
        self.values.iter().enumerate().map(|(index, (format, bytes))| TypedValue {
            value: Value { format: *format, bytes: bytes.as_ref().map(Kept::part) },
            type_oid: self.prepared.as_ref().map_or(0, |prepared| prepared.type_oid(index)),
        })
    }
}

impl Tracker {
    /// SQL that removes names removes them here. What is still on its way to the server stays.
    pub(super) fn forget_names(&mut self, tag: &[u8]) {
        match tag {
            b"DEALLOCATE" => self.deallocate(),
            b"DEALLOCATE ALL" => self.forget_statements(),
            b"DISCARD ALL" => {
                self.forget_statements();
                self.forget_portals();
            }
            b"CLOSE CURSOR" | b"CLOSE CURSOR ALL" => self.forget_portals(),
            _ => {}
        }
    }

    fn deallocate(&mut self) {
        use super::Expectation;
        let names = match self.pending.front() {
            Some(Expectation::Query { deallocated, .. }) => deallocated.clone(),
            Some(Expectation::Execute { portal: Some(portal), .. }) => {
                portal.prepared.as_ref().map(|p| deallocated(&p.text.part())).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if names.is_empty() {
            self.forget_statements();
        }
        let on_their_way = self.pending_statements();
        for name in names {
            if !on_their_way.contains(&name) {
                self.statements.remove(name.as_ref());
            }
        }
    }

    fn pending_statements(&self) -> Vec<Name> {
        let pending = self.pending.iter().filter_map(super::Expectation::parsed);
        pending.cloned().collect()
    }

    fn forget_statements(&mut self) {
        let on_their_way = self.pending_statements();
        self.statements.retain(|name, _| on_their_way.contains(name));
        self.pending.iter_mut().for_each(super::Expectation::forget_former);
    }

    /// Portals end with their transaction.
    pub(super) fn forget_portals(&mut self) {
        if self.pending.is_empty() {
            self.portals.clear();
            return;
        }
        let pending = self.pending.iter().filter_map(super::Expectation::bound);
        let on_their_way: Vec<Name> = pending.cloned().collect();
        self.portals.retain(|name, _| on_their_way.contains(name));
    }
}
