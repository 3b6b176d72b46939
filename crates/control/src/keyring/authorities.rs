//! Certificate authorities and their succession.
//!
//! Rotation by overlap takes two steps, since only the operator knows when the other side trusts the successor:
//! the first `rotate` makes a successor and publishes it beside the present authority, which goes on signing; once the
//! other side has it (`portcullis server enroll` was run again, clients were given the new `ca.pem`), the second
//! `rotate` lets the successor sign and takes the former authority out. A day before the present one ends, a waiting
//! successor takes over by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keys::{Authority, MasterKey};
use model::event::{Actor, EventBody};
use model::kind::server::DatabaseServer;
use model::{Document, ServerName, Snapshot, Timestamp};
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use super::sealed::{New, Purpose, SealedKey};
use super::{Keyring, KeyringError};
use crate::caller::Caller;
use crate::resources::FormerServer;
use crate::verb::Verb;
use crate::write::Writing;

/// A waiting successor takes over so long before the present authority ends.
pub(super) const TAKES_OVER_BEFORE: Duration = Duration::from_hours(24);
/// So long before an authority ends, the audit log says so.
pub(super) const WARNED_BEFORE: Duration = Duration::from_hours(30 * 24);

/// X.520 allows 64 characters; the rest says what it is and tells namesakes apart.
const SERVER_CHARACTERS_MAX: usize = 27;

/// An authority and, while a rotation is under way, its successor.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    pub(super) signing: Arc<Authority>,
    pub(super) successor: Option<Arc<Authority>>,
}

impl Authorities {
    /// What the other side must trust.
    pub(super) fn pem(&self) -> String {
        let mut pem = self.signing.certificate_pem();
        if let Some(successor) = &self.successor {
            pem.push_str(&successor.certificate_pem());
        }
        pem
    }
}

/// Which authority is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhoseAuthority {
    /// The installation's own, which clients trust.
    Installation,
    /// That of hosts, which the installation itself trusts. A successor signs from when it is made, so that every host
    /// has a certificate of its before the former one goes, if a day lies in between.
    Hosts,
    /// The one whose certificates a database server accepts.
    Server(ServerName),
}

/// Where a rotation has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RotationPhase {
    /// The successor is published and does not sign yet.
    Published,
    /// The successor signs; the former authority is out.
    TookOver,
}

/// What a step of a rotation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RotatedAuthority {
    /// Where the rotation has got to.
    pub phase: RotationPhase,
    /// What the other side must trust now.
    pub pem: String,
    /// When the authority that signs now ends.
    pub not_after: Timestamp,
}

impl Keyring {
    /// The installation's authority, PEM; two certificates while a rotation is under way.
    pub fn ca_pem(&self) -> String {
        self.keys().installation.pem()
    }

    /// The same, to be told when it changes.
    pub fn published_authority(&self) -> watch::Receiver<String> {
        self.0.published.subscribe()
    }

    /// The authority whose certificates this server accepts; made, and put into the server's status, on first use.
    pub async fn client_authority(
        &self,
        server: &ServerName,
    ) -> Result<Arc<Authority>, KeyringError> {
        let uid = self.server_uid(server)?;
        if let Some(found) = self.keys().clients.get(&uid) {
            return Ok(Arc::clone(&found.signing));
        }
        let authority = Authority::create(
            &common_name(&WhoseAuthority::Server(server.clone()))?,
            keys::authority::AUTHORITY_LIFETIME,
            self.0.clock.now(),
        )?;
        let (master, name) = (Arc::clone(&self.0.master), server.clone());
        let work = move |writing: &mut Writing<'_, '_>| {
            let uid = server_uid(writing.state(), &name)?;
            let purpose = Purpose::ClientAuthority { server: uid };
            // Two sessions may come here at once; the second finds the first one's.
            if of_purpose(writing, &purpose)?.is_empty() {
                let pem = authority.certificate_pem();
                New::authority(purpose, &authority)?.put(writing, &master)?;
                publish(writing, &name, pem)?;
            }
            Ok(uid)
        };
        let subject = format!("DatabaseServer/{server}");
        let uid = self.control()?.system(Verb::KeepKeys, subject, work).await?.value;
        self.reload()?;
        let keys = self.keys();
        let found = keys.clients.get(&uid).ok_or(KeyringError::Missing("client authority"))?;
        Ok(Arc::clone(&found.signing))
    }

