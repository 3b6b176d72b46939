//! The installation's keys: made when they are missing, sealed under the master key in the store's records, rotated by
//! overlap, renewed without a restart.
//!
//! | key | lives | how it changes |
//! |---|---|---|
//! | audit log, handles | as long as the installation | not at all |
//! | token signatures | signs 30 days, verifies a day longer | the next one is published a day before it signs |
//! | authorities | 5 years | `portcullis authority rotate`: once to publish a successor, again to sign with it |
//! | TLS leaf | 90 days, in memory only | renewed when a third remains, at every start, and for new names |
//! | host leaves | 24 hours, on the hosts | renewed at half of their life, with the same key |
//! | client leaves | 10 minutes, in memory only | one a session |

mod authorities;
mod ends;
mod hosts;
mod keep;
mod leaf;
mod master;
mod sealed;
mod signing;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use keys::{AuditKey, HandleKey, KeyError, MasterKey, SealContext, SealError, TokenSigner};
use model::event::{Actor, EventBody};
use model::{PrincipalId, Refusal, ServerName, code};
use runtime::tls::{ServerCertificate, TlsError};
use runtime::{Clock, Secret};
use store::{Store, StoreError, Transaction, WriteError};
use tokio::sync::watch;
use uuid::Uuid;

use crate::control::Control;
use crate::install::put_pending;

use authorities::Authorities;
use leaf::Leaf;
use sealed::{Purpose, SealedKey};

pub use authorities::{RotatedAuthority, RotationPhase, WhoseAuthority};
pub use keep::KeepKeys;
pub use leaf::host_names;
pub use master::{load_master_key, rotate_master_key};
pub use signing::SigningRotation;

/// The keys cannot be opened, made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sealed key does not open.
    #[error("the key `{key}` cannot be opened: {cause}")]
    Sealed {
        /// Which record.
        key: String,
        /// Why not.
        cause: SealError,
    },
    /// A key cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The master key cannot be loaded or replaced.
    #[error(transparent)]
    MasterKey(#[from] keys::MasterKeyError),
    /// The store's keys are sealed under another master key.
    #[error("the store is sealed under master key {sealed}; `{file}` holds {loaded}")]
    OtherMasterKey {
        /// Under which the store is sealed.
        sealed: keys::KeyId,
        /// Which was loaded.
        loaded: keys::KeyId,
        /// From where.
        file: String,
    },
    /// systemd's credential is read-only for us.
    #[error(
        "the master key is a systemd credential, which only systemd can replace; rotate it as a \
         file, then hand it to systemd again"
    )]
    ReadOnlyMasterKey,
    /// The certificate cannot be shown.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no such server.
    #[error("there is no database server `{0}`")]
    ServerUnknown(ServerName),
    /// A write was asked for before [`Keyring::attach`].
    #[error("the keyring was not attached to the control plane")]
    Unattached,
    /// A key that every installation has is not there, or none is in force.
    #[error("there is no key for `{0}`")]
    Missing(&'static str),
    /// The control plane refused the write.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<KeyringError> for Refusal {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Refused(refusal) => refusal,
            KeyringError::Store(error) => error.into(),
            KeyringError::ServerUnknown(_) => Self::new(&code::SERVER_UNKNOWN, error.to_string()),
            KeyringError::Sealed { .. }
            | KeyringError::Key(_)
            | KeyringError::MasterKey(_)
            | KeyringError::OtherMasterKey { .. }
            | KeyringError::ReadOnlyMasterKey
            | KeyringError::Tls(_)
            | KeyringError::Unattached
            | KeyringError::Missing(_) => {
                tracing::error!(%error, "a key cannot be used");
                Self::new(&code::INTERNAL, "a key of the installation cannot be used")
            }
        }
    }
}

/// The installation's keys. Copies are handles to the same.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    master: Arc<MasterKey>,
    control: OnceLock<Control>,
    audit: AuditKey,
    handles: Arc<HandleKey>,
    keys: RwLock<Keys>,
    /// Held from reading the store to showing what it said.
    reloading: Mutex<()>,
    /// The installation's authority as clients must be given it.
    published: watch::Sender<String>,
    leaf: Mutex<Leaf>,
    shown: ServerCertificate,
}

