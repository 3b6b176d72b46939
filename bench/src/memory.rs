//! What a session takes while it is idle.

use std::time::Duration;

use anyhow::Result;
use testkit::wait;

use crate::sessions::{Door, Memory};

/// Opened and closed before memory is looked at: what is made once has been made then.
const WARM_UP: usize = 8;
/// So long nobody does anything.
const IDLE: Duration = Duration::from_secs(3);

pub(crate) fn heading(sessions: usize) {
    println!(
        "{:<12}{:>16}{:>20}{:>18}{:>18}{:>20}{:>16}",
        "",
        "none, KiB",
        format!("{sessions} idle, KiB"),
        "KiB a session",
        "of it the heap",
        "of it mapped files",
        "after, KiB"
    );
}

/// A line of the table: this process, with and without sessions that came through this door.
pub(crate) fn measured(name: &str, (pid, door): (u32, &Door), sessions: usize) -> Result<()> {
    drop(door.open_many(WARM_UP)?);
    wait::pause(IDLE);
    let none = Memory::of(pid)?;
    let open = door.open_many(sessions)?;
    wait::pause(IDLE);
    let idle = Memory::of(pid)?;
    drop(open);
    wait::pause(IDLE);
    let each = |of: fn(&Memory) -> u64| per_session((of(&none), of(&idle)), sessions);
    println!(
        "{name:<12}{:>16}{:>20}{:>18.1}{:>18.1}{:>20.1}{:>16}",
        none.all,
        idle.all,
        each(|memory| memory.all)?,
        each(|memory| memory.anonymous)?,
        each(|memory| memory.files)?,
        Memory::of(pid)?.all,
    );
    Ok(())
}

/// Less than nothing where others have given back more than the sessions took.
pub(crate) fn per_session((before, after): (u64, u64), sessions: usize) -> Result<f64> {
    let grown = i32::try_from(after)? - i32::try_from(before)?;
    Ok(f64::from(grown) / f64::from(u32::try_from(sessions)?))
}
