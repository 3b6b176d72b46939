//! What must be made and renewed while time goes by: a client authority for each new server, the next signing key,
//! the origin's certificate; and warnings before an authority ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keys::Authority;
use model::event::{Actor, EventBody};
use model::kind::server::DatabaseServer;
use model::{Document, Kind, Refusal, Snapshot, Timestamp, code};
use uuid::Uuid;

use super::sealed::{self, SealedKey};
use super::{Keyring, KeyringError};
use crate::control::Control;
use crate::issue::TOKEN_LIFETIME_MAX;
use crate::reconcile::Reconciler;
use crate::verb::Verb;
use crate::write::Writing;
use crate::{Caller, Done};

/// A signing key signs for so long, then the next one does.
const SIGNS_FOR: Duration = Duration::from_hours(30 * 24);
/// The next one is published so long before it signs, so that validators know it in time.
const PUBLISHED_BEFORE: Duration = Duration::from_hours(24);
/// Said so long before an authority ends.
const WARNED_BEFORE: Duration = Duration::from_hours(30 * 24);

/// Keeps keys and authorities.
#[derive(Clone, Debug)]
pub struct Keys {
    control: Control,
    keyring: Keyring,
}

impl Keys {
    /// For this control plane.
    pub fn new(control: Control, keyring: Keyring) -> Self {
        Self { control, keyring }
    }

    /// Makes the next signing key, to sign from tomorrow on.
    pub async fn rotate_signing_key(&self, caller: &Caller) -> Result<Done<String>, Refusal> {
        let keyring = self.keyring.clone();
        let work = move |writing: &mut Writing<'_, '_>| next_signer(writing, &keyring);
        let committed =
            self.control.write(caller, Verb::RotateSigningKey, "SigningKey", work).await?;
        Ok(self.control.acknowledged(committed).await)
    }

    /// Makes the next client authority of a server. Its status then holds both certificates; sessions use the new one at
    /// once, so the server must trust both first: `portcullis server enroll` says what to change.
    pub async fn rotate_authority(
        &self,
        caller: &Caller,
        server: String,
    ) -> Result<Done<String>, Refusal> {
        let keyring = self.keyring.clone();
        let subject = format!("DatabaseServer/{server}");
        let work = move |writing: &mut Writing<'_, '_>| {
            let document = writing.state().servers.get(&server).map(|known| Document::clone(known));
            let document = document.ok_or_else(|| {
                Refusal::new(&code::NOT_FOUND, format!("there is no DatabaseServer `{server}`"))
            })?;
            let uid = document.uid();
            make_authority(writing, &keyring, document).map(|pem| (uid, pem))
        };
        let committed = self.control.write(caller, Verb::RotateAuthority, subject, work).await?;
        self.keyring.forget_authority(committed.value.0);
        let done = self.control.acknowledged(committed).await;
        Ok(Done { value: done.value.1, revision: done.revision, lag: done.lag })
    }

    async fn authorities(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let bare = |state: &Snapshot| {
            let bare = state.servers.iter().find(|server| server.status.client_authority.is_none());
            bare.map(|server| Document::clone(server))
        };
        if bare(snapshot).is_none() {
            return Ok(());
        }
        let keyring = self.keyring.clone();
        let work = move |writing: &mut Writing<'_, '_>| {
            while let Some(document) = bare(writing.state()) {
                make_authority(writing, &keyring, document)?;
            }
            Ok(())
        };
        self.control.system(Verb::KeepKeys, "client authorities", work).await?;
        Ok(())
    }

    async fn signing_keys(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), Refusal> {
        let due =
            |state: &Snapshot, now: Timestamp| rotation_due(state).is_none_or(|due| due <= now);
        let dead = |state: &Snapshot, now: Timestamp| {
            let mut dead = state.signing_keys.iter().filter(|key| key.spec.verifies_until <= now);
            dead.next().map(|key| key.name().to_owned())
        };
        if !due(snapshot, now) && dead(snapshot, now).is_none() {
            return Ok(());
        }
        let keyring = self.keyring.clone();
        let work = move |writing: &mut Writing<'_, '_>| {
            let now = writing.now();
            while let Some(kid) = dead(writing.state(), now) {
                writing.delete(Kind::SigningKey, &kid)?;
                writing.delete_record::<SealedKey>(&sealed::signing_id(&kid))?;
            }
            if due(writing.state(), now) {
                next_signer(writing, &keyring)?;
            }
            Ok(())
        };
        self.control.system(Verb::KeepKeys, "signing keys", work).await?;
        Ok(())
    }

