//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The address as it was written.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether no bit behind the network's is set in its address (RFC 4632 §3.1).
    pub(crate) fn begins_with_its_address(&self) -> bool {
        match self.address {
            IpAddr::V4(own) => u32::from(own).checked_shl(u32::from(self.prefix)).unwrap_or(0) == 0,
            IpAddr::V6(own) => {
                u128::from(own).checked_shl(u32::from(self.prefix)).unwrap_or(0) == 0
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a range of addresses; write it like `10.0.0.0/8`, `fd00::/8` or `10.1.2.3`"
)]
pub struct InvalidNetwork {
    text: String,
    /// What is wrong with it.
    pub(crate) why: &'static str,
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidNetwork { text: text.to_owned(), why };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid("that is no address"))?;
        let (longest, too_long) = if address.is_ipv4() {
            (32, "such an address has 32 bits")
        } else {
            (128, "such an address has 128 bits")
        };
        let prefix = match prefix {
            Some(prefix) => {
                prefix.parse().map_err(|_| invalid("behind `/` stands a number of bits"))?
            }
            None => longest,
        };
        if prefix > longest {
            return Err(invalid(too_long));
        }
        Ok(Self { address, prefix })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(Error::custom)
    }
}
