//! How other issuers of workloads' tokens are reached. Who trusts which issuer is said in the directory; what the process
//! may connect to is the operator's to say.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Network;

/// Where Debian and its kin keep the authorities of the public Web.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Other issuers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Federation {
    /// PEM file of the authorities under which issuers are trusted that have no authority of their own below.
    pub authorities: PathBuf,
    /// Issuers that need more than the defaults: public addresses, the authorities above, discovery.
    pub issuers: Vec<TrustedIssuer>,
}

impl Default for Federation {
    fn default() -> Self {
        Self { authorities: PathBuf::from(SYSTEM_AUTHORITIES), issuers: Vec::new() }
    }
}

/// One issuer that needs more than the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedIssuer {
    /// `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// Addresses that are not public at which it, and its keys, may be.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// PEM file of the only authority under which it is trusted.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// File with its keys (a JWK Set), read again when it changes: then nothing is fetched.
    #[serde(default)]
    pub keys: Option<PathBuf>,
}

impl Federation {
    /// What was configured for an issuer.
    pub fn issuer(&self, issuer: &str) -> Option<&TrustedIssuer> {
        self.issuers.iter().find(|known| known.issuer == issuer)
    }

    /// Relative paths count from the file's folder.
    pub(super) fn within(mut self, folder: &Path) -> Self {
        self.authorities = folder.join(&self.authorities);
        for issuer in &mut self.issuers {
            for file in [&mut issuer.ca, &mut issuer.keys].into_iter().flatten() {
                *file = folder.join(&file);
            }
        }
        self
    }
}