    /// Once a day, from 30 days before an authority's end.
    async fn warn(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), Refusal> {
        let installation = [("installation".to_owned(), self.keyring.0.installation.not_after())];
        let servers =
            snapshot.servers.iter().filter(|server| server.status.client_authority.is_some());
        let servers = servers.filter_map(|server| {
            let ends = self.keyring.authority(server.uid()).ok()?.not_after();
            Some((format!("DatabaseServer/{}", server.name()), ends))
        });
        let today = now.seconds() / 86_400;
        for (subject, ends) in installation.into_iter().chain(servers) {
            if now.plus(WARNED_BEFORE) < ends {
                continue;
            }
            tracing::warn!(subject, %ends, "an authority ends soon; rotate it with `portcullis authority rotate`");
            let work =
                move |writing: &mut Writing<'_, '_>| warn_once(writing, &subject, (ends, today));
            self.control.system(Verb::KeepKeys, "authorities that end", work).await?;
        }
        Ok(())
    }
}

impl Reconciler for Keys {
    type Error = Refusal;

    fn name(&self) -> &'static str {
        "keys"
    }

    fn next_deadline(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        rotation_due(snapshot)
    }

    async fn reconcile(&self, snapshot: Arc<Snapshot>) -> Result<(), Refusal> {
        let now = self.keyring.0.clock.now();
        self.keyring.renew_certificate(now).map_err(|error| unusable(&error))?;
        self.authorities(&snapshot).await?;
        self.signing_keys(&snapshot, now).await?;
        self.warn(&snapshot, now).await
    }
}

/// When the next signing key must be published.
fn rotation_due(state: &Snapshot) -> Option<Timestamp> {
    let latest = state.signing_keys.iter().map(|key| key.spec.signs_from).max()?;
    Some(latest.plus(SIGNS_FOR.saturating_sub(PUBLISHED_BEFORE)))
}

/// The next key signs from tomorrow on; those before it verify until their last token has expired.
fn next_signer(writing: &mut Writing<'_, '_>, keyring: &Keyring) -> Result<String, Refusal> {
    let signs_from = writing.now().plus(PUBLISHED_BEFORE);
    let until = signs_from.plus(TOKEN_LIFETIME_MAX);
    let before: Vec<_> =
        writing.state().signing_keys.iter().map(|key| Document::clone(key)).collect();
    for mut key in before {
        if key.spec.verifies_until > until {
            key.spec.verifies_until = until;
            writing.put(key)?;
        }
    }
    sealed::put_signer(writing, &keyring.0.master, signs_from).map_err(|error| unusable(&error))
}

fn make_authority(
    writing: &mut Writing<'_, '_>,
    keyring: &Keyring,
    mut server: Document<DatabaseServer>,
) -> Result<String, Refusal> {
    let id = sealed::authority_id(server.uid());
    let name = format!("Portcullis clients of {} {}", short(server.name()), Uuid::new_v4());
    let authority = Authority::create(&name, keys::authority::AUTHORITY_LIFETIME, writing.now())
        .map_err(|error| unusable(&error.into()))?;
    let record = SealedKey::of_authority(&id, &authority, writing.revision().0, &keyring.0.master);
    writing.put_record(&id, &record.map_err(|error| unusable(&error))?, None)?;
    let pem = authority.certificate_pem();
    let former = server.status.client_authority.take().unwrap_or_default();
    server.status.client_authority = Some(format!("{pem}{}", first_certificate(&former)));
    writing.put(server)?;
    Ok(pem)
}

/// Of several certificates, the one in force: authorities overlap by one.
fn first_certificate(pem: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----";
    match pem.split_inclusive(END).next() {
        Some(first) if first.ends_with(END) => first,
        _ => "",
    }
}

/// A common name has 64 characters at most; 37 of them make it unique.
fn short(name: &str) -> String {
    name.chars().take(4).collect()
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Warned {
    day: i64,
}

impl store::Record for Warned {
    const COLLECTION: &'static str = "warned";
}

fn warn_once(
    writing: &mut Writing<'_, '_>,
    subject: &str,
    (ends, today): (Timestamp, i64),
) -> Result<(), Refusal> {
    if writing.record::<Warned>(subject)?.is_some_and(|warned| warned.day == today) {
        return Ok(());
    }
    writing.put_record(subject, &Warned { day: today }, None)?;
    writing.note(EventBody::Installation {
        actor: Actor::portcullis(),
        action: "authorityEnding".to_owned(),
        subject: subject.to_owned(),
        detail: BTreeMap::from([("ends".to_owned(), ends.to_string().into())]),
    });
    Ok(())
}

fn unusable(error: &KeyringError) -> Refusal {
    tracing::error!(%error, "a key could not be made or used");
    Refusal::new(&code::INTERNAL, "a key could not be made or used")
}
