//! The role that runs inside a Kubernetes cluster: the admission webhooks that give pods their workload identity, the
//! certificate that they are reached under, and the manifests that install them.
//!
//! What is decided of a pod is `admission`'s; here are the API server, the certificate and HTTP.
#![forbid(unsafe_code)]

mod api_server;
mod certificate;
mod config;
mod manifests;
mod readiness;
mod routes;
mod self_check;
mod webhook;

pub use api_server::{ApiServer, ApiServerError};
pub use certificate::CertificateError;
pub use config::{ApiServerAddress, Certificate, Config, Files, Managed};
pub use manifests::{Installation, manifests};
pub use webhook::{Webhook, WebhookError};
