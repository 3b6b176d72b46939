//! Keys that sign tokens. The next one is published before it signs, so that validators that keep the key set know it
//! in time (the contract: at least 24 hours).

use std::sync::Arc;
use std::time::Duration;

use keys::{MasterKey, TokenSigner};
use model::kind::revocation::{Revocation, RevokedTokens};
use model::kind::signing_key::SigningKey;
use model::{Document, Kind, Snapshot, Timestamp};
use store::Transaction;

use super::sealed::{New, Purpose, SealedKey};
use super::{Keyring, KeyringError};
use crate::caller::Caller;
use crate::issue::TOKEN_LIFETIME_MAX;
use crate::verb::Verb;
use crate::write::Writing;

/// A key signs for so long.
pub(super) const SIGNS_FOR: Duration = Duration::from_hours(30 * 24);
/// Published so long before it signs.
pub(super) const PUBLISHED_BEFORE: Duration = Duration::from_hours(24);
/// Without a successor (the process was down), a key verifies for so long after its first signature.
const VERIFIES_FOR_MAX: Duration = Duration::from_hours(90 * 24);

/// How the next signing key takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningRotation {
    /// Published now, signs in 24 hours; what the present key signed stays good to its end.
    Overlap,
    /// Signs now; what was signed before stays good to its end: the time for an overlap was missed.
    Late,
    /// Signs now, and every token signed before is refused from now on: a key is lost or stolen.
    AtOnce,
}

impl Keyring {
    /// The key that signs now: the latest of those whose time has come.
    pub fn signer(&self) -> Result<Arc<TokenSigner>, KeyringError> {
        let (snapshot, now) = (self.0.store.snapshots().load(), self.0.clock.now());
        let keys = self.keys();
        snapshot
            .signing_keys
            .iter()
            .filter(|key| key.spec.signs_from <= now && now < key.spec.verifies_until)
            .filter_map(|key| Some((key.spec.signs_from, keys.signers.get(key.name())?)))
            .max_by_key(|(signs_from, _)| *signs_from)
            .map(|(_, signer)| Arc::clone(signer))
            .ok_or(KeyringError::Missing("tokens"))
    }

    /// Makes the next key; returns its `kid` and when it signs. An owner's act when there is a caller.
    pub async fn rotate_signing_key(
        &self,
        caller: Option<&Caller>,
        rotation: SigningRotation,
    ) -> Result<(String, Timestamp), KeyringError> {
        let signer = tokio::task::spawn_blocking(TokenSigner::generate)
            .await
            .map_err(|_| keys::KeyError::Failed { task: "make an RSA key" })??;
        let subject = format!("{}/{}", Kind::SigningKey, signer.kid());
        let kid = signer.kid().to_owned();
        let master = Arc::clone(&self.0.master);
        let work = move |writing: &mut Writing<'_, '_>| {
            let now = writing.now();
            let (signs_from, others_until) = match rotation {
                SigningRotation::Overlap => {
                    let signs_from = now.plus(PUBLISHED_BEFORE);
                    (signs_from, signs_from.plus(TOKEN_LIFETIME_MAX))
                }
                SigningRotation::Late => (now, now.plus(TOKEN_LIFETIME_MAX)),
                SigningRotation::AtOnce => (now, now),
            };
            end_others(writing, others_until)?;
            if rotation == SigningRotation::AtOnce {
                revoke_everything(writing)?;
            }
            put(writing, &master, &signer, signs_from)?;
            Ok(signs_from)
        };
        let control = self.control()?;
        let committed = match caller {
            Some(caller) => control.write(caller, Verb::RotateSigningKey, subject, work).await?,
            None => control.system(Verb::KeepKeys, subject, work).await?,
        };
        self.reload()?;
        Ok((kid, committed.value))
    }

