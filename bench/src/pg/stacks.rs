//! The ways that the parts of the comparison take.

use anyhow::Result;
use testkit::stack::Stack;

use crate::pg::pgbouncer::{Logins, PgBouncer};
use crate::pg::route::Route;
use crate::pg::workload;
use crate::sessions::Engine;
use crate::stacks::{FEW, for_sessions};

/// The three ways to pgbench's tables: the naked server, pgbouncer, Portcullis.
pub(crate) struct Ways {
    pub(crate) routes: [Route; 3],
    pub(crate) stack: Stack,
    _pgbouncer: PgBouncer,
}

impl Ways {
    pub(crate) fn start() -> Result<Self> {
        let mut stack = for_sessions(FEW, Engine::PostgreSql)?;
        let pgbouncer = PgBouncer::start(&stack, FEW, Logins::Kept)?;
        let routes = [
            Route::naked(&stack)?,
            Route::pgbouncer(&stack, &pgbouncer),
            Route::portcullis(&mut stack)?,
        ];
        let [naked, ..] = &routes;
        workload::prepare(naked)?;
        Ok(Self { routes, stack, _pgbouncer: pgbouncer })
    }
}
