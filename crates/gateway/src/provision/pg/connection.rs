//! The provisioner's connections: one that stands for each server, and short ones into its databases.

use std::time::Duration;

use access::database_user::PROVISIONER;
use control::Keyring;
use keys::ClientLeaf;
use model::kind::server::DatabaseServer;
use model::{Document, Refusal, ServerName, SessionId, code};
use runtime::{Clock, Tasks};
use serde::de::DeserializeOwned;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

use crate::outcome::Denied;
use crate::upstream;

/// From the first packet to the first answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

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

/// What stood in the way. The cause is for the log; [`Trouble::refusal`] is for whoever waits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It was refused, by a rule of ours.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The server could not be reached, or not trusted.
    #[error("{refusal}: {}", .cause.as_deref().unwrap_or("no further cause"))]
    Dial {
        /// What a client would be told.
        refusal: Refusal,
        /// What happened underneath.
        cause: Option<String>,
    },
    /// The server refused a statement.
    #[error("the server refused to {attempt}: {}", describe(.source))]
    Sql {
        /// What was tried.
        attempt: &'static str,
        /// What it said.
        source: tokio_postgres::Error,
    },
    /// The server's answer is not what was asked for.
    #[error("the server's answer to {attempt} cannot be read: {source}")]
    Answer {
        /// What was tried.
        attempt: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A MySQL server refused a statement, or did not answer it.
    #[error("the server refused to {attempt}: {message} ({number})")]
    MySql {
        /// What was tried.
        attempt: &'static str,
        /// The error's number; 0 when it is none of the server's.
        number: u16,
        /// What it said.
        message: String,
    },
    /// Something took too long.
    #[error("the server did not {0} in time")]
    Late(&'static str),
}

/// `Display` of the library's error leaves out what the server said.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => format!("{error:?}"),
    }
}

impl From<Denied> for Trouble {
    fn from(denied: Denied) -> Self {
        Self::Dial { refusal: denied.refusal, cause: denied.cause }
    }
}

impl Trouble {
    /// What whoever waits for it is told.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) | Self::Dial { refusal, .. } => refusal,
            Self::Sql { .. } | Self::MySql { .. } | Self::Answer { .. } | Self::Late(_) => {
                Refusal::new(&code::PROVISIONING_FAILED, "your database user could not be prepared")
            }
        }
    }

    /// Whether a lock was not to be had in time (SQLSTATE 55P03).
    pub(crate) fn is_locked_out(&self) -> bool {
        let locked = tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE;
        matches!(self, Self::Sql { source, .. } if source.code() == Some(&locked))
    }

    /// Whether the server said that an object does not exist (SQLSTATE 42704).
    pub(crate) fn is_undefined_object(&self) -> bool {
        let undefined = tokio_postgres::error::SqlState::UNDEFINED_OBJECT;
        matches!(self, Self::Sql { source, .. } if source.code() == Some(&undefined))
    }
}

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

/// What a connection is made of.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    pub(crate) keyring: Keyring,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
}

impl Dialler {
    /// Opens a connection into a database of the server.
    pub(crate) async fn connect(
        &self,
        server: &Document<DatabaseServer>,
        database: &str,
    ) -> Result<Connection, Trouble> {
        let connecting = Box::pin(self.connect_unbounded(server, database));
        tokio::time::timeout(CONNECT_WITHIN, connecting)
            .await
            .map_err(|_| Trouble::Late("let the provisioner in"))?
    }

    async fn connect_unbounded(
        &self,
        server: &Document<DatabaseServer>,
        database: &str,
    ) -> Result<Connection, Trouble> {
        let unusable = |error: &dyn std::fmt::Display| Trouble::Dial {
            refusal: Refusal::new(&code::PROVISIONING_FAILED, "the provisioner has no certificate"),
            cause: Some(error.to_string()),
        };
        let name = ServerName::new(server.name()).map_err(|error| unusable(&error))?;
        let authority =
            self.keyring.client_authority(&name).await.map_err(|error| unusable(&error))?;
        let leaf = ClientLeaf { user: PROVISIONER, session: SessionId::random() };
        let identity =
            authority.issue_client(&leaf, self.clock.now()).map_err(|error| unusable(&error))?;
        let stream = upstream::dial(server, identity).await?;
        let mut config = Config::new();
        config.user(PROVISIONER).dbname(database).application_name("portcullis");
        let (client, connection) = config
            .connect_raw(stream, NoTls)
            .await
            .map_err(|source| Trouble::Sql { attempt: "let the provisioner in", source })?;
        let ended = self.tasks.spawn("provisioner-connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the provisioner ended");
            }
        });
        drop(ended);
        Connection::begin(client).await
    }
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
