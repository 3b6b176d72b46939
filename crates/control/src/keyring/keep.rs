//! Keeps the keys: makes, renews, warns and forgets in time.

use std::collections::BTreeMap;
use std::sync::Arc;

use keys::Authority;
use model::event::{Actor, EventBody};
use model::{ServerName, Snapshot, Timestamp};
use uuid::Uuid;

use super::authorities::{self, TAKES_OVER_BEFORE, WARNED_BEFORE};
use super::sealed::{self, Purpose, SealedKey};
use super::signing::{self, SigningRotation};
use super::{Keyring, KeyringError};
use crate::control::Control;
use crate::reconcile::Reconciler;
use crate::resources::{FormerServer, has_open_users};
use crate::verb::Verb;
use crate::write::Writing;

/// Keeps the keys.
#[derive(Clone, Debug)]
pub struct KeepKeys {
    keyring: Keyring,
}

impl KeepKeys {
    /// For these keys, whose writes go through this control plane.
    pub fn new(control: &Control, keyring: Keyring) -> Self {
        keyring.attach(control);
        Self { keyring }
    }
}

impl Reconciler for KeepKeys {
    type Error = KeyringError;

    fn name(&self) -> &'static str {
        "keys"
    }

    fn next_deadline(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        let dying = snapshot.signing_keys.iter().map(|key| key.spec.verifies_until);
        let times = dying.chain(signing::next_due(snapshot));
        // What is past and stays past (the only key, dead) is no deadline: the minute's round looks at it.
        let now = self.keyring.0.clock.now();
        times.chain([self.keyring.leaf_renewed_at()]).filter(|at| *at > now).min()
    }

    /// What fails for one key stops no other; the first failure is returned at the end.
    async fn reconcile(&self, snapshot: Arc<Snapshot>) -> Result<(), KeyringError> {
        let keyring = &self.keyring;
        let mut outcome = keyring.keep_signing_keys(&snapshot).await;
        for server in snapshot.servers.iter() {
            // A name that the directory holds is one.
            let Ok(name) = ServerName::new(server.name()) else { continue };
            match keyring.client_authority(&name).await {
                // Deleted since this snapshot.
                Ok(_) | Err(KeyringError::ServerUnknown(_)) => {}
                Err(error) => {
                    tracing::error!(server = %name, %error, "the server has no authority");
                    outcome = outcome.and(Err(error));
                }
            }
        }
        let outcome = outcome.and(keyring.keep_authorities(&snapshot).await);
        outcome.and(keyring.show_leaf(&snapshot, false))
    }
}

/// What must be done about one authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Its server is gone.
    Forget,
    /// Its successor waits and its end is a day away.
    TakeOver,
    /// Its end is near and nobody was told.
    Warn,
}

impl Keyring {
    async fn keep_signing_keys(&self, snapshot: &Snapshot) -> Result<(), KeyringError> {
        let now = self.0.clock.now();
        if signing::too_late(snapshot, now) {
            self.rotate_signing_key(None, SigningRotation::Late).await?;
        } else if signing::next_due(snapshot).is_some_and(|due| due <= now) {
            self.rotate_signing_key(None, SigningRotation::Overlap).await?;
        }
        if signing::dead(snapshot, now).is_empty() {
            return Ok(());
        }
        self.forget_signing_keys().await?;
        Ok(())
    }

    async fn keep_authorities(&self, snapshot: &Snapshot) -> Result<(), KeyringError> {
        let stored = sealed::all(&self.0.store)?;
        let now = self.0.clock.now();
        let mut due = BTreeMap::new();
        for (key, sealed) in stored.iter().filter(|(_, key)| !key.successor) {
            let succeeded =
                stored.iter().any(|(_, other)| other.successor && other.purpose == sealed.purpose);
            if let Some(what) = self.due(sealed, (snapshot, now), succeeded) {
                due.insert(key.clone(), what);
            }
        }
        let mut outcome = Ok(());
        for (key, due) in due {
            outcome = outcome.and(self.keep_authority(snapshot, key, due).await);
        }
        outcome
    }

    async fn keep_authority(
        &self,
        snapshot: &Snapshot,
        key: String,
        due: Due,
    ) -> Result<(), KeyringError> {
        let work = move |writing: &mut Writing<'_, '_>| {
            if let Some(sealed) = writing.record::<SealedKey>(&key)? {
                carry_out(writing, (&key, sealed), due)?;
            }
            Ok(())
        };
        self.control()?.system(Verb::KeepKeys, "authorities", work).await?;
        self.reload()?;
        if due == Due::TakeOver { self.show_leaf(snapshot, true) } else { Ok(()) }
    }

