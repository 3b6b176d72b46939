//! What applications and managed identities have in common: a client id, an object id, a way to prove themselves.

use std::sync::Arc;

use crate::kind::application::{Application, SubjectNameIssuer};
use crate::kind::managed_identity::ManagedIdentity;
use crate::{ApplicationId, Document, FederatedCredential, Principal, PrincipalId, Snapshot};

/// A workload identity of the directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Workload {
    /// One with a credential of its own.
    Application(Arc<Document<Application>>),
    /// One that has none.
    ManagedIdentity(Arc<Document<ManagedIdentity>>),
}

impl Workload {
    /// The client id in force.
    pub fn client_id(&self) -> Option<ApplicationId> {
        match self {
            Self::Application(application) => {
                application.status.client_id.or(application.spec.client_id)
            }
            Self::ManagedIdentity(identity) => {
                identity.status.client_id.or(identity.spec.client_id)
            }
        }
    }

    /// Its object id.
    pub fn id(&self) -> PrincipalId {
        PrincipalId(match self {
            Self::Application(application) => application.uid(),
            Self::ManagedIdentity(identity) => identity.uid(),
        })
    }

    /// As decisions and the audit log name it.
    pub fn principal(&self) -> Principal {
        match self {
            Self::Application(application) => Principal::application(application),
            Self::ManagedIdentity(identity) => Principal::managed_identity(identity),
        }
    }

    /// Shown to people.
    pub fn display_name(&self) -> &str {
        match self {
            Self::Application(application) => &application.spec.display_name,
            Self::ManagedIdentity(identity) => &identity.spec.display_name,
        }
    }

    /// Whether it gets tokens at all.
    pub fn enabled(&self) -> bool {
        match self {
            Self::Application(application) => application.spec.enabled,
            Self::ManagedIdentity(identity) => identity.spec.enabled,
        }
    }

    /// PEM certificates whose keys may sign its assertions; managed identities have none.
    pub fn certificates(&self) -> &[String] {
        match self {
            Self::Application(application) => &application.spec.certificates,
            Self::ManagedIdentity(_) => &[],
        }
    }

    /// Authorities whose certificates may sign its assertions under a name; managed identities have none.
    pub fn subject_name_issuers(&self) -> &[SubjectNameIssuer] {
        match self {
            Self::Application(application) => &application.spec.subject_name_issuers,
            Self::ManagedIdentity(_) => &[],
        }
    }

    /// Tokens of other issuers that stand for it.
    pub fn federated_credentials(&self) -> &[FederatedCredential] {
        match self {
            Self::Application(application) => &application.spec.federated_credentials,
            Self::ManagedIdentity(identity) => &identity.spec.federated_credentials,
        }
    }

    /// The Azure Resource Manager id of a managed identity.
    pub fn resource_id(&self) -> Option<&str> {
        match self {
            Self::Application(_) => None,
            Self::ManagedIdentity(identity) => {
                identity.status.resource_id.as_deref().or(identity.spec.resource_id.as_deref())
            }
        }
    }
}

impl Snapshot {
    /// Every workload identity.
    pub fn workloads(&self) -> impl Iterator<Item = Workload> {
        let applications = self.applications.iter().cloned().map(Workload::Application);
        let managed = self.managed_identities.iter().cloned().map(Workload::ManagedIdentity);
        applications.chain(managed)
    }

    /// The workload with this client id.
    pub fn workload(&self, client: ApplicationId) -> Option<Workload> {
        self.workloads().find(|workload| workload.client_id() == Some(client))
    }
}
