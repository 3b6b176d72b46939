//! Login users that the gateway made on a server.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DatabaseRoleName, PrincipalId, ServerName, Timestamp};

/// A login user that the gateway created on a server for one principal. `metadata.name` is `<server>/<user>` with the
/// slash written as `~`. Never adopted by name, never passed to another principal. Only the reconciler writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseUser {
    /// The server.
    pub server: ServerName,
    /// The principal whose user it is, for ever.
    pub principal: PrincipalId,
    /// The user's name on the server.
    pub user: String,
}

/// Whether a database user can log in now.
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
pub enum DatabaseUserState {
    /// Recorded, not yet made on the server.
    #[default]
    Planned,
    /// Can log in with a minted certificate.
    Enabled,
    /// The last role ended; steps on the server have not all been verified yet.
    Revoking,
    /// NOLOGIN, no membership, no backend: verified on the server.
    Disabled,
}

/// What is known of a database user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseUserStatus {
    /// Whether it can log in.
    pub state: DatabaseUserState,
    /// The role's oid on the server; a user recreated by hand has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oid: Option<u32>,
    /// The database roles it is a member of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<DatabaseRoleName>,
    /// When the state last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// What the last ending found left behind: owned objects moved, prepared transactions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
}

impl crate::Spec for DatabaseUser {
    const KIND: crate::Kind = crate::Kind::DatabaseUser;
    type Status = DatabaseUserStatus;
}