/// What changes while the process runs.
struct Keys {
    /// By `kid`.
    signers: BTreeMap<String, Arc<TokenSigner>>,
    installation: Authorities,
    /// Of the client certificates of hosts.
    hosts: Authorities,
    /// By the server's object id: a server that is deleted and made again has another authority.
    clients: HashMap<Uuid, Authorities>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// Opens the keys, and makes those that are missing. The audit log cannot be open yet, since its key is among them:
    /// what is made here is announced with the first events of the next start.
    pub async fn open(
        store: &Store,
        master: MasterKey,
        clock: &Clock,
    ) -> Result<Self, KeyringError> {
        let master = Arc::new(master);
        make_missing(store, &master, clock).await?;
        let stored = sealed::all(store)?;
        let (audit, handles) = (open_audit(&stored, &master)?, open_handles(&stored, &master)?);
        let keys = Keys::open(&stored, &master)?;
        let leaf = Leaf::new();
        let names = leaf.names(&store.snapshots().load());
        let (identity, leaf) = leaf.issue(&keys.installation.signing, names, clock.now())?;
        let (published, _) = watch::channel(keys.installation.pem());
        Ok(Self(Arc::new(Inner {
            store: store.clone(),
            clock: clock.clone(),
            master,
            control: OnceLock::new(),
            audit,
            handles: Arc::new(handles),
            keys: RwLock::new(keys),
            reloading: Mutex::new(()),
            published,
            leaf: Mutex::new(leaf),
            shown: ServerCertificate::new(identity)?,
        })))
    }

    /// Through which later writes go, so that each is in the audit log. Attaching twice changes nothing.
    pub fn attach(&self, control: &Control) {
        // The first one stays: it is the same control plane.
        let _former = self.0.control.set(control.clone());
    }

    /// Signs the audit log's checkpoints.
    pub fn audit_key(&self) -> AuditKey {
        self.0.audit.clone()
    }

    /// Seals and opens handles.
    pub fn handle_key(&self) -> Arc<HandleKey> {
        Arc::clone(&self.0.handles)
    }

    /// Seals a person's TOTP seed into a record that is written at this revision.
    pub fn seal_seed(
        &self,
        person: PrincipalId,
        revision: u64,
        seed: &[u8],
    ) -> Result<Vec<u8>, KeyringError> {
        let id = person.to_string();
        let context = SealContext { kind: sealed::TOTP_SEED, id: &id, revision };
        Ok(self.0.master.seal(&context, seed)?)
    }

    /// Opens a person's TOTP seed, sealed at this revision.
    pub fn open_seed(
        &self,
        person: PrincipalId,
        revision: u64,
        sealed: &[u8],
    ) -> Result<Secret<Vec<u8>>, KeyringError> {
        sealed::open_seed(&self.0.master, &person.to_string(), (revision, sealed))
    }

