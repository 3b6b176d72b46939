//! Named sets of privileges on one server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ServerName;

/// A named set of privileges on one server. Resource names are `<server>.<role>`, such as `orders.reader`, so that
/// each server has roles of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseRole {
    /// The server that it is a role of.
    pub server: ServerName,
    /// What it grants.
    pub privileges: Privileges,
    /// The databases it grants on; empty: every reachable one that exists when the reconciler looks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// The schemas it grants on.
    #[serde(default = "default_schemas")]
    pub schemas: Vec<String>,
    /// Whether replication connections (and with them CopyBoth) are relayed. Physical replication reads every database
    /// and names none: its clients ask for `replication`, which the server's `databases` must let them reach.
    #[serde(default)]
    pub replication: bool,
}

fn default_schemas() -> Vec<String> {
    vec!["public".to_owned()]
}

/// What a database role grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Privileges {
    /// CONNECT, USAGE, SELECT, present and future objects.
    Reader,
    /// Reader and INSERT, UPDATE, DELETE, sequences.
    Writer,
    /// Writer and DDL through the schema owner's role. Never SUPERUSER or CREATEROLE.
    Admin,
    /// Membership of a role that exists on the server already.
    ExistingRole(String),
    /// The login user itself is a superuser. Only on a server with `testStack: true`.
    Superuser,
}

impl crate::Spec for DatabaseRole {
    const KIND: crate::Kind = crate::Kind::DatabaseRole;
    type Status = crate::document::NoStatus;
}
