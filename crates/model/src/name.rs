//! Names of resources: what people write in files and on the command line. Compared byte for byte.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Names longer than this are refused everywhere; Entra's display names have the same bound.
pub const NAME_BYTES_MAX: usize = 256;

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes; this one has {bytes}")]
    TooLong {
        /// Length as given.
        bytes: usize,
    },
    /// Names are letters, digits and `. _ - @ # ~ +`, so that they can stand in URLs, SQL and files unquoted.
    #[error(
        "`{name}` has `{character}` in it; names are made of letters, digits and `. _ - @ # ~ +`"
    )]
    Character {
        /// The text as given.
        name: String,
        /// The first character that cannot stand in a name.
        character: char,
    },
}

/// Checks what every resource name must obey.
pub fn check(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidName::TooLong { bytes: name.len() });
    }
    match name.chars().find(|c| !(c.is_alphanumeric() || "._-@#~+".contains(*c))) {
        Some(character) => Err(InvalidName::Character { name: name.to_owned(), character }),
        None => Ok(()),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks and keeps the text. See [`check`] for what is refused.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// A person's user principal name, such as `ada@example.com`.
    UserName;
    /// A group.
    GroupName;
    /// An application with its service principal.
    ApplicationName;
    /// A managed identity.
    ManagedIdentityName;
    /// A machine with an agent.
    HostName;
    /// A protected database server.
    ServerName;
    /// A named set of privileges on one server.
    DatabaseRoleName;
    /// A firewall rule of a server.
    FirewallRuleName;
    /// A place that conditional access speaks of.
    NamedLocationName;
}