    /// Takes keys out whose tokens are all dead.
    pub(super) async fn forget_signing_keys(&self) -> Result<(), KeyringError> {
        let master = Arc::clone(&self.0.master);
        let work = move |writing: &mut Writing<'_, '_>| {
            let dead = dead(writing.state(), writing.now());
            for (key, sealed) in writing.records::<SealedKey>()? {
                if sealed.purpose != Purpose::Tokens {
                    continue;
                }
                let private = sealed.open(&master, &key)?;
                let signer =
                    TokenSigner::from_pkcs8(private.expose()).map_err(KeyringError::from)?;
                if dead.iter().any(|kid| kid == signer.kid()) {
                    writing.delete_record::<SealedKey>(&key)?;
                }
            }
            for kid in dead {
                writing.delete(Kind::SigningKey, &kid)?;
            }
            Ok(())
        };
        self.control()?.system(Verb::KeepKeys, "SigningKey", work).await?;
        self.reload()
    }
}

/// The `kid`s of keys whose tokens are all dead, as long as another key is left.
pub(super) fn dead(snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
    let over = |key: &&Arc<Document<SigningKey>>| key.spec.verifies_until <= now;
    if snapshot.signing_keys.iter().all(|key| over(&key)) {
        return Vec::new();
    }
    snapshot.signing_keys.iter().filter(over).map(|key| key.name().to_owned()).collect()
}

/// When the next key must be made; `None` when there is none at all.
pub(super) fn next_due(snapshot: &Snapshot) -> Option<Timestamp> {
    let newest = snapshot.signing_keys.iter().max_by_key(|key| key.spec.signs_from)?;
    Some(newest.spec.signs_from.plus(SIGNS_FOR).minus(PUBLISHED_BEFORE))
}

/// The newest key dies so soon that a token signed now could outlive it: overlap comes too late.
pub(super) fn too_late(snapshot: &Snapshot, now: Timestamp) -> bool {
    let last = snapshot.signing_keys.iter().map(|key| key.spec.verifies_until).max();
    last.is_none_or(|last| last <= now.plus(PUBLISHED_BEFORE).plus(TOKEN_LIFETIME_MAX))
}

/// Keeps a signer: its public half as a document, its private half sealed.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    master: &MasterKey,
    signer: &TokenSigner,
    signs_from: Timestamp,
) -> Result<(), KeyringError> {
    let spec = SigningKey {
        modulus: signer.modulus().to_owned(),
        exponent: signer.exponent().to_owned(),
        signs_from,
        verifies_until: signs_from.plus(VERIFIES_FOR_MAX),
    };
    transaction.put(Document::new(signer.kid(), spec))?;
    New::plain(Purpose::Tokens, signer.to_pkcs8()?).put(transaction, master)
}

/// Handles say nothing of the key that signed their token, so all tokens die by their time of issue, which has whole
/// seconds: the second of the rotation, and the one that a thief could date ahead, are in it.
fn revoke_everything(writing: &mut Writing<'_, '_>) -> Result<(), KeyringError> {
    let now = writing.now();
    let before = Timestamp::from_seconds(now.seconds()).plus(Duration::from_secs(2));
    let revocation = Revocation {
        tokens: RevokedTokens::EveryIssuedBefore { before },
        keep_until: before.plus(TOKEN_LIFETIME_MAX),
        reason: Some("the token-signing key was replaced at once".to_owned()),
    };
    writing.put(Document::new(uuid::Uuid::new_v4().to_string(), revocation))?;
    Ok(())
}

fn end_others(writing: &mut Writing<'_, '_>, until: Timestamp) -> Result<(), KeyringError> {
    let keys: Vec<Document<SigningKey>> =
        writing.state().signing_keys.iter().map(|key| Document::clone(key)).collect();
    for mut key in keys.into_iter().filter(|key| key.spec.verifies_until > until) {
        key.spec.verifies_until = until;
        // A key that has not signed yet and never will is over before it began.
        key.spec.signs_from = key.spec.signs_from.min(until);
        writing.put(key)?;
    }
    Ok(())
}
