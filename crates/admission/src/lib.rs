//! What the Kubernetes admission webhooks decide: a review of a pod in, a review with the answer out.
//!
//! The mutation is azure-workload-identity's (labels, annotations, environment, projected token, proxy), and adds what
//! that project cannot: an authority host of one's own, and the authority of its certificate. The validation refuses a
//! pod that the mutation would still change: one that reached it unmutated.
//!
//! Pure: the pod's service account, the one thing that has to be looked up, is an argument. Every bound has a name.
#![forbid(unsafe_code)]

mod account;
mod container;
mod draft;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod mutate;
mod proxy;
mod review;
mod settings;
mod validate;
mod volume;
mod wishes;

pub use account::{AccountMetadata, AccountName, ServiceAccount};
pub use mutate::mutate;
pub use review::{REVIEW_BYTES_MAX, Review, Unreadable, refused};
pub use settings::{
    ClusterTrustBundle, ConfigMap, DEFAULT_AUDIENCE, IdentityBinding, ProxyImages, Settings,
    Sidecars, TRUST_KEY, Trust,
};
pub use validate::validate;

/// The label on a pod by which the API server sends it here.
pub const USE_LABEL: &str = "azure.workload.identity/use";
/// Where the mutating webhook is served.
pub const MUTATE_PATH: &str = "/mutate-v1-pod";
/// Where the validating webhook is served.
pub const VALIDATE_PATH: &str = "/validate-v1-pod";
