//! Identifiers: opaque GUIDs, one type for each thing they name, so that two cannot be swapped.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! identifier {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh random (version 4) identifier.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

identifier! {
    /// The installation's directory: `tid` in tokens.
    TenantId;
    /// Object id of a user or workload identity: `oid` in tokens. Never reused, never shown to mean a name.
    PrincipalId;
    /// Client id of an application: `appid` in tokens.
    ApplicationId;
    /// One activation of an eligibility.
    ActivationId;
    /// One client connection, from accept to close.
    SessionId;
    /// One issued token: `jti` (and Entra's `uti`).
    TokenId;
}

/// The half of a token's id that all tokens of a sign-in share.
const SIGN_IN_HALF: u128 = 0xffff_ffff_ffff_ffff << 64;

impl TokenId {
    /// A fresh identifier for a token of a sign-in, itself a version 4 GUID. Both halves are random; the first is the
    /// sign-in's, so that whoever knows only a token's id, as a handle does, can tell that its sign-in was ended.
    pub fn of_sign_in(sign_in: Uuid) -> Self {
        let own = Uuid::new_v4().as_u128() & !SIGN_IN_HALF;
        Self(Uuid::from_u128((sign_in.as_u128() & SIGN_IN_HALF) | own))
    }

    /// Whether the token was issued under this sign-in.
    pub fn is_of_sign_in(self, sign_in: Uuid) -> bool {
        (self.0.as_u128() ^ sign_in.as_u128()) & SIGN_IN_HALF == 0
    }
}

/// Position in the store's change feed: grows by one with every committed write.
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
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_id_tells_its_sign_in_and_no_other() {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        let tokens = [TokenId::of_sign_in(one), TokenId::of_sign_in(one)];
        assert_ne!(tokens[0], tokens[1]);
        for token in tokens {
            assert_eq!(token.0.get_version_num(), 4);
            assert!(token.is_of_sign_in(one) && !token.is_of_sign_in(other));
        }
        assert!(!TokenId::random().is_of_sign_in(one));
    }
}
