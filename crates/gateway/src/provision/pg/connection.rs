//! A connection of the provisioner's to PostgreSQL.

use access::database_user::PROVISIONER;
use runtime::Tasks;
use serde::de::DeserializeOwned;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

use crate::provision::connection::Trouble;
use crate::tls::Stream;

/// The server itself ends what takes longer, so that a lost network leaves nothing behind.
const SETTINGS: &str = "\
SET search_path = pg_catalog, pg_temp;
SET statement_timeout = '20s';
SET lock_timeout = '5s';
SET idle_in_transaction_session_timeout = '20s';
SET standard_conforming_strings = on;
SET client_min_messages = warning;
SET timezone = 'UTC';
";

const WHO: &str = "\
SELECT json_build_array(current_setting('server_version_num')::int4, r.rolsuper)::text
FROM pg_roles r WHERE r.rolname = current_user";

/// A parameter and its type, so that a statement takes one round trip.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// An open connection as the provisioner.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    /// `server_version_num`.
    pub(crate) version: u32,
    /// Whether the provisioner is a superuser: on test stacks only.
    pub(crate) superuser: bool,
}

/// Logs in over a connection inside TLS.
pub(crate) async fn open(
    stream: Stream,
    database: &str,
    tasks: &Tasks,
) -> Result<Connection, Trouble> {
    let mut config = Config::new();
    config.user(PROVISIONER).dbname(database).application_name("portcullis");
    let (client, connection) = config
        .connect_raw(stream, NoTls)
        .await
        .map_err(|source| Trouble::Sql { attempt: "let the provisioner in", source })?;
    let ended = tasks.spawn("provisioner-connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of the provisioner ended");
        }
    });
    drop(ended);
    Connection::begin(client).await
}

impl Connection {
    async fn begin(client: Client) -> Result<Self, Trouble> {
        let mut connection = Self { client, version: 0, superuser: false };
        connection.run("take the provisioner's settings", SETTINGS).await?;
        let (version, superuser) = connection.ask("say who the provisioner is", WHO, &[]).await?;
        (connection.version, connection.superuser) = (version, superuser);
        Ok(connection)
    }

    /// Whether it still stands.
    pub(crate) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Runs statements as one: they become true together, or none does.
    pub(crate) async fn run(&self, attempt: &'static str, statements: &str) -> Result<(), Trouble> {
        self.client
            .batch_execute(statements)
            .await
            .map_err(|source| Trouble::Sql { attempt, source })
    }

    /// Asks for one JSON value.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        attempt: &'static str,
        question: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<T, Trouble> {
        let row = self
            .client
            .query_typed_one(question, parameters)
            .await
            .map_err(|source| Trouble::Sql { attempt, source })?;
        let text: String = row.try_get(0).map_err(|source| Trouble::Sql { attempt, source })?;
        serde_json::from_str(&text).map_err(|source| Trouble::Answer { attempt, source })
    }
}
