//! What a server says of itself when the doctor asks.

use model::finding::Check;

use super::connection::Connection;
use super::weakness;
use crate::enrolment::mysql::Account;
use crate::provision::connection::Trouble;
use crate::provision::seen::Facts;

/// Asks for them.
pub(crate) async fn facts(connection: &Connection) -> Result<Facts, Trouble> {
    let sql = format!(
        "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED), @@max_connections, {}",
        connection.catalog.status("Threads_connected")
    );
    let rows = connection.rows("say how it is", &sql).await?;
    let row = rows.first().ok_or(Trouble::Lacking("say how it is"))?;
    Ok(Facts {
        now: i64::try_from(row.number(0)).unwrap_or(i64::MAX),
        connections_max: u32::try_from(row.number(1)).unwrap_or(u32::MAX),
        connections_used: u32::try_from(row.number(2)).unwrap_or(u32::MAX),
    })
}

/// What lets somebody in beside the gateway. `users` are ours.
pub(crate) async fn weaknesses(
    connection: &Connection,
    users: &[String],
) -> Result<Vec<(&'static Check, String)>, Trouble> {
    let attempt = "say how it is set";
    let [settings, accounts] = weakness::questions(connection.catalog);
    let settings = connection.rows(attempt, &settings).await?;
    let accounts = connection.rows(attempt, &accounts).await?;
    let hosts = connection.hosts();
    let is_ours =
        |account: &Account| users.contains(&account.user) && hosts.contains(&account.host);
    Ok(weakness::seen(connection.catalog, [settings, accounts]).checks(is_ours))
}
