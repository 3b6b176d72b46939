//! What a server says of itself when the doctor asks.

use super::connection::Connection;
use crate::provision::connection::Trouble;
use crate::provision::seen::Facts;

const FACTS: &str = "\
SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS INTEGER), @@max_connections,
  (SELECT VARIABLE_VALUE FROM information_schema.global_status WHERE VARIABLE_NAME = 'THREADS_CONNECTED')";

/// Asks for them.
pub(crate) async fn facts(connection: &Connection) -> Result<Facts, Trouble> {
    let rows = connection.rows("say how it is", FACTS).await?;
    let row = rows.first().ok_or(Trouble::Late("say how it is"))?;
    Ok(Facts {
        now: i64::try_from(row.number(0)).unwrap_or(i64::MAX),
        connections_max: u32::try_from(row.number(1)).unwrap_or(u32::MAX),
        connections_used: u32::try_from(row.number(2)).unwrap_or(u32::MAX),
    })
}
