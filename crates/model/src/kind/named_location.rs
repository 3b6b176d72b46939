//! Where people and workloads are, by their address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{InvalidNetwork, Network};

/// Addresses under a name that conditional access speaks of (Entra: IP ranges location).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedLocation {
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its networks, such as `203.0.113.0/24`.
    pub ranges: Vec<Prefix>,
}

impl NamedLocation {
    /// Whether the address is there. An IPv4 address that came mapped into IPv6 counts as such.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}

/// A network whose bits behind those that count are zero (RFC 4632, RFC 4291): what looks like one host is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(Network);

impl Prefix {
    /// Whether the address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("`{text}` is not a network such as `203.0.113.0/24`: {why}");
        let network: Network = text.parse().map_err(|error: InvalidNetwork| wrong(error.why))?;
        if network.address().to_canonical() != network.address() {
            return Err(wrong("write an IPv4 address as such, not mapped into IPv6"));
        }
        if !network.begins_with_its_address() {
            return Err(wrong("bits behind the network's are set"));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl JsonSchema for Prefix {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl crate::Spec for NamedLocation {
    const KIND: crate::Kind = crate::Kind::NamedLocation;
    type Status = crate::document::NoStatus;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(prefix: &str, address: &str) -> bool {
        prefix.parse::<Prefix>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_what_begins_with_its_bits_and_of_its_family_only() {
        for (prefix, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "203.0.113.9", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
        ] {
            assert_eq!(holds(prefix, address), expected, "{address} in {prefix}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        for (text, why) in [
            ("10.0.0.1/8", "bits behind"),
            ("10.0.0.0/33", "32 bits"),
            ("2001:db8::/129", "128 bits"),
            ("10.0.0.0/", "number of bits"),
            ("10.0.0.0/-1", "number of bits"),
            ("::ffff:10.0.0.0/104", "mapped"),
            ("office", "no address"),
            ("2001:db8::1/32", "bits behind"),
        ] {
            let error = text.parse::<Prefix>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!("10.0.0.7".parse::<Prefix>().unwrap().to_string(), "10.0.0.7/32");
    }
}
