//! The words of `portcullis kubernetes`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// What runs in, or installs into, a Kubernetes cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum KubernetesCommand {
    /// Run the admission webhooks that give pods their workload identity
    Webhook {
        /// Configuration file; `portcullis kubernetes manifests` prints one
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
    },
    /// Print the objects that install the webhooks, for `kubectl apply -f -`
    Manifests(Manifests),
}

/// `portcullis kubernetes manifests`.
#[derive(Debug, Args)]
pub(crate) struct Manifests {
    /// The image with the `portcullis` binary, best named by its digest
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// Object id of the tenant: `portcullis get tenants` shows it
    #[arg(long, value_name = "ID")]
    pub tenant: String,
    /// The namespace of the webhooks
    #[arg(long, value_name = "NAME", default_value = "portcullis")]
    pub namespace: String,
    /// A namespace whose pods may have a workload identity; may be repeated
    #[arg(long = "workload-namespace", value_name = "NAME")]
    pub workload_namespaces: Vec<String>,
    /// PEM file of everything that pods are to trust; the installation's authority alone when absent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trust: Option<PathBuf>,
    /// How many webhooks run
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub replicas: u32,
    /// The image of azure-workload-identity's proxy, for pods that only know the instance metadata service
    #[arg(long, value_name = "IMAGE", requires = "proxy_init_image")]
    pub proxy_image: Option<String>,
    /// The image that redirects metadata requests to it
    #[arg(long, value_name = "IMAGE", requires = "proxy_image")]
    pub proxy_init_image: Option<String>,
}
