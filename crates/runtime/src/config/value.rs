//! Values that the file may hold: parsed once, here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use model::Lifetime;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{Authentication, Listener, Protocol};

/// Entra's longest default for access tokens; longer ones would outlive a decision for no gain.
const DATABASE_TOKEN_LIFETIME_MAX: Lifetime = Lifetime::from_seconds(75 * 60);

/// Revocations are forgotten after this long, and a longer token is refused: none may outlive its revocation.
const TOKEN_LIFETIME_MAX: Lifetime = Lifetime::from_seconds(24 * 3_600);

/// A host and a port: `db.example.com:5432`, `[2001:db8::1]:5432`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The text is not a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host and a port; write it like `db.example.com:5432`")]
pub struct InvalidHostPort(String);

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidHostPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if is_host(host) => host,
            Some(_) | None => return Err(invalid()),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(Error::custom)
    }
}

/// A DNS name or an IPv4 address.
fn is_host(host: &str) -> bool {
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

/// A name as resources have them.
pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    model::name::check(&name).map_err(Error::custom)?;
    Ok(name)
}

/// Scheme, host and port; nothing else may follow, since issuer and addresses are made by appending to it.
pub(super) fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let origin = String::deserialize(deserializer)?;
    let well_formed = origin.strip_prefix("https://").is_some_and(|authority| {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host_is_one = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        host_is_one && port.is_none_or(|port| port.parse::<u16>().is_ok())
    });
    if well_formed {
        return Ok(origin);
    }
    Err(Error::custom(format_args!(
        "`{origin}` is not an origin; write it like `https://portcullis.example.com:8443`, \
         without a slash at the end"
    )))
}

/// At least one, each with a name of its own.
pub(super) fn listeners<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Listener>, D::Error> {
    let listeners = Vec::<Listener>::deserialize(deserializer)?;
    if listeners.is_empty() {
        return Err(Error::custom("a gateway has at least one listener"));
    }
    let mut names = BTreeSet::new();
    for listener in &listeners {
        if !names.insert(&listener.name) {
            return Err(Error::custom(format_args!(
                "two listeners are called `{}`",
                listener.name
            )));
        }
        if (listener.protocol, listener.authentication)
            == (Protocol::MySql, Authentication::OauthBearer)
        {
            return Err(Error::custom(format_args!(
                "listener `{}` cannot ask for `oauthbearer`, which MySQL's protocol does not have",
                listener.name
            )));
        }
    }
    Ok(listeners)
}

/// From one second to the longest that is allowed.
pub(super) fn database_token_lifetime<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Lifetime, D::Error> {
    bounded(deserializer, "a database token", DATABASE_TOKEN_LIFETIME_MAX)
}

/// From one second to the longest for which a revocation is remembered.
pub(super) fn token_lifetime<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Lifetime, D::Error> {
    bounded(deserializer, "a token", TOKEN_LIFETIME_MAX)
}

fn bounded<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    longest: Lifetime,
) -> Result<Lifetime, D::Error> {
    let lifetime = Lifetime::deserialize(deserializer)?;
    if lifetime.seconds() == 0 || lifetime > longest {
        return Err(Error::custom(format_args!(
            "{what} lives from 1s to {longest}; `{lifetime}` was given"
        )));
    }
    Ok(lifetime)
}
