//! What the parts of the comparison stand on.

use anyhow::Result;
use testkit::postgres::Fsync;
use testkit::stack::{Options, Privileges, Stack};

use crate::pgbouncer::{Logins, PgBouncer};
use crate::route::Route;
use crate::workload;

/// Beside the clients': the provisioner's, the server's own reserve, those that are ending.
const CONNECTIONS_BESIDE: usize = 100;
/// For parts without a crowd.
const FEW: usize = 100;

/// A stack that syncs as in production and has a superuser on either side of the gateway, for this many sessions.
pub(crate) fn for_sessions(count: usize) -> Result<Stack> {
    let connections = count + CONNECTIONS_BESIDE;
    let limits = format!(
        "connectionsMax: {connections}, connectionsPerSourceMax: {connections}, \
         unauthenticatedPerSourceMax: {connections}"
    );
    Stack::start(&Options {
        privileges: Privileges::TestStack,
        fsync: Fsync::On,
        postgres: vec![("max_connections".to_owned(), (connections + FEW).to_string())],
        limits: limits.leak(),
        ..Options::default()
    })
}

/// The three ways to pgbench's tables: the naked server, pgbouncer, Portcullis.
pub(crate) struct Ways {
    pub(crate) routes: [Route; 3],
    pub(crate) stack: Stack,
    _pgbouncer: PgBouncer,
}

impl Ways {
    pub(crate) fn start() -> Result<Self> {
        let mut stack = for_sessions(FEW)?;
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