    /// Also of a server that is no longer protected, while its users are being withdrawn.
    fn server_uid(&self, server: &ServerName) -> Result<Uuid, KeyringError> {
        let unknown = match server_uid(&self.0.store.snapshots().load(), server) {
            Ok(uid) => return Ok(uid),
            Err(unknown) => unknown,
        };
        let former = self.0.store.read(|store| store.record::<FormerServer>(server.as_str()))?;
        former.map(|former| former.server.uid()).ok_or(unknown)
    }

    /// Takes one step of a rotation. See the module.
    pub async fn rotate_authority(
        &self,
        caller: &Caller,
        whose: &WhoseAuthority,
    ) -> Result<RotatedAuthority, KeyringError> {
        if let WhoseAuthority::Server(server) = whose {
            // There is something to rotate only once it exists.
            self.client_authority(server).await?;
        }
        let successor = Authority::create(
            &common_name(whose)?,
            keys::authority::AUTHORITY_LIFETIME,
            self.0.clock.now(),
        )?;
        let step = Step { whose: whose.clone(), successor, by: Actor::from(&caller.principal) };
        let (subject, master) = (step.subject(), Arc::clone(&self.0.master));
        let work = move |writing: &mut Writing<'_, '_>| Ok(step.take(writing, &master)?);
        let control = self.control()?;
        let phase = control.write(caller, Verb::RotateAuthority, subject, work).await?.value;
        self.reload()?;
        let snapshot = self.0.store.snapshots().load();
        self.show_leaf(&snapshot, true)?;
        let keys = self.keys();
        let authorities = match whose {
            WhoseAuthority::Server(server) => keys.clients.get(&server_uid(&snapshot, server)?),
            WhoseAuthority::Installation => Some(&keys.installation),
            WhoseAuthority::Hosts => Some(&keys.hosts),
        };
        let authorities = authorities.ok_or(KeyringError::Missing("client authority"))?;
        let (pem, not_after) = (authorities.pem(), authorities.signing.not_after());
        Ok(RotatedAuthority { phase, pem, not_after })
    }
}

/// One step of a rotation.
struct Step {
    whose: WhoseAuthority,
    successor: Authority,
    by: Actor,
}

impl Step {
    fn subject(&self) -> String {
        match &self.whose {
            WhoseAuthority::Server(server) => format!("DatabaseServer/{server}"),
            WhoseAuthority::Installation => "InstallationAuthority".to_owned(),
            WhoseAuthority::Hosts => "HostAuthority".to_owned(),
        }
    }

    fn take(
        self,
        writing: &mut Writing<'_, '_>,
        master: &MasterKey,
    ) -> Result<RotationPhase, KeyringError> {
        let purpose = match &self.whose {
            WhoseAuthority::Server(server) => {
                Purpose::ClientAuthority { server: server_uid(writing.state(), server)? }
            }
            WhoseAuthority::Installation => Purpose::InstallationAuthority,
            WhoseAuthority::Hosts => Purpose::HostAuthority,
        };
        let waiting = of_purpose(writing, &purpose)?.iter().any(|(_, key)| key.successor);
        let phase = if waiting {
            take_over(writing, &purpose)?;
            RotationPhase::TookOver
        } else {
            New::authority(purpose.clone(), &self.successor)?.succeeding().put(writing, master)?;
            RotationPhase::Published
        };
        if let WhoseAuthority::Server(server) = &self.whose {
            let pem = published(&of_purpose(writing, &purpose)?);
            publish(writing, server, pem)?;
        }
        let word = match phase {
            RotationPhase::Published => "authoritySuccessorPublished",
            RotationPhase::TookOver => "authorityRotated",
        };
        writing.note(EventBody::Installation {
            actor: self.by.clone(),
            action: word.to_owned(),
            subject: self.subject(),
            detail: BTreeMap::new(),
        });
        Ok(phase)
    }
}

