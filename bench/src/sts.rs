//! `cargo xtask bench sts`: tokens issued for client assertions, tokens verified as the gateway verifies them, each beside
//! the bare cryptographic operation in the same run, and the service's memory over many tokens.

mod assertions;
mod issued;
mod verified;

use crate::Part;

pub(crate) const PARTS: [Part; 3] =
    [("tokens", issued::tokens), ("verifications", verified::run), ("memory", issued::memory)];
