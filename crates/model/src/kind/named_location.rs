//! Where people and workloads are, by their address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// A network: an address and how many of its first bits count (RFC 4632, RFC 4291). The bits behind them are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Whether the address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, own_width) = bits(self.address);
        let (other, width) = bits(address.to_canonical());
        own_width == width && shifted(own ^ other, width, self.length) == 0
    }
}

/// As the lowest bits of a number, and how many they are.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// Without all but the first bits.
fn shifted(bits: u128, width: u8, length: u8) -> u128 {
    bits.checked_shr(u32::from(width.saturating_sub(length))).unwrap_or(0)
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("`{text}` is not a network such as `203.0.113.0/24`: {why}");
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| wrong("that is no address"))?;
        if address.to_canonical() != address {
            return Err(wrong("write an IPv4 address as such, not mapped into IPv6"));
        }
        let (value, width) = bits(address);
        let length = match length {
            "" if !text.contains('/') => width,
            digits => digits.parse().map_err(|_| wrong("behind `/` stands a number of bits"))?,
        };
        if length > width {
            return Err(wrong(&format!("such an address has {width} bits")));
        }
        let kept = shifted(value, width, length);
        let behind = value ^ kept.checked_shl(u32::from(width - length)).unwrap_or(0);
        if behind != 0 {
            return Err(wrong("bits behind the network's are set"));
        }
        Ok(Self { address, length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
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
