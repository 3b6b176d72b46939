//! The provisioner's connections: one that stands for each server, and short ones into its databases.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use access::database_user::PROVISIONER;
use control::Keyring;
use keys::{Authority, ClientLeaf};
use model::kind::server::{DatabaseServer, Engine};
use model::{Document, Refusal, ServerName, SessionId, code};
use runtime::{Clock, Tasks};

use super::mysql::connection::Accounts;
use super::{mysql, pg};
use crate::outcome::Denied;
use crate::upstream;

/// From the first packet to the first answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

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
    /// A MySQL server refused a statement.
    #[error("the server refused to {attempt}: {message} ({number})")]
    MySql {
        /// What was tried.
        attempt: &'static str,
        /// The error's number.
        number: u16,
        /// What it said.
        message: String,
    },
    /// The connection broke, or what came over it is not the protocol.
    #[error("the connection broke at the attempt to {attempt}: {cause}")]
    Broken {
        /// What was tried.
        attempt: &'static str,
        /// What happened underneath.
        cause: String,
    },
    /// The server's answer is not what was asked for.
    #[error("the server's answer to {attempt} cannot be read: {source}")]
    Answer {
        /// What was tried.
        attempt: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The server answered, and what was asked for is not in it.
    #[error("the server's answer to the attempt to {0} lacks what was asked for")]
    Lacking(&'static str),
    /// The server's users are shared: an administrator keeps them, not the gateway.
    #[error("the server's database users are shared and not administered here")]
    Shared,
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
            Self::Shared => Refusal::new(
                &code::INVALID,
                "the server's database users are shared, and the gateway administers none there",
            )
            .hint("an administrator of the server keeps them; the document's `upstreamIdentity` names them"),
            Self::Sql { .. }
            | Self::MySql { .. }
            | Self::Broken { .. }
            | Self::Answer { .. }
            | Self::Lacking(_)
            | Self::Late(_) => {
                Refusal::new(&code::PROVISIONING_FAILED, "your database user could not be prepared")
            }
        }
    }

    /// Whether a lock was not to be had in time (SQLSTATE 55P03).
    pub(crate) fn is_locked_out(&self) -> bool {
        let locked = tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE;
        matches!(self, Self::Sql { source, .. } if source.code() == Some(&locked))
    }

    /// Whether the server said that a role does not exist: SQLSTATE 42704, or `ER_INVALID_ROLE`, `ER_CANNOT_GRANT_ROLE`
    /// and `ER_UNKNOWN_AUTHID`.
    pub(crate) fn is_undefined_object(&self) -> bool {
        let undefined = tokio_postgres::error::SqlState::UNDEFINED_OBJECT;
        match self {
            Self::Sql { source, .. } => source.code() == Some(&undefined),
            Self::MySql { number, .. } => [1959, 1961, 3523].contains(number),
            Self::Refused(_)
            | Self::Dial { .. }
            | Self::Broken { .. }
            | Self::Answer { .. }
            | Self::Lacking(_)
            | Self::Shared
            | Self::Late(_) => false,
        }
    }
}

fn unusable(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Dial {
        refusal: Refusal::new(&code::PROVISIONING_FAILED, "the provisioner has no certificate"),
        cause: Some(error.to_string()),
    }
}

/// An open connection as the provisioner. What can be asked of it stands in `engine.rs`.
#[derive(Debug)]
pub(crate) enum Connection {
    /// To PostgreSQL.
    PostgreSql(pg::connection::Connection),
    /// To MySQL or MariaDB.
    MySql(mysql::connection::Connection),
}

/// What a connection is made of.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    pub(crate) keyring: Keyring,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    /// From which the gateway dials: MySQL's accounts are for these only.
    pub(crate) addresses: Arc<[IpAddr]>,
}

impl Dialler {
    /// The common name of the authority that signs client certificates now, where accounts name it.
    pub(crate) async fn signing(
        &self,
        server: &Document<DatabaseServer>,
    ) -> Result<Option<String>, Trouble> {
        match server.spec.engine {
            Engine::PostgreSql => Ok(None),
            Engine::MySql => {
                let authority = self.authority(server).await?;
                Ok(Some(authority.common_name().to_owned()))
            }
        }
    }

    async fn authority(
        &self,
        server: &Document<DatabaseServer>,
    ) -> Result<Arc<Authority>, Trouble> {
        let name = ServerName::new(server.name()).map_err(|error| unusable(&error))?;
        self.keyring.client_authority(&name).await.map_err(|error| unusable(&error))
    }

    /// Opens a connection into a database of the server.
    pub(crate) async fn connect(
        &self,
        server: &Document<DatabaseServer>,
        database: &str,
    ) -> Result<Connection, Trouble> {
        if !server.spec.upstream_identity.is_certificate() {
            return Err(Trouble::Shared);
        }
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
        let authority = self.authority(server).await?;
        let leaf = ClientLeaf { user: PROVISIONER, session: SessionId::random() };
        let identity =
            authority.issue_client(&leaf, self.clock.now()).map_err(|error| unusable(&error))?;
        let issuer = authority.common_name().to_owned();
        let dialled = upstream::dial_greeted(server, identity).await?;
        match server.spec.engine {
            Engine::PostgreSql => {
                let opened = pg::connection::open(dialled.stream, database, &self.tasks).await?;
                Ok(Connection::PostgreSql(opened))
            }
            Engine::MySql => {
                let accounts = Accounts { addresses: Arc::clone(&self.addresses), issuer };
                let opened = mysql::connection::open(dialled, accounts).await?;
                Ok(Connection::MySql(opened))
            }
        }
    }
}
