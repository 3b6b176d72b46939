//! Keys as the store keeps them: sealed under the master key, bound to their record and revision.

use data_encoding::BASE64URL_NOPAD;
use keys::{MasterKey, SealContext, SealError};
use model::Timestamp;
use runtime::Secret;
use serde::{Deserialize, Serialize};
use store::{Reader, Record, Store, Transaction};
use uuid::Uuid;

use super::KeyringError;
use crate::credentials::Enrolment;

/// The kind under which TOTP seeds are sealed; the rest are [`Purpose::word`].
pub(super) const TOTP_SEED: &str = "totp-seed";

/// What a key is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Purpose {
    /// Signs the audit log's checkpoints.
    AuditLog,
    /// Seals handles.
    Handles,
    /// Signs tokens.
    Tokens,
    /// Signs the certificates of our own TLS servers.
    InstallationAuthority,
    /// Signs the client certificates of hosts.
    HostAuthority,
    /// Signs the client certificates that one database server accepts.
    ClientAuthority {
        /// The server's object id.
        server: Uuid,
    },
}

impl Purpose {
    /// Part of what a seal is bound to: never changes.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::AuditLog => "audit-log",
            Self::Handles => "handles",
            Self::Tokens => "tokens",
            Self::InstallationAuthority => "installation-authority",
            Self::HostAuthority => "host-authority",
            Self::ClientAuthority { .. } => "client-authority",
        }
    }

    fn record_key(&self) -> String {
        match self {
            Self::AuditLog | Self::Handles => self.word().to_owned(),
            Self::Tokens | Self::InstallationAuthority | Self::HostAuthority => {
                format!("{}/{}", self.word(), Uuid::new_v4())
            }
            Self::ClientAuthority { server } => {
                format!("{}/{server}/{}", self.word(), Uuid::new_v4())
            }
        }
    }
}

/// A private key as the store keeps it. Key: its purpose and, where there can be several, what tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedKey {
    pub(super) purpose: Purpose,
    /// Base64url without padding.
    pub(super) sealed: String,
    /// The revision that the seal is bound to.
    pub(super) sealed_at: u64,
    pub(super) created_at: Timestamp,
    /// An authority's certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<String>,
    /// The authority does not sign yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) successor: bool,
    /// That the authority's end is near was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) warned: bool,
}

impl Record for SealedKey {
    const COLLECTION: &'static str = "keys";
}

/// Every key in the store.
pub(super) fn all(store: &Store) -> Result<Vec<(String, SealedKey)>, KeyringError> {
    Ok(store.read(Reader::records::<SealedKey>)?)
}

impl SealedKey {
    /// The private key.
    pub(super) fn open(
        &self,
        master: &MasterKey,
        key: &str,
    ) -> Result<Secret<Vec<u8>>, KeyringError> {
        let sealed = decode(&self.sealed, key)?;
        let context = SealContext { kind: self.purpose.word(), id: key, revision: self.sealed_at };
        let cannot = |cause| KeyringError::Sealed { key: key.to_owned(), cause };
        master.open(&context, &sealed).map_err(cannot)
    }

    /// Under which master key it is sealed.
    pub(super) fn sealed_under(&self, key: &str) -> Result<keys::KeyId, KeyringError> {
        let cannot = |cause| KeyringError::Sealed { key: key.to_owned(), cause };
        MasterKey::sealed_under(&decode(&self.sealed, key)?).map_err(cannot)
    }

    /// The same key, sealed for another revision or under another master key.
    pub(super) fn resealed(
        self,
        (from, to): (&MasterKey, &MasterKey),
        key: &str,
        revision: u64,
    ) -> Result<Self, KeyringError> {
        let plain = self.open(from, key)?;
        let context = SealContext { kind: self.purpose.word(), id: key, revision };
        let sealed = BASE64URL_NOPAD.encode(&to.seal(&context, plain.expose())?);
        Ok(Self { sealed, sealed_at: revision, ..self })
    }
}

/// A key that is not in the store yet.
pub(super) struct New {
    purpose: Purpose,
    private: Secret<Vec<u8>>,
    certificate: Option<String>,
    successor: bool,
}

impl New {
    pub(super) fn plain(purpose: Purpose, private: Secret<Vec<u8>>) -> Self {
        Self { purpose, private, certificate: None, successor: false }
    }

    pub(super) fn authority(
        purpose: Purpose,
        authority: &keys::Authority,
    ) -> Result<Self, KeyringError> {
        Ok(Self {
            purpose,
            private: authority.key_pkcs8()?,
            certificate: Some(authority.certificate_pem()),
            successor: false,
        })
    }

    pub(super) fn succeeding(self) -> Self {
        Self { successor: true, ..self }
    }

    pub(super) const fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// Seals it into its record.
    pub(super) fn put(
        self,
        transaction: &mut Transaction<'_>,
        master: &MasterKey,
    ) -> Result<(), KeyringError> {
        let key = self.purpose.record_key();
        let revision = transaction.revision().0;
        let context = SealContext { kind: self.purpose.word(), id: &key, revision };
        let sealed = BASE64URL_NOPAD.encode(&master.seal(&context, self.private.expose())?);
        let record = SealedKey {
            purpose: self.purpose,
            sealed,
            sealed_at: revision,
            created_at: transaction.now(),
            certificate: self.certificate,
            successor: self.successor,
            warned: false,
        };
        Ok(transaction.put_record(&key, &record, None)?)
    }
}

/// A person's TOTP seed, sealed at this revision.
pub(super) fn open_seed(
    master: &MasterKey,
    person: &str,
    (revision, sealed): (u64, &[u8]),
) -> Result<Secret<Vec<u8>>, KeyringError> {
    let context = SealContext { kind: TOTP_SEED, id: person, revision };
    let cannot = |cause| KeyringError::Sealed { key: format!("{TOTP_SEED}/{person}"), cause };
    master.open(&context, sealed).map_err(cannot)
}

/// The same enrolment, its seed sealed for another revision under another master key.
pub(super) fn reseal_seed(
    (from, to): (&MasterKey, &MasterKey),
    person: &str,
    enrolment: Enrolment,
    revision: u64,
) -> Result<Enrolment, KeyringError> {
    let sealed = decode(&enrolment.sealed_seed, person)?;
    let seed = open_seed(from, person, (enrolment.sealed_at, &sealed))?;
    let context = SealContext { kind: TOTP_SEED, id: person, revision };
    let sealed_seed = BASE64URL_NOPAD.encode(&to.seal(&context, seed.expose())?);
    Ok(Enrolment { sealed_seed, sealed_at: revision, ..enrolment })
}

fn decode(sealed: &str, key: &str) -> Result<Vec<u8>, KeyringError> {
    let cannot = |_| KeyringError::Sealed { key: key.to_owned(), cause: SealError::Truncated };
    BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(cannot)
}
