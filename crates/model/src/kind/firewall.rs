//! IP allow-lists.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ServerName;

/// Addresses from which a server may be reached (Azure: firewall rule; both ends belong to the range).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FirewallRule {
    /// The server that it opens.
    pub server: ServerName,
    /// First address of the range.
    pub start_ip_address: IpAddr,
    /// Last address of the range, of the same family.
    pub end_ip_address: IpAddr,
}

impl crate::Spec for FirewallRule {
    const KIND: crate::Kind = crate::Kind::FirewallRule;
    type Status = crate::document::NoStatus;
}
