//! The vocabulary of Portcullis: resource documents, names, identifiers, instants, refusal codes, the snapshot that
//! decisions read and the events that the audit log holds. Everything else speaks in these types.
//!
//! Pure: no sockets, files, environment or clock. `docs/architecture.md` §2 is the dictionary behind the names.
#![forbid(unsafe_code)]

pub mod caller;
pub mod code;
pub mod document;
pub mod event;
pub mod federated_credential;
pub mod finding;
pub mod id;
pub mod kind;
pub mod name;
pub mod network;
pub mod redirect;
pub mod role;
pub mod snapshot;
pub mod suggest;
pub mod time;
pub mod verdict;
pub mod workload;

pub use caller::{Caller, Selector};
pub use code::{Code, Refusal};
pub use document::{Document, Metadata, Resource, Spec};
pub use federated_credential::FederatedCredential;
pub use id::{ActivationId, ApplicationId, PrincipalId, Revision, SessionId, TenantId, TokenId};
pub use kind::Kind;
pub use name::{
    ApplicationName, DatabaseRoleName, FirewallRuleName, GroupName, HostName, InvalidName,
    ManagedIdentityName, NAME_BYTES_MAX, NamedLocationName, ServerName, UserName,
};
pub use network::{InvalidNetwork, Network};
pub use role::ControlRole;
pub use snapshot::{Principal, PrincipalKind, Snapshot, Table};
pub use time::{Lifetime, Timestamp};
pub use workload::Workload;
