//! What a server says of itself when the doctor asks.

use super::connection::Connection;
use crate::provision::connection::Trouble;
use crate::provision::seen::Facts;

const FACTS: &str = "\
SELECT json_build_object(
  'now', (extract(epoch FROM clock_timestamp()) * 1000000)::int8,
  'connections_max', greatest(current_setting('max_connections')::int4
    - current_setting('superuser_reserved_connections')::int4
    - coalesce(current_setting('reserved_connections', true)::int4, 0), 0),
  'connections_used', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'))::text";

/// Asks for them.
pub(crate) async fn facts(connection: &Connection) -> Result<Facts, Trouble> {
    connection.ask("say how it is", FACTS, &[]).await
}
