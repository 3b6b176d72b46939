//! Sealed keys as records, and the ones that every installation has from its first start.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::BASE64;
use keys::{AuditKey, Authority, HandleKey, MasterKey, SealContext, TokenSigner};
use model::kind::signing_key::SigningKey;
use model::{Document, Timestamp};
use runtime::Secret;
use serde::{Deserialize, Serialize};
use store::{Record, Store, Transaction};
use uuid::Uuid;

use super::KeyringError;

/// One private key, sealed. The key's id, and the revision at which it was sealed, are bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedKey {
    sealed: String,
    revision: u64,
    /// Of an authority: its certificate, which is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
}

impl Record for SealedKey {
    const COLLECTION: &'static str = "keys";
}

const KIND: &str = "key";
const AUDIT: &str = "audit";
const HANDLES: &str = "handles";
const INSTALLATION: &str = "installation";

pub(super) fn signing_id(kid: &str) -> String {
    format!("signing/{kid}")
}

pub(super) fn authority_id(server: Uuid) -> String {
    format!("authority/{server}")
}

impl SealedKey {
    pub(super) fn seal(
        id: &str,
        key: &[u8],
        revision: u64,
        master: &MasterKey,
    ) -> Result<Self, KeyringError> {
        let sealed = master.seal(&SealContext { kind: KIND, id, revision }, key)?;
        Ok(Self { sealed: BASE64.encode(&sealed), revision, certificate: None })
    }

    pub(super) fn of_authority(
        id: &str,
        authority: &Authority,
        revision: u64,
        master: &MasterKey,
    ) -> Result<Self, KeyringError> {
        let sealed = Self::seal(id, authority.key_pkcs8().expose(), revision, master)?;
        Ok(Self { certificate: Some(authority.certificate_pem()), ..sealed })
    }

    pub(super) fn open(
        &self,
        id: &str,
        master: &MasterKey,
    ) -> Result<Secret<Vec<u8>>, KeyringError> {
        let sealed = BASE64
            .decode(self.sealed.as_bytes())
            .map_err(|_| KeyringError::Unreadable(id.to_owned()))?;
        let context = SealContext { kind: KIND, id, revision: self.revision };
        master
            .open(&context, &sealed)
            .map_err(|cause| KeyringError::Sealed { id: id.to_owned(), cause })
    }

    pub(super) fn authority(
        &self,
        id: &str,
        master: &MasterKey,
    ) -> Result<Authority, KeyringError> {
        let certificate =
            self.certificate.as_deref().ok_or_else(|| KeyringError::Unreadable(id.to_owned()))?;
        Ok(Authority::from_pem(certificate, self.open(id, master)?.expose())?)
    }
}

/// What every installation has.
pub(super) struct Opened {
    pub(super) audit: Secret<Vec<u8>>,
    pub(super) handles: HandleKey,
    pub(super) installation: Authority,
    pub(super) signers: HashMap<String, Arc<TokenSigner>>,
}

/// Opens the keys that are there and makes the missing ones, in one transaction.
pub(super) async fn open_or_make(
    store: &Store,
    master: MasterKey,
) -> Result<(MasterKey, Opened), KeyringError> {
    let written = store
        .write(move |transaction| {
            let opened = Opened {
                audit: audit(transaction, &master)?,
                handles: handles(transaction, &master)?,
                installation: installation(transaction, &master)?,
                signers: HashMap::new(),
            };
            if transaction.state().signing_keys.is_empty() {
                let now = transaction.now();
                put_signer(transaction, &master, now)?;
            }
            Ok::<_, KeyringError>((master, opened))
        })
        .await;
    Ok(written.map_err(store::WriteError::into_inner)?.value)
}

fn audit(
    transaction: &mut Transaction<'_>,
    master: &MasterKey,
) -> Result<Secret<Vec<u8>>, KeyringError> {
    if let Some(record) = transaction.record::<SealedKey>(AUDIT)? {
        return record.open(AUDIT, master);
    }
    let key = AuditKey::generate()?.to_pkcs8()?;
    let record = SealedKey::seal(AUDIT, key.expose(), transaction.revision().0, master)?;
    transaction.put_record(AUDIT, &record, None)?;
    Ok(key)
}

fn handles(
    transaction: &mut Transaction<'_>,
    master: &MasterKey,
) -> Result<HandleKey, KeyringError> {
    if let Some(record) = transaction.record::<SealedKey>(HANDLES)? {
        return Ok(HandleKey::from_bytes(record.open(HANDLES, master)?.expose())?);
    }
    let bytes = Secret::new(keys::random::<32>()?.to_vec());
    let record = SealedKey::seal(HANDLES, bytes.expose(), transaction.revision().0, master)?;
    transaction.put_record(HANDLES, &record, None)?;
    Ok(HandleKey::from_bytes(bytes.expose())?)
}

fn installation(
    transaction: &mut Transaction<'_>,
    master: &MasterKey,
) -> Result<Authority, KeyringError> {
    if let Some(record) = transaction.record::<SealedKey>(INSTALLATION)? {
        return record.authority(INSTALLATION, master);
    }
    let name = format!("Portcullis installation {}", Uuid::new_v4());
    let authority =
        Authority::create(&name, keys::authority::AUTHORITY_LIFETIME, transaction.now())?;
    let record =
        SealedKey::of_authority(INSTALLATION, &authority, transaction.revision().0, master)?;
    transaction.put_record(INSTALLATION, &record, None)?;
    Ok(authority)
}

/// Makes a key that signs tokens from an instant on, and publishes its public half at once.
pub(super) fn put_signer(
    transaction: &mut Transaction<'_>,
    master: &MasterKey,
    signs_from: Timestamp,
) -> Result<String, KeyringError> {
    let signer = TokenSigner::generate()?;
    let id = signing_id(signer.kid());
    let record =
        SealedKey::seal(&id, signer.to_pkcs8()?.expose(), transaction.revision().0, master)?;
    transaction.put_record(&id, &record, None)?;
    let spec = SigningKey {
        modulus: signer.modulus().to_owned(),
        exponent: signer.exponent().to_owned(),
        signs_from,
        verifies_until: Timestamp::MAX,
    };
    transaction.put(Document::new(signer.kid(), spec))?;
    Ok(signer.kid().to_owned())
}
