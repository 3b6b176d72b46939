//! A process on a host, as its agent saw it, and how it names the identity that it wants to be.

use serde::{Deserialize, Serialize};

/// A process; a connection that several processes hold has several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// The account that it runs as.
    pub uid: u32,
    /// Its control group (cgroup v2): `/` and path components; empty when there is none.
    pub cgroup: String,
    /// The name of its network namespace; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_namespace: Option<String>,
}

/// The name of the network namespace that a machine starts with.
pub const HOST_NETWORK: &str = "host";

/// How an identity is named; at most one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selector {
    /// `client_id`.
    ClientId(String),
    /// `object_id`, of old `principal_id`.
    ObjectId(String),
    /// `mi_res_id` or `msi_res_id`, in any case.
    ResourceId(String),
    /// `metadata.name`.
    Name(String),
}
