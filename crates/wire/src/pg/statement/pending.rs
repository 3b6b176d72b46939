//! What a client's message still has to be answered with, and how to take back what it did to the names.

use std::sync::Arc;

use super::named::{Name, Portal, Prepared};
use super::relations::Relations;

/// One statement that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) mark: u64,
}

/// A message that was sent and is not answered.
#[derive(Debug)]
pub(super) enum Expectation {
    /// Any answers, then ReadyForQuery.
    Query { run: Run, deallocated: Vec<Name>, undo: Undo },
    /// FunctionCallResponse and ReadyForQuery.
    FunctionCall { run: Run },
    /// ParseComplete.
    Parse { prepared: Arc<Prepared>, undo: Undo },
    /// BindComplete.
    Bind { portal: Arc<Portal>, undo: Undo },
    /// ParameterDescription (of a statement), then RowDescription or NoData.
    Describe { prepared: Option<Arc<Prepared>>, portal: Option<Arc<Portal>> },
    /// CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute { run: Run, portal: Option<Arc<Portal>> },
    /// CloseComplete.
    Close { undo: Undo },
    /// ReadyForQuery.
    Sync,
    /// Nothing: the client's COPY data ended here.
    CopyEnd,
}

/// Puts a name back to what it meant before.
#[derive(Debug)]
pub(super) enum Undo {
    Statement { name: Name, former: Option<Arc<Prepared>> },
    Portal { name: Name, former: Option<Arc<Portal>> },
}

impl Expectation {
    pub(super) fn ends_with_ready(&self) -> bool {
        matches!(self, Self::Query { .. } | Self::FunctionCall { .. } | Self::Sync)
    }

    /// The statement that it runs.
    pub(super) fn run(&self) -> Option<Run> {
        match self {
            Self::Query { run, .. } | Self::FunctionCall { run } | Self::Execute { run, .. } => {
                Some(*run)
            }
            Self::Parse { .. }
            | Self::Bind { .. }
            | Self::Describe { .. }
            | Self::Close { .. }
            | Self::Sync
            | Self::CopyEnd => None,
        }
    }

    /// The tables of the rows that an Execute gives.
    pub(super) fn relations(&self) -> Relations {
        match self {
            Self::Execute { portal: Some(portal), .. } => portal.relations().get(),
            _ => Relations::default(),
        }
    }

    /// Whether this message's failure is why `later` cannot run.
    pub(super) fn caused(&self, later: &Self) -> bool {
        let Self::Execute { portal: Some(portal), .. } = later else { return false };
        let of = |prepared: &Arc<Prepared>| {
            portal.prepared.as_ref().is_some_and(|other| Arc::ptr_eq(prepared, other))
        };
        match self {
            Self::Parse { prepared, .. } | Self::Describe { prepared: Some(prepared), .. } => {
                of(prepared)
            }
            Self::Bind { portal: bound, .. } => Arc::ptr_eq(bound, portal),
            Self::Query { .. }
            | Self::FunctionCall { .. }
            | Self::Describe { prepared: None, .. }
            | Self::Execute { .. }
            | Self::Close { .. }
            | Self::Sync
            | Self::CopyEnd => false,
        }
    }

    pub(super) fn into_undo(self) -> Option<Undo> {
        match self {
            Self::Query { undo, .. }
            | Self::Parse { undo, .. }
            | Self::Bind { undo, .. }
            | Self::Close { undo } => Some(undo),
            Self::FunctionCall { .. }
            | Self::Describe { .. }
            | Self::Execute { .. }
            | Self::Sync
            | Self::CopyEnd => None,
        }
    }

    /// The name of the statement that it makes.
    pub(super) fn parsed(&self) -> Option<&Name> {
        match self {
            Self::Parse { undo: Undo::Statement { name, .. }, .. } => Some(name),
            _ => None,
        }
    }

    /// The name of the portal that it makes.
    pub(super) fn bound(&self) -> Option<&Name> {
        match self {
            Self::Bind { undo: Undo::Portal { name, .. }, .. } => Some(name),
            _ => None,
        }
    }

    /// The statement that its name meant before exists no more.
    pub(super) fn forget_former(&mut self) {
        match self {
            Self::Query { undo: Undo::Statement { former, .. }, .. }
            | Self::Parse { undo: Undo::Statement { former, .. }, .. }
            | Self::Close { undo: Undo::Statement { former, .. } } => *former = None,
            _ => {}
        }
    }
}
