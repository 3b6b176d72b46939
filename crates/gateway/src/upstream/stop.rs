//! Ending the backend of a session whose user is shared: there is no provisioner's connection to do it on, so it is done
//! as that user, who may end what is its own.

use std::time::Duration;

use model::kind::server::{DatabaseServer, Engine};
use model::{Document, code};

use super::proof::{self, Identity};
use crate::Shared;
use crate::dialect::{self, CancelKey, Wish};
use crate::outcome::Denied;

/// From dialling to the server's answer.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Cancels what a PostgreSQL backend runs, which then reads that its client is gone; ends a MySQL connection.
pub(crate) async fn stop_shared(
    gateway: &Shared,
    server: &Document<DatabaseServer>,
    (user, key): (&str, &CancelKey),
) -> Result<(), Denied> {
    let stopping = async {
        match server.spec.engine {
            Engine::PostgreSql => dialect::cancel_upstream(server, key).await,
            Engine::MySql => kill(gateway, server, (user, key.pid)).await,
        }
    };
    tokio::time::timeout(STOPPED_WITHIN, stopping).await.unwrap_or_else(|_| {
        Err(Denied::new(&code::UPSTREAM_UNREACHABLE, "the database server did not answer in time"))
    })
}

async fn kill(
    gateway: &Shared,
    server: &Document<DatabaseServer>,
    (user, number): (&str, u32),
) -> Result<(), Denied> {
    let Identity { user, certificate, proof } = proof::shared(gateway, server, user).await?;
    let mut dialled = gateway.contexts.dial(server, certificate, Wish::anything(server)).await?;
    dialect::enter_mysql(&mut dialled, &user, &proof).await?;
    dialect::kill_mysql(&mut dialled, number).await
}
