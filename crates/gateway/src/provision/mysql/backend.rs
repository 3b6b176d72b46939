//! A user's sessions on the server. They are told apart by their numbers, which only grow.
//!
//! The list is `information_schema.processlist` on MySQL, too, although that would rather be asked elsewhere:
//! `performance_schema.processlist` is empty when nobody measures, and lacks those for which it has no room.

use super::connection::{Connection, Row};
use super::quote::literal;
use crate::provision::connection::Trouble;
use crate::provision::seen::Backends;

/// `ER_NO_SUCH_THREAD`: it ended by itself.
const GONE: u16 = 1094;

/// The number of the newest connection.
pub(crate) async fn now(connection: &Connection) -> Result<String, Trouble> {
    let sql = format!("SELECT {}", connection.catalog.status("Connections"));
    let rows = connection.rows("say how many connections there were", &sql).await?;
    let newest = rows.first().map(|row| row.number(0));
    newest.map(|newest| newest.to_string()).ok_or(Trouble::Lacking("count its connections"))
}

async fn ids(connection: &Connection, user: &str, which: &Backends) -> Result<Vec<u64>, Trouble> {
    let newest = match which {
        Backends::All => u64::MAX,
        Backends::Before(number) => number.parse().unwrap_or(u64::MAX),
    };
    let sql = format!(
        "SELECT ID FROM information_schema.processlist WHERE BINARY USER = {} AND ID <= {newest} \
         AND COMMAND <> 'Killed'",
        literal(user)
    );
    let rows = connection.rows("list backends", &sql).await?;
    Ok(rows.iter().map(|row| row.number(0)).collect())
}

/// Ends sessions of a user, and what runs in them.
pub(crate) async fn terminate(
    connection: &Connection,
    user: &str,
    which: &Backends,
) -> Result<(), Trouble> {
    for id in ids(connection, user, which).await? {
        kill(connection, id).await?;
    }
    Ok(())
}

async fn kill(connection: &Connection, id: u64) -> Result<(), Trouble> {
    match connection.run("end backends", &format!("KILL CONNECTION {id}")).await {
        Err(Trouble::MySql { number: GONE, .. }) => Ok(()),
        ended => ended,
    }
}

/// How many sessions of a user are left, those included that were told to end and have not yet.
pub(crate) async fn count(
    connection: &Connection,
    user: &str,
    which: &Backends,
) -> Result<u64, Trouble> {
    let newest = match which {
        Backends::All => u64::MAX,
        Backends::Before(number) => number.parse().unwrap_or(u64::MAX),
    };
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE BINARY USER = {} AND ID <= {newest}",
        literal(user)
    );
    let rows = connection.rows("count backends", &sql).await?;
    rows.first().map(|row| row.number(0)).ok_or(Trouble::Lacking("count backends"))
}

/// Ends these sessions, each if it is the user's beside it; which there were.
pub(crate) async fn terminate_each(
    connection: &Connection,
    backends: &[(&str, u32)],
) -> Result<Vec<u32>, Trouble> {
    let sql = "SELECT ID, USER FROM information_schema.processlist WHERE COMMAND <> 'Killed'";
    let there = connection.rows("list backends", sql).await?;
    let mut ended = Vec::new();
    for (user, id) in backends {
        let is_theirs = |row: &&Row| row.number(0) == u64::from(*id) && row.text(1) == *user;
        if there.iter().any(|row| is_theirs(&row)) {
            kill(connection, u64::from(*id)).await?;
            ended.push(*id);
        }
    }
    Ok(ended)
}
