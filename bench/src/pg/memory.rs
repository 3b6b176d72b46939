//! What a session takes while it is idle, beside pgbouncer's.

use anyhow::Result;

use crate::Extent;
use crate::memory::{heading, measured};
use crate::pg::pgbouncer::{Logins, PgBouncer};
use crate::sessions::{self, Door, Engine};
use crate::stacks;

pub(crate) fn run(extent: Extent) -> Result<()> {
    let mut stack = stacks::for_sessions(extent.sessions, Engine::PostgreSql)?;
    heading(extent.sessions);
    let door = Door::portcullis(&stack, Engine::PostgreSql)?;
    measured("Portcullis", (stack.server().identity().pid, &door), extent.sessions)?;
    sessions::all_gone(&stack, Engine::PostgreSql)?;
    // It keeps its server connections after their clients have gone.
    let pgbouncer = PgBouncer::start(&stack, extent.sessions, Logins::Kept)?;
    let door = Door::pgbouncer(&stack, &pgbouncer);
    measured("pgbouncer", (pgbouncer.pid(), &door), extent.sessions)?;
    println!(
        "
Proportional set size (`/proc/PID/smaps_rollup`); each session has run one statement, so that pgbouncer has a server
connection for it, too. What the kernel holds for the two sockets is in neither figure."
    );
    Ok(())
}