    /// Whether the provisioner still needs to log in on a server that is no longer protected.
    fn is_withdrawing(&self, server: Uuid, latest: &Snapshot) -> bool {
        // While that cannot be told, the key is kept.
        self.0.store.read(store::Reader::records::<FormerServer>).map_or(true, |former| {
            former
                .iter()
                .any(|(name, former)| former.server.uid() == server && has_open_users(name, latest))
        })
    }

    fn due(
        &self,
        sealed: &SealedKey,
        (snapshot, now): (&Snapshot, Timestamp),
        succeeded: bool,
    ) -> Option<Due> {
        let keys = self.keys();
        let authority: &Authority = match &sealed.purpose {
            Purpose::ClientAuthority { server } => {
                if snapshot.servers.by_uid(*server).is_none() {
                    // A server made since this snapshot is not gone.
                    let latest = self.0.store.snapshots().load();
                    let gone = latest.servers.by_uid(*server).is_none();
                    return (gone && !self.is_withdrawing(*server, &latest)).then_some(Due::Forget);
                }
                &keys.clients.get(server)?.signing
            }
            Purpose::InstallationAuthority => &keys.installation.signing,
            Purpose::HostAuthority => &keys.hosts.signing,
            Purpose::AuditLog | Purpose::Handles | Purpose::Tokens => return None,
        };
        let left = authority.not_after().since(now);
        if succeeded && left <= TAKES_OVER_BEFORE {
            return Some(Due::TakeOver);
        }
        (left <= WARNED_BEFORE && !sealed.warned).then_some(Due::Warn)
    }
}

fn carry_out(
    writing: &mut Writing<'_, '_>,
    (key, sealed): (&str, SealedKey),
    due: Due,
) -> Result<(), KeyringError> {
    let subject = subject(&sealed.purpose, writing.state());
    let action = match due {
        Due::Forget => {
            for (key, _) in authorities::of_purpose(writing, &sealed.purpose)? {
                writing.delete_record::<SealedKey>(&key)?;
            }
            forget_former(writing, &sealed.purpose)?;
            "authorityForgotten"
        }
        Due::TakeOver => {
            authorities::take_over(writing, &sealed.purpose)?;
            republish(writing, &sealed.purpose)?;
            "authorityRotated"
        }
        Due::Warn => {
            tracing::warn!(
                subject,
                "an authority ends within 30 days: `portcullis authority rotate`"
            );
            writing.put_record(key, &SealedKey { warned: true, ..sealed }, None)?;
            "certificateEnding"
        }
    };
    writing.note(EventBody::Installation {
        actor: Actor::portcullis(),
        action: action.to_owned(),
        subject,
        detail: BTreeMap::new(),
    });
    Ok(())
}

fn forget_former(writing: &mut Writing<'_, '_>, purpose: &Purpose) -> Result<(), KeyringError> {
    let Purpose::ClientAuthority { server } = purpose else { return Ok(()) };
    for (name, former) in writing.records::<FormerServer>()? {
        if former.server.uid() == *server {
            writing.delete_record::<FormerServer>(&name)?;
        }
    }
    Ok(())
}

fn republish(writing: &mut Writing<'_, '_>, purpose: &Purpose) -> Result<(), KeyringError> {
    let Purpose::ClientAuthority { server } = purpose else { return Ok(()) };
    let name = writing.state().servers.by_uid(*server).map(|server| server.name().to_owned());
    let Some(Ok(name)) = name.map(ServerName::new) else { return Ok(()) };
    let pem = authorities::published(&authorities::of_purpose(writing, purpose)?);
    authorities::publish(writing, &name, pem)
}

fn subject(purpose: &Purpose, snapshot: &Snapshot) -> String {
    match purpose {
        Purpose::ClientAuthority { server } => match snapshot.servers.by_uid(*server) {
            Some(server) => format!("DatabaseServer/{}", server.name()),
            None => format!("DatabaseServer/{server}"),
        },
        Purpose::InstallationAuthority => "InstallationAuthority".to_owned(),
        Purpose::HostAuthority => "HostAuthority".to_owned(),
        Purpose::AuditLog | Purpose::Handles | Purpose::Tokens => purpose.word().to_owned(),
    }
}
