//! Loading and rotating the master key. What is sealed is sealed anew in one write; the new key waits beside the old
//! one until that is on disk, so that a crash at any point leaves a key that opens the store.

use std::path::Path;
use std::sync::Arc;

use keys::{KeyId, MasterKey, MasterKeyError};
use model::event::{Actor, EventBody};
use runtime::config::MasterKeySource;
use store::{Store, Transaction, WriteError};

use super::KeyringError;
use super::sealed::{self, SealedKey};
use crate::credentials::Enrolment;
use crate::install::put_pending;

/// Loads the master key that the store is sealed under, finishing a rotation that was cut short.
pub fn load_master_key(source: &MasterKeySource, store: &Store) -> Result<MasterKey, KeyringError> {
    let loaded = MasterKey::load(source)?;
    let Some(sealed) = sealed_under(store)? else { return Ok(loaded) };
    if sealed == loaded.id() {
        return Ok(loaded);
    }
    let file = match source {
        MasterKeySource::File(file) => file,
        MasterKeySource::SystemdCredential(file) => return Err(other(sealed, &loaded, file)),
    };
    let next = MasterKey::load(&MasterKeySource::File(MasterKey::next_file(file)));
    match next {
        Ok(next) if next.id() == sealed => {
            put_in_place(file)?;
            Ok(next)
        }
        _ => Err(other(sealed, &loaded, file)),
    }
}

/// Seals everything anew under a fresh master key and puts that in the old one's place; no server may be running.
/// Returns how many values were sealed. The event waits in the store, in the same transaction.
pub fn rotate_master_key(source: &MasterKeySource, store: &Store) -> Result<u64, KeyringError> {
    let MasterKeySource::File(file) = source else { return Err(KeyringError::ReadOnlyMasterKey) };
    let old = load_master_key(source, store)?;
    let new = Arc::new(MasterKey::generate()?);
    let waiting = MasterKey::next_file(file);
    let unwritable = |cause| MasterKeyError::Unwritable { file: waiting.clone(), cause };
    match std::fs::remove_file(&waiting) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            return Err(unwritable(cause).into());
        }
        _ => new.write_new(&waiting).map_err(unwritable)?,
    }
    let work = {
        let new = Arc::clone(&new);
        move |transaction: &mut Transaction<'_>| reseal(transaction, &old, &new)
    };
    let sealed = store.write_blocking(work).map_err(WriteError::into_inner)?.value;
    put_in_place(file)?;
    Ok(sealed)
}

fn reseal(
    transaction: &mut Transaction<'_>,
    old: &MasterKey,
    new: &MasterKey,
) -> Result<u64, KeyringError> {
    let revision = transaction.revision().0;
    let mut count = 0;
    for (key, record) in transaction.records::<SealedKey>()? {
        let record = record.resealed((old, new), &key, revision)?;
        transaction.put_record(&key, &record, None)?;
        count += 1;
    }
    for (person, enrolment) in transaction.records::<Enrolment>()? {
        let enrolment = sealed::reseal_seed((old, new), &person, enrolment, revision)?;
        transaction.put_record(&person, &enrolment, None)?;
        count += 1;
    }
    let detail = [
        ("from".to_owned(), old.id().to_string().into()),
        ("to".to_owned(), new.id().to_string().into()),
        ("values".to_owned(), count.into()),
    ];
    let event = EventBody::Installation {
        actor: Actor::claimed("root"),
        action: "masterKeyRotated".to_owned(),
        subject: "MasterKey".to_owned(),
        detail: detail.into(),
    };
    put_pending(transaction, "master-key", event)?;
    Ok(count)
}

/// Under which master key the store is sealed, when it holds any key.
fn sealed_under(store: &Store) -> Result<Option<KeyId>, KeyringError> {
    let stored = sealed::all(store)?;
    stored.first().map(|(key, sealed)| sealed.sealed_under(key)).transpose()
}

fn put_in_place(file: &Path) -> Result<(), KeyringError> {
    Ok(MasterKey::promote_next(file)?)
}

fn other(sealed: KeyId, loaded: &MasterKey, file: &Path) -> KeyringError {
    KeyringError::OtherMasterKey { sealed, loaded: loaded.id(), file: file.display().to_string() }
}