/// The successor signs, the former authority goes.
pub(super) fn take_over(
    writing: &mut Writing<'_, '_>,
    purpose: &Purpose,
) -> Result<(), KeyringError> {
    for (key, sealed) in of_purpose(writing, purpose)? {
        if sealed.successor {
            writing.put_record(&key, &SealedKey { successor: false, ..sealed }, None)?;
        } else {
            writing.delete_record::<SealedKey>(&key)?;
        }
    }
    Ok(())
}

/// The records of one purpose, the present authority first.
pub(super) fn of_purpose(
    writing: &Writing<'_, '_>,
    purpose: &Purpose,
) -> Result<Vec<(String, SealedKey)>, KeyringError> {
    let mut found = writing.records::<SealedKey>()?;
    found.retain(|(_, key)| key.purpose == *purpose);
    found.sort_by_key(|(_, key)| key.successor);
    Ok(found)
}

pub(super) fn published(records: &[(String, SealedKey)]) -> String {
    records.iter().filter_map(|(_, key)| key.certificate.as_deref()).collect()
}

/// Puts what a server must trust into its status.
pub(super) fn publish(
    writing: &mut Writing<'_, '_>,
    server: &ServerName,
    pem: String,
) -> Result<(), KeyringError> {
    let found = writing.state().servers.get(server);
    let found = found.ok_or_else(|| KeyringError::ServerUnknown(server.clone()))?;
    let mut document = Document::<DatabaseServer>::clone(found);
    document.status.client_authority = Some(pem);
    writing.put(document)?;
    Ok(())
}

/// All authorities, present and successor together.
pub(super) fn open_all(
    stored: &[(String, SealedKey)],
    master: &MasterKey,
) -> Result<BTreeMap<Purpose, Authorities>, KeyringError> {
    let mut all = BTreeMap::new();
    let mut successors = Vec::new();
    for (key, sealed) in stored {
        let Some(certificate) = &sealed.certificate else { continue };
        let authority = Authority::from_pem(certificate, sealed.open(master, key)?.expose())?;
        let authority = Arc::new(authority);
        if sealed.successor {
            successors.push((sealed.purpose.clone(), authority));
        } else {
            let authorities = Authorities { signing: authority, successor: None };
            all.insert(sealed.purpose.clone(), authorities);
        }
    }
    for (purpose, successor) in successors {
        if let Some(authorities) = all.get_mut(&purpose) {
            authorities.successor = Some(successor);
        }
    }
    Ok(all)
}

/// A fresh authority of those that every installation has.
pub(super) fn new(whose: &WhoseAuthority, now: Timestamp) -> Result<New, KeyringError> {
    let lifetime = keys::authority::AUTHORITY_LIFETIME;
    let authority = Authority::create(&common_name(whose)?, lifetime, now)?;
    let purpose = match whose {
        WhoseAuthority::Hosts => Purpose::HostAuthority,
        WhoseAuthority::Installation => Purpose::InstallationAuthority,
        WhoseAuthority::Server(_) => return Err(KeyringError::Missing("client authority")),
    };
    New::authority(purpose, &authority)
}

fn server_uid(snapshot: &Snapshot, server: &ServerName) -> Result<Uuid, KeyringError> {
    let found = snapshot.servers.get(server).map(|server| server.uid());
    found.ok_or_else(|| KeyringError::ServerUnknown(server.clone()))
}

/// Two authorities never have the same name: verifiers look issuers up by it.
fn common_name(whose: &WhoseAuthority) -> Result<String, KeyringError> {
    let tag = data_encoding::HEXLOWER.encode(&keys::random::<4>()?);
    Ok(match whose {
        WhoseAuthority::Server(server) => {
            let server: String = server.as_str().chars().take(SERVER_CHARACTERS_MAX).collect();
            format!("Portcullis client authority {server} {tag}")
        }
        WhoseAuthority::Installation => format!("Portcullis installation authority {tag}"),
        WhoseAuthority::Hosts => format!("Portcullis host authority {tag}"),
    })
}
