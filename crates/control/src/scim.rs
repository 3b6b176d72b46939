//! Directories that push people and groups: their credentials, and what they may do with what is theirs. A directory sees
//! and changes what it has created, and nothing else; it gives nobody a role in the control plane.

mod credential;
mod groups;
mod users;

use std::net::IpAddr;

use model::event::Actor;
use model::kind::directory::{DirectoryStatus, Provisioned};
use model::{Document, Refusal, Revision, Spec, Timestamp, code};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::credentials::Hash;
use crate::verb::Verb;
use crate::write::Writing;

pub use credential::{Known, Release};
pub use groups::DirectoryGroup;
pub use users::DirectoryUser;

/// A provisioning credential. Key: the hash of its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScimCredential {
    /// Names the directory.
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    /// Dead at this instant.
    pub(crate) expires_at: Timestamp,
}

impl store::Record for ScimCredential {
    const COLLECTION: &'static str = "scim-credentials";
}

/// A directory that was authenticated.
#[derive(Clone, Debug)]
pub struct Provisioner {
    name: String,
    key: String,
    source: Option<IpAddr>,
}

impl Provisioner {
    /// The name of its credential.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.source
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor { id: None, name: format!("scim/{}", self.name), kind: None }
    }

    /// Whether the credential still counts, in the state that a write sees.
    pub(crate) fn authorise(&self, writing: &Writing<'_, '_>) -> Result<(), Refusal> {
        let known: Option<ScimCredential> = writing.record(&self.key)?;
        match known {
            Some(known) if writing.now() < known.expires_at => Ok(()),
            _ => Err(not_a_credential()),
        }
    }

    /// Whether the document is this directory's and was not deleted by it.
    pub fn owns(&self, status: &DirectoryStatus) -> bool {
        status.owned().is_some_and(|owned| owned.source == self.name)
    }

    fn provisioned(&self, external_id: Option<String>) -> Provisioned {
        Provisioned {
            source: self.name.clone(),
            external_id,
            display_name: None,
            active: true,
            left: false,
        }
    }
}

impl Control {
    /// Whose token it is.
    pub fn provisioner(&self, token: &str, source: Option<IpAddr>) -> Result<Provisioner, Refusal> {
        let key = Hash::of(token.as_bytes()).as_str().to_owned();
        let known = self.store().read(|store| store.record::<ScimCredential>(&key))?;
        match known {
            Some(known) if self.now() < known.expires_at => {
                Ok(Provisioner { name: known.name, key, source })
            }
            _ => Err(not_a_credential()),
        }
    }
}

fn not_a_credential() -> Refusal {
    Refusal::new(&code::UNAUTHENTICATED, "the token is not that of a provisioning credential")
        .hint("an owner makes one with `portcullis scim credential add NAME`")
}

/// The verb of everything that a directory does.
const PROVISIONING: Verb = Verb::ProvisionDirectory;

/// A document must be as the directory saw it.
fn expected<S: Spec>(document: &Document<S>, revision: Option<Revision>) -> Result<(), Refusal> {
    match revision {
        Some(revision) if document.metadata.revision != Some(revision) => {
            let message =
                format!("`{}/{}` has changed since it was read", S::KIND, document.name());
            Err(Refusal::new(&code::CONFLICT, message))
        }
        _ => Ok(()),
    }
}

fn missing(id: uuid::Uuid) -> Refusal {
    Refusal::new(&code::NOT_FOUND, format!("this directory has no resource {id}"))
        .hint("a directory sees what it has created itself")
}
