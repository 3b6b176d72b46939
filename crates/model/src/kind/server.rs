//! Protected database servers.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Lifetime;

mod upstream_identity;

pub use upstream_identity::{SharedCredential, SharedUser, UpstreamIdentity};

/// A database server behind the gateway (Azure: flexible server).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseServer {
    /// Which protocol it speaks.
    pub engine: Engine,
    /// Host name or address that the gateway dials.
    pub host: String,
    /// TCP port that the gateway dials.
    pub port: u16,
    /// PEM of the authority that signed the server's own certificate. Verification is always full (name and chain).
    pub ca: String,
    /// The name in the server's certificate, when it is not `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Which of its databases are reachable, and how a connection is routed here.
    #[serde(default)]
    pub databases: Databases,
    /// The gateway's listeners whose connections may be routed here.
    #[serde(default = "default_listeners")]
    pub listeners: BTreeSet<String>,
    /// TLS server names (SNI) that route here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// The database that the provisioner connects to.
    #[serde(default = "default_maintenance_database")]
    pub maintenance_database: String,
    /// Azure: `publicNetworkAccess`. Disabled: no firewall rule opens it; until connectors exist only loopback peers of
    /// the gateway's own host reach it.
    #[serde(default)]
    pub public_network_access: PublicNetworkAccess,
    /// Whether the server may ask a client for a file of its own (MySQL: `local_infile`). PostgreSQL's never does.
    #[serde(default, skip_serializing_if = "LocalInfile::is_refused")]
    pub local_infile: LocalInfile,
    /// How the gateway shows the server who opens a session.
    #[serde(default, skip_serializing_if = "UpstreamIdentity::is_certificate")]
    pub upstream_identity: UpstreamIdentity,
    /// How statements are recorded.
    #[serde(default)]
    pub audit: AuditSettings,
    /// Bounds on sessions.
    #[serde(default)]
    pub sessions: SessionSettings,
    /// Set at creation by the test stack only, immutable: database roles with the superuser attribute may exist here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test_stack: bool,
}

fn default_listeners() -> BTreeSet<String> {
    BTreeSet::from(["postgresql".to_owned()])
}

fn default_maintenance_database() -> String {
    "postgres".to_owned()
}

/// Protocols that the gateway speaks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Engine {
    /// PostgreSQL, frontend/backend protocol 3.
    #[serde(rename = "postgresql")]
    PostgreSql,
    /// MySQL and MariaDB, client/server protocol 10; the server's version says which.
    #[serde(rename = "mysql")]
    MySql,
}

/// Servers that speak one protocol, and are administered in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Product {
    /// PostgreSQL.
    #[serde(rename = "postgresql")]
    PostgreSql,
    /// MariaDB.
    #[serde(rename = "mariadb")]
    MariaDb,
    /// MySQL's own.
    #[serde(rename = "mysql")]
    MySql,
}

/// Which databases of a server are reachable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Databases {
    /// Any name is passed on; the server itself answers 3D000 for one that does not exist.
    #[default]
    Any,
    /// Only these. The names also route: they must be unique behind one listener.
    Only(BTreeSet<String>),
}

/// Azure: `publicNetworkAccess`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum PublicNetworkAccess {
    /// Reached from the gateway's own host only.
    #[default]
    Disabled,
    /// Reached from the addresses that firewall rules allow.
    Enabled,
}

/// `LOAD DATA LOCAL INFILE`, by which a server gets a file from a client's machine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum LocalInfile {
    /// Clients are not offered it, and a server that asks all the same ends the session.
    #[default]
    Refused,
    /// For the file that the statement itself names. Its name and length are recorded.
    Allowed,
}

impl LocalInfile {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_refused(&self) -> bool {
        *self == Self::Refused
    }
}

/// When a statement counts as recorded (docs/architecture.md, "Audit").
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AuditMode {
    /// On disk before it is forwarded; one fsync is shared by all waiting sessions.
    Durable,
    /// Forwarded at once; no byte of the answer reaches the client before the record is on disk.
    Gated,
    /// Written before it is forwarded, on disk at most 10 ms later.
    #[default]
    Bounded,
}

/// How statements on a server are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditSettings {
    /// When a statement counts as recorded.
    #[serde(default)]
    pub mode: AuditMode,
    /// Bind parameters are recorded as their length and SHA-256 only.
    #[serde(default)]
    pub redact_parameters: bool,
    /// Literals in statements are recorded as `?`.
    #[serde(default)]
    pub redact_literals: bool,
}

/// Bounds on the sessions of a server. Absent: no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionSettings {
    /// A session without a statement for so long ends with 57P05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_max: Option<Lifetime>,
    /// A statement that runs for so long ends with its session (57014).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_max: Option<Lifetime>,
    /// A person's session whose membership has no end lives at most so long; 12 hours when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_age_max: Option<Lifetime>,
    /// Sessions of one principal at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_principal_max: Option<u32>,
    /// Sessions of the server at a time, all principals together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_server_max: Option<u32>,
}

/// What is known of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseServerStatus {
    /// `server_version_num` as the last probe saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_number: Option<u32>,
    /// Which of the servers that speak its protocol it is, as the last probe saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    /// Connections that users without special rights can have on the server, all together. Sessions leave three of them
    /// for the gateway's own work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// PEM of the client authority of this one server: what its `ssl_ca_file` must hold, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authority: Option<String>,
    /// Findings of the last reconciliation: drift by hand, or why the server cannot be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

impl crate::Spec for DatabaseServer {
    const KIND: crate::Kind = crate::Kind::DatabaseServer;
    type Status = DatabaseServerStatus;
}
