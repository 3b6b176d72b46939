//! The installation's keys, sealed in the store under the master key and opened once.
//!
//! Kept: the key of the audit log, the key of handles, the installation's authority with the certificate of the HTTPS
//! origin and the gateway's listeners, keys that sign tokens, and one client authority for each protected server.
//! [`Keys`] makes and renews what its time has come for.

mod keep;
mod sealed;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use keys::{AuditKey, Authority, HandleKey, MasterKey, TokenSigner};
use model::{Lifetime, PrincipalId, Refusal, ServerName, Timestamp, code};
use runtime::tls::ServerCertificate;
use runtime::{Clock, Secret};
use store::{Store, StoreError};
use uuid::Uuid;

pub use keep::Keys;
pub use sealed::SealedKey;

/// How long the origin's certificate lives; it is renewed when a third of it is left.
const LEAF_LIFETIME: Lifetime = keys::authority::SERVER_LIFETIME;

/// A server that was just created gets its authority from the reconciler within this.
const AUTHORITY_WITHIN: Duration = Duration::from_secs(5);

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not be made or used.
    #[error(transparent)]
    Key(#[from] keys::KeyError),
    /// A sealed key does not open.
    #[error("the key `{id}` does not open: {cause}")]
    Sealed {
        /// Which.
        id: String,
        /// Why.
        cause: keys::SealError,
    },
    /// A record is not what was written.
    #[error("the record of the key `{0}` is not readable")]
    Unreadable(String),
    /// The certificate cannot be served.
    #[error(transparent)]
    Tls(#[from] runtime::tls::TlsError),
    /// Its server is not protected here, or its authority was not made in time.
    #[error("the server `{0}` has no client authority yet")]
    NoAuthority(ServerName),
}

/// The installation's keys. Copies are handles to the same.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    master: MasterKey,
    audit: Secret<Vec<u8>>,
    handles: Arc<HandleKey>,
    installation: Authority,
    names: Vec<String>,
    certificate: ServerCertificate,
    signers: RwLock<HashMap<String, Arc<TokenSigner>>>,
    authorities: RwLock<HashMap<Uuid, Arc<Authority>>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// Opens the keys of the store, making those that every installation has. `names` are the host names and addresses
    /// that the origin's certificate is for.
    pub async fn open(
        store: &Store,
        master: MasterKey,
        clock: &Clock,
        names: Vec<String>,
    ) -> Result<Self, KeyringError> {
        let (master, opened) = sealed::open_or_make(store, master).await?;
        let sealed::Opened { audit, handles, installation, signers } = opened;
        let identity = installation.issue_server(&names, LEAF_LIFETIME, clock.now())?;
        Ok(Self(Arc::new(Inner {
            store: store.clone(),
            clock: clock.clone(),
            master,
            audit,
            handles: Arc::new(handles),
            installation,
            names,
            certificate: ServerCertificate::new(identity)?,
            signers: RwLock::new(signers),
            authorities: RwLock::new(HashMap::new()),
        })))
    }

    /// The key of the audit log.
    pub fn audit_key(&self) -> Result<AuditKey, KeyringError> {
        Ok(AuditKey::from_pkcs8(self.0.audit.expose())?)
    }

    /// The key of handles.
    pub fn handle_key(&self) -> Arc<HandleKey> {
        Arc::clone(&self.0.handles)
    }

    /// The installation's authority as PEM: what clients must trust.
    pub fn ca_pem(&self) -> String {
        self.0.installation.certificate_pem()
    }

    /// What the HTTPS origin and the gateway's listeners show; renewed without a restart.
    pub fn listener_certificate(&self) -> ServerCertificate {
        self.0.certificate.clone()
    }

    /// The key that signs tokens now: of the published ones, the one that began last.
    pub fn signer(&self) -> Result<Arc<TokenSigner>, KeyringError> {
        let (snapshot, now) = (self.0.store.snapshots().load(), self.0.clock.now());
        let current = snapshot
            .signing_keys
            .iter()
            .filter(|key| key.spec.signs_from <= now && now < key.spec.verifies_until)
            .max_by_key(|key| key.spec.signs_from)
            .ok_or_else(|| KeyringError::Unreadable("signing".to_owned()))?;
        self.signer_named(current.name())
    }

    fn signer_named(&self, kid: &str) -> Result<Arc<TokenSigner>, KeyringError> {
        if let Some(signer) = self.0.signers.read().unwrap_or_else(PoisonError::into_inner).get(kid)
        {
            return Ok(Arc::clone(signer));
        }
        let id = sealed::signing_id(kid);
        let record = self.0.store.read(|reader| reader.record::<SealedKey>(&id))?;
        let record = record.ok_or_else(|| KeyringError::Unreadable(id.clone()))?;
        let signer = Arc::new(TokenSigner::from_pkcs8(record.open(&id, &self.0.master)?.expose())?);
        let mut signers = self.0.signers.write().unwrap_or_else(PoisonError::into_inner);
        signers.insert(kid.to_owned(), Arc::clone(&signer));
        Ok(signer)
    }

    /// The client authority of one server. A server that was just created gets one within a moment.
    pub async fn client_authority(
        &self,
        server: &ServerName,
    ) -> Result<Arc<Authority>, KeyringError> {
        let mut changes = self.0.store.snapshots().subscribe();
        let uid = |snapshot: &model::Snapshot| {
            snapshot
                .servers
                .get(server)
                .filter(|known| known.status.client_authority.is_some())
                .map(|known| known.uid())
        };
        let waiting = changes.wait_for(|snapshot| uid(snapshot).is_some());
        let missing = || KeyringError::NoAuthority(server.clone());
        let found = tokio::time::timeout(AUTHORITY_WITHIN, waiting).await.map_err(|_| missing())?;
        let uid = found.ok().and_then(|snapshot| uid(&snapshot)).ok_or_else(missing)?;
        self.authority(uid)
    }

    fn authority(&self, server: Uuid) -> Result<Arc<Authority>, KeyringError> {
        let known = self
            .0
            .authorities
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&server)
            .map(Arc::clone);
        if let Some(authority) = known {
            return Ok(authority);
        }
        let id = sealed::authority_id(server);
        let record = self.0.store.read(|reader| reader.record::<SealedKey>(&id))?;
        let authority = Arc::new(
            record
                .ok_or_else(|| KeyringError::Unreadable(id.clone()))?
                .authority(&id, &self.0.master)?,
        );
        let mut authorities = self.0.authorities.write().unwrap_or_else(PoisonError::into_inner);
        authorities.insert(server, Arc::clone(&authority));
        Ok(authority)
    }

    /// After a rotation, the next use opens the new one.
    fn forget_authority(&self, server: Uuid) {
        self.0.authorities.write().unwrap_or_else(PoisonError::into_inner).remove(&server);
    }

    /// Seals a person's TOTP seed for a record written at that revision.
    pub fn seal_seed(
        &self,
        person: PrincipalId,
        revision: u64,
        seed: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let id = person.to_string();
        self.0.master.seal(&seed_context(&id, revision), seed).map_err(|error| {
            tracing::error!(%error, "a TOTP seed could not be sealed");
            Refusal::new(&code::INTERNAL, "the seed could not be sealed")
        })
    }

    /// Opens a person's TOTP seed.
    pub fn open_seed(
        &self,
        person: PrincipalId,
        revision: u64,
        sealed: &[u8],
    ) -> Result<Secret<Vec<u8>>, Refusal> {
        let id = person.to_string();
        self.0.master.open(&seed_context(&id, revision), sealed).map_err(|error| {
            tracing::error!(%error, principal = %person, "a TOTP seed does not open");
            Refusal::new(&code::INTERNAL, "the seed could not be opened")
        })
    }

    /// Renews the origin's certificate when a third of its life is left.
    fn renew_certificate(&self, now: Timestamp) -> Result<(), KeyringError> {
        if self.certificate_ends()? > now.plus(LEAF_LIFETIME.duration() / 3) {
            return Ok(());
        }
        let identity = self.0.installation.issue_server(&self.0.names, LEAF_LIFETIME, now)?;
        self.0.certificate.replace(identity)?;
        tracing::info!("the certificate of the origin and the listeners was renewed");
        Ok(())
    }

    fn certificate_ends(&self) -> Result<Timestamp, KeyringError> {
        match self.0.certificate.chain().first() {
            Some(leaf) => Ok(keys::authority::not_after(leaf)?),
            None => Ok(Timestamp::EPOCH),
        }
    }
}

fn seed_context(id: &str, revision: u64) -> keys::SealContext<'_> {
    keys::SealContext { kind: "totp-seed", id, revision }
}
