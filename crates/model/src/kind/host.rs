//! Machines whose workloads get tokens because of where they run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ManagedIdentityName, Timestamp};

/// A machine with an agent on it, which hands out the tokens of the managed identities that are assigned to the machine
/// (Azure: a virtual machine and its `identity`). Whoever is root on it can be every one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Host {
    /// Shown to people.
    pub display_name: String,
    /// The agent of a disabled host gets no token, and its certificate is not renewed.
    #[serde(default = "crate::document::yes")]
    pub enabled: bool,
    /// What its workloads may be; a system-assigned identity is listed as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<HostIdentity>,
}

/// An identity that workloads of a host may be, and which of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostIdentity {
    /// Which.
    pub identity: ManagedIdentityName,
    /// Processes that may be it: whoever one of these describes. There is at least one.
    pub callers: Vec<AllowedCaller>,
}

/// What a process on a host must be; everything that is said must hold, and something is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedCaller {
    /// The account that it runs as, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The control group that it is in or below: `/system.slice/orders.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The network namespace that it is in, by its name under `/run/netns`; `host` is the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_namespace: Option<String>,
}

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostStatus {
    /// SHA-256 of the public key that it joined with (SubjectPublicKeyInfo), base64url without padding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_thumbprint: Option<String>,
    /// When it joined with that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<Timestamp>,
    /// When the latest certificate ends; a host that let it pass joins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ends_at: Option<Timestamp>,
}

impl crate::Spec for Host {
    const KIND: crate::Kind = crate::Kind::Host;
    type Status = HostStatus;
}
