//! What the comparisons stand on.

use anyhow::Result;
use testkit::postgres::Fsync;
use testkit::stack::{Beside, Options, Privileges, Stack};

use crate::sessions::Engine;

/// Beside the clients': the provisioner's, the server's own reserve, those that are ending.
const CONNECTIONS_BESIDE: usize = 100;
/// For parts without a crowd.
pub(crate) const FEW: usize = 100;

/// The tables fit into it.
const BUFFER_POOL: &str = "1G";

/// A stack that syncs as in production and has a superuser on either side of the gateway, for this many sessions with
/// this database.
pub(crate) fn for_sessions(count: usize, engine: Engine) -> Result<Stack> {
    let connections = count + CONNECTIONS_BESIDE;
    let limits = format!(
        "connectionsMax: {connections}, connectionsPerSourceMax: {connections}, \
         unauthenticatedPerSourceMax: {connections}"
    );
    let setting = |name: &str, value: usize| (name.to_owned(), value.to_string());
    let room = setting("max_connections", connections + FEW);
    let mut options = Options {
        privileges: Privileges::TestStack,
        fsync: Fsync::On,
        limits: limits.leak(),
        ..Options::default()
    };
    match engine {
        Engine::PostgreSql => options.postgres.push(room),
        Engine::MariaDb => {
            options.beside = Beside::MariaDb;
            let pool = ("innodb_buffer_pool_size".to_owned(), BUFFER_POOL.to_owned());
            options.mariadb = vec![room, pool];
        }
    }
    Stack::start(&options)
}
