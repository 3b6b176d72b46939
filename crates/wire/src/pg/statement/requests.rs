//! The client's side: each message applied to the names, and noted as to be answered.

use std::sync::Arc;

use super::named::{Portal, Prepared, name};
use super::pending::{Expectation, Run, Undo};
use super::text::{self, Statement, StatementProtocol};
use super::{LimitExceeded, Note, Outcome, Reading, Tracker};
use crate::pg::frontend::{self, Target};
use crate::pg::limits::{PORTALS_MAX, STATEMENTS_MAX};

impl Tracker {
    fn begin(&mut self, mark: u64) -> Run {
        self.last_number = self.last_number.saturating_add(1);
        Run { number: self.last_number, mark }
    }

    /// Whether the server will pass over what the client sends now.
    fn is_unread(&self) -> bool {
        self.reading != Reading::Messages
    }

    fn expect(&mut self, expectation: Expectation) {
        self.owed = self.owed.saturating_add(usize::from(expectation.ends_with_ready()));
        self.pending.push_back(expectation);
    }

    /// A statement that the server will not read: it is recorded all the same.
    pub(super) fn skipped(&mut self, run: Run) {
        self.outcomes.push_back(Outcome::of(run, Note::Skipped));
    }

    pub(super) fn query<'a>(&mut self, query: &frontend::Query<'a>, mark: u64) -> Statement<'a> {
        let run = self.begin(mark);
        if self.is_unread() {
            self.skipped(run);
        } else {
            let deallocated = if self.statements.is_empty() {
                Vec::new()
            } else {
                text::deallocated(&query.text)
            };
            // A simple query drops the unnamed statement and portal (`exec_simple_query`).
            let former = self.statements.remove(b"".as_slice());
            self.portals.remove(b"".as_slice());
            let undo = Undo::Statement { name: name(b""), former };
            self.expect(Expectation::Query { run, deallocated, undo });
        }
        let protocol = if self.replication {
            StatementProtocol::Replication
        } else {
            StatementProtocol::Simple
        };
        Statement::query(run.number, protocol, query.text)
    }

    pub(super) fn parse(&mut self, parse: &frontend::Parse<'_>) -> Result<(), LimitExceeded> {
        if self.is_unread() {
            return Ok(());
        }
        let prepared = Prepared::new(parse, self.encoding.clone(), &self.budget)?;
        let prepared = Arc::new(prepared);
        let name = name(parse.statement);
        let former = self.statements.insert(name.clone(), Arc::clone(&prepared));
        if self.statements.len() > STATEMENTS_MAX {
            return Err(LimitExceeded::Statements);
        }
        self.expect(Expectation::Parse { prepared, undo: Undo::Statement { name, former } });
        Ok(())
    }

    pub(super) fn bind(&mut self, bind: &frontend::Bind<'_>) -> Result<(), LimitExceeded> {
        if self.is_unread() {
            return Ok(());
        }
        let prepared = self.statements.get(name(bind.statement).as_ref()).map(Arc::clone);
        let portal = Arc::new(Portal::new(bind, prepared, &self.budget)?);
        let name = name(bind.portal);
        let former = self.portals.insert(name.clone(), Arc::clone(&portal));
        if self.portals.len() > PORTALS_MAX {
            return Err(LimitExceeded::Portals);
        }
        // After an error the unnamed portal is of no use any more; keeping every former one would keep a whole pipeline.
        let former = former.filter(|_| !name.is_empty());
        self.expect(Expectation::Bind { portal, undo: Undo::Portal { name, former } });
        Ok(())
    }

    pub(super) fn execute<'a>(
        &mut self,
        execute: &frontend::Execute<'_>,
        mark: u64,
    ) -> Statement<'a> {
        let run = self.begin(mark);
        let portal = self.portals.get(name(execute.portal).as_ref()).map(Arc::clone);
        let statement = match &portal {
            Some(portal) => Statement::portal(run.number, Arc::clone(portal)),
            None => Statement::unknown_portal(run.number, execute.portal),
        };
        if self.is_unread() {
            self.skipped(run);
        } else {
            self.expect(Expectation::Execute { run, portal });
        }
        statement
    }

    pub(super) fn function_call<'a>(
        &mut self,
        call: &frontend::FunctionCall<'a>,
        mark: u64,
    ) -> Statement<'a> {
        let run = self.begin(mark);
        if self.is_unread() {
            self.skipped(run);
        } else {
            self.expect(Expectation::FunctionCall { run });
        }
        Statement::function(run.number, call)
    }

    pub(super) fn describe(&mut self, target: &Target<'_>) {
        if self.is_unread() {
            return;
        }
        let (prepared, portal) = match target {
            Target::Statement(statement) => {
                (self.statements.get(name(statement).as_ref()).map(Arc::clone), None)
            }
            Target::Portal(portal) => {
                (None, self.portals.get(name(portal).as_ref()).map(Arc::clone))
            }
        };
        self.expect(Expectation::Describe { prepared, portal });
    }

    pub(super) fn close(&mut self, target: &Target<'_>) {
        if self.is_unread() {
            return;
        }
        let undo = match target {
            Target::Statement(statement) => {
                let name = name(statement);
                let former = self.statements.remove(name.as_ref());
                Undo::Statement { name, former }
            }
            Target::Portal(portal) => {
                let name = name(portal);
                let former = self.portals.remove(name.as_ref());
                Undo::Portal { name, former }
            }
        };
        self.expect(Expectation::Close { undo });
    }

    /// Whether nobody could say afterwards what became of a message that comes now: a simple COPY either reads it and
    /// fails, or has failed before and it is obeyed; behind a Sync that COPY may have read it is obeyed or skipped.
    pub(super) fn is_in_copy(&self) -> bool {
        match self.pending.front() {
            Some(Expectation::Query { .. }) => self.reading == Reading::CopyIn,
            Some(Expectation::Execute { .. }) => {
                let is_sync = |each: &Expectation| matches!(each, Expectation::Sync);
                self.swallowed > 0 && !self.pending.iter().any(is_sync)
            }
            _ => false,
        }
    }

    pub(super) fn sync(&mut self) {
        if self.reading == Reading::CopyIn {
            self.swallowed = self.swallowed.saturating_add(1);
            return;
        }
        self.reading = Reading::Messages;
        self.expect(Expectation::Sync);
    }

    pub(super) fn copy_ends(&mut self) {
        match self.reading {
            Reading::CopyIn => self.reading = Reading::Messages,
            Reading::Messages if !self.pending.is_empty() => self.expect(Expectation::CopyEnd),
            Reading::Messages | Reading::Skipping => {}
        }
    }
}