    fn control(&self) -> Result<&Control, KeyringError> {
        self.0.control.get().ok_or(KeyringError::Unattached)
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys_mut(&self) -> RwLockWriteGuard<'_, Keys> {
        self.0.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the records again, after a write that changed them.
    fn reload(&self) -> Result<(), KeyringError> {
        // One at a time: what was read earlier never takes the place of what was read later.
        let _turn = self.0.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = Keys::open(&sealed::all(&self.0.store)?, &self.0.master)?;
        let pem = keys.installation.pem();
        *self.keys_mut() = keys;
        self.0.published.send_if_modified(|published| {
            let changed = *published != pem;
            *published = pem;
            changed
        });
        Ok(())
    }
}

impl Keys {
    fn open(stored: &[(String, SealedKey)], master: &MasterKey) -> Result<Self, KeyringError> {
        let mut signers = BTreeMap::new();
        for (key, sealed) in stored.iter().filter(|(_, key)| key.purpose == Purpose::Tokens) {
            let signer = TokenSigner::from_pkcs8(sealed.open(master, key)?.expose())?;
            signers.insert(signer.kid().to_owned(), Arc::new(signer));
        }
        let mut clients = HashMap::new();
        let (mut installation, mut hosts) = (None, None);
        for (purpose, authorities) in authorities::open_all(stored, master)? {
            match purpose {
                Purpose::ClientAuthority { server } => {
                    clients.insert(server, authorities);
                }
                Purpose::InstallationAuthority => installation = Some(authorities),
                Purpose::HostAuthority => hosts = Some(authorities),
                Purpose::AuditLog | Purpose::Handles | Purpose::Tokens => {}
            }
        }
        let installation = installation.ok_or(KeyringError::Missing("installation authority"))?;
        let hosts = hosts.ok_or(KeyringError::Missing("host authority"))?;
        Ok(Self { signers, installation, hosts, clients })
    }
}

/// Makes what every installation has, in one write.
async fn make_missing(
    store: &Store,
    master: &Arc<MasterKey>,
    clock: &Clock,
) -> Result<(), KeyringError> {
    let stored = sealed::all(store)?;
    let lacks = |purpose: &Purpose| !stored.iter().any(|(_, key)| key.purpose == *purpose);
    let mut made = Vec::new();
    if lacks(&Purpose::AuditLog) {
        let key = AuditKey::generate()?;
        made.push(sealed::New::plain(Purpose::AuditLog, key.to_pkcs8()?));
    }
    if lacks(&Purpose::Handles) {
        let key = HandleKey::generate()?;
        let bytes = Secret::new(key.bytes().expose().to_vec());
        made.push(sealed::New::plain(Purpose::Handles, bytes));
    }
    if lacks(&Purpose::InstallationAuthority) {
        made.push(authorities::new(&WhoseAuthority::Installation, clock.now())?);
    }
    if lacks(&Purpose::HostAuthority) {
        made.push(authorities::new(&WhoseAuthority::Hosts, clock.now())?);
    }
    let signer = lacks(&Purpose::Tokens).then(TokenSigner::generate).transpose()?;
    if made.is_empty() && signer.is_none() {
        return Ok(());
    }
    let master = Arc::clone(master);
    let work = move |transaction: &mut Transaction<'_>| {
        let mut names: Vec<String> = Vec::new();
        for new in made {
            names.push(new.purpose().word().to_owned());
            new.put(transaction, &master)?;
        }
        if let Some(signer) = signer {
            names.push(Purpose::Tokens.word().to_owned());
            signing::put(transaction, &master, &signer, transaction.now())?;
        }
        let event = EventBody::Installation {
            actor: Actor::portcullis(),
            action: "keysCreated".to_owned(),
            subject: "Keyring".to_owned(),
            detail: [("keys".to_owned(), names.into())].into(),
        };
        put_pending(transaction, "keys", event)?;
        Ok::<_, KeyringError>(())
    };
    store.write(work).await.map_err(WriteError::into_inner)?;
    Ok(())
}

fn open_audit(
    stored: &[(String, SealedKey)],
    master: &MasterKey,
) -> Result<AuditKey, KeyringError> {
    let (key, sealed) = only(stored, &Purpose::AuditLog)?;
    Ok(AuditKey::from_pkcs8(sealed.open(master, key)?.expose())?)
}

fn open_handles(
    stored: &[(String, SealedKey)],
    master: &MasterKey,
) -> Result<HandleKey, KeyringError> {
    let (key, sealed) = only(stored, &Purpose::Handles)?;
    Ok(HandleKey::from_bytes(sealed.open(master, key)?.expose())?)
}

fn only<'a>(
    stored: &'a [(String, SealedKey)],
    purpose: &Purpose,
) -> Result<&'a (String, SealedKey), KeyringError> {
    let found = stored.iter().find(|(_, key)| key.purpose == *purpose);
    found.ok_or(KeyringError::Missing(purpose.word()))
}

#[cfg(test)]
mod tests;
