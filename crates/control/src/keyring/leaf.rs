//! The certificate that our own TLS servers show: token service, API, gateway listeners. Its key is in memory only.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::Duration;

use keys::Authority;
use keys::authority::SERVER_LIFETIME;
use model::{Snapshot, Timestamp};
use runtime::Config;
use runtime::tls::{Identity, ServerCertificate};

use super::{Keyring, KeyringError};

/// Renewed when a third of its life remains.
const RENEWED_BEFORE: Duration = Duration::from_hours(30 * 24);

/// What the certificate shown now says.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// Names of this process; servers add theirs.
    own: BTreeSet<String>,
    shown: BTreeSet<String>,
    renew_at: Timestamp,
}

impl Leaf {
    pub(super) fn new() -> Self {
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        Self { own, shown: BTreeSet::new(), renew_at: Timestamp::EPOCH }
    }

    /// All names that clients may ask for: ours, and those that route to a server.
    pub(super) fn names(&self, snapshot: &Snapshot) -> BTreeSet<String> {
        let routed = snapshot.servers.iter().flat_map(|server| server.spec.server_names.iter());
        self.own.iter().chain(routed).cloned().collect()
    }

    pub(super) fn issue(
        &self,
        authority: &Authority,
        names: BTreeSet<String>,
        now: Timestamp,
    ) -> Result<(Identity, Self), KeyringError> {
        let list: Vec<String> = names.iter().cloned().collect();
        let identity = authority.issue_server(&list, SERVER_LIFETIME, now)?;
        let ends = identity.chain.first().map(keys::authority::not_after).transpose()?;
        let renew_at = ends.unwrap_or(now).minus(RENEWED_BEFORE);
        Ok((identity, Self { own: self.own.clone(), shown: names, renew_at }))
    }
}

impl Keyring {
    /// What the gateway's listeners show. Stays good: it changes underneath when the certificate is renewed.
    pub fn listener_certificate(&self) -> ServerCertificate {
        self.0.shown.clone()
    }

    /// What the HTTPS server shows.
    pub fn https_certificate(&self) -> ServerCertificate {
        self.0.shown.clone()
    }

    /// Adds names under which this process is reached, and shows a certificate that has them.
    pub fn serve_as(&self, names: impl IntoIterator<Item = String>) -> Result<(), KeyringError> {
        let snapshot = self.0.store.snapshots().load();
        self.0.leaf.lock().unwrap_or_else(PoisonError::into_inner).own.extend(names);
        self.show_leaf(&snapshot, false)
    }

    /// Shows a new certificate when names were added or its time has come.
    pub(super) fn show_leaf(&self, snapshot: &Snapshot, anyway: bool) -> Result<(), KeyringError> {
        let now = self.0.clock.now();
        let mut leaf = self.0.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        let names = leaf.names(snapshot);
        if !anyway && names == leaf.shown && now < leaf.renew_at {
            return Ok(());
        }
        let authority = std::sync::Arc::clone(&self.keys().installation.signing);
        let (identity, renewed) = leaf.issue(&authority, names, now)?;
        self.0.shown.replace(identity)?;
        *leaf = renewed;
        drop(leaf);
        tracing::info!("the TLS certificate was renewed");
        Ok(())
    }

    pub(super) fn leaf_renewed_at(&self) -> Timestamp {
        self.0.leaf.lock().unwrap_or_else(PoisonError::into_inner).renew_at
    }
}

/// The names under which a process with this configuration is reached.
pub fn host_names(config: &Config) -> BTreeSet<String> {
    let listeners = &config.gateway.listeners;
    let addresses = listeners.iter().map(|it| it.listen.ip()).chain([config.http.listen.ip()]);
    let addresses = addresses.chain(config.hosts.as_ref().map(|hosts| hosts.listen.ip()));
    let given = addresses.filter(|address| !address.is_unspecified());
    let addresses = given.map(|address: IpAddr| address.to_canonical().to_string());
    let reached =
        listeners.iter().filter_map(|it| it.reached_at.as_ref()).map(|at| at.host.clone());
    let of_hosts = config.hosts.as_ref().and_then(|hosts| hosts.reached_at.as_ref());
    let reached = reached.chain(of_hosts.map(|at| at.host.clone()));
    addresses.chain(reached).chain([config.host().to_owned()]).collect()
}
