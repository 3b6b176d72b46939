//! The client certificates of hosts: who signs them, and whose count.

use std::sync::Arc;

use keys::{Authority, HostPublicKey};
use model::Timestamp;
use uuid::Uuid;

use super::{Keyring, KeyringError};

impl Keyring {
    /// Authorities whose certificates of hosts count, PEM; two while a rotation is under way.
    pub fn host_authorities_pem(&self) -> String {
        self.keys().hosts.pem()
    }

    /// A client certificate for a host's key, PEM, and when it ends. A successor signs as soon as there is one: nobody but
    /// this installation has to trust it first.
    pub fn issue_host_certificate(
        &self,
        host: Uuid,
        key: &HostPublicKey,
    ) -> Result<(String, Timestamp), KeyringError> {
        let authority: Arc<Authority> = {
            let hosts = &self.keys().hosts;
            Arc::clone(hosts.successor.as_ref().unwrap_or(&hosts.signing))
        };
        let (certificate, not_after) = authority.issue_host(host, key, self.0.clock.now())?;
        Ok((keys::authority::pem(&certificate), not_after))
    }
}
