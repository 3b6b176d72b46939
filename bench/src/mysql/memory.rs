//! What a session takes while it is idle, beside haproxy's.

use anyhow::Result;

use super::ways::Ways;
use crate::Extent;
use crate::memory::{heading, measured};
use crate::sessions::{self, Engine};

pub(crate) fn run(extent: Extent) -> Result<()> {
    let ways = Ways::start(extent.sessions)?;
    heading(extent.sessions);
    for way in ways.ways.iter().rev() {
        if let Some(pid) = way.proxy {
            measured(way.name, (pid, &way.door), extent.sessions)?;
            sessions::all_gone(&ways.stack, Engine::MariaDb)?;
        }
    }
    println!(
        "
Proportional set size (`/proc/PID/smaps_rollup`). haproxy holds no TLS and knows nothing of what it carries. What the
kernel holds for the two sockets is in neither figure."
    );
    Ok(())
}
