//! What an operator says once for a cluster, and what the cluster itself says.

use serde::Deserialize;

/// Audience of the projected token, unless the settings say another.
pub const DEFAULT_AUDIENCE: &str = "api://AzureADTokenExchange";
/// The key of a ConfigMap that holds authorities, unless the settings say another.
pub const TRUST_KEY: &str = "ca.crt";

/// What goes into every pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `AZURE_AUTHORITY_HOST`, with a slash at the end: the token service.
    pub authority_host: String,
    /// `AZURE_TENANT_ID`, unless the service account names another.
    pub tenant_id: String,
    /// For whom projected tokens are.
    pub audience: String,
    /// Where pods find the authority of the token service's certificate.
    pub trust: Option<Trust>,
    /// The images of the proxy; without them a pod that asks for it is refused.
    pub proxy: Option<ProxyImages>,
    /// How this cluster runs sidecars.
    pub sidecars: Sidecars,
    /// The token proxy of identity bindings.
    pub identity_binding: Option<IdentityBinding>,
}

/// Where pods find the authorities that they are to trust, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Trust {
    /// A ConfigMap in each namespace with such pods.
    ConfigMap(ConfigMap),
    /// A ClusterTrustBundle, for all namespaces.
    ClusterTrustBundle(ClusterTrustBundle),
}

/// A ConfigMap of the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMap {
    /// Its name.
    pub name: String,
    /// Which of its keys.
    #[serde(default = "default_key")]
    pub key: String,
}

fn default_key() -> String {
    TRUST_KEY.to_owned()
}

/// ClusterTrustBundles of a signer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterTrustBundle {
    /// Whose.
    pub signer_name: String,
    /// `matchLabels`: of which of them.
    #[serde(default)]
    pub match_labels: std::collections::BTreeMap<String, String>,
}

/// The images of azure-workload-identity's proxy, which answers instance metadata requests with the pod's identity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyImages {
    /// The proxy itself.
    pub image: String,
    /// What redirects the pod's metadata requests to it.
    pub init_image: String,
}

/// How a cluster runs a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sidecars {
    /// As an init container that is restarted: Kubernetes 1.32 and later.
    Native,
    /// As one more container.
    Containers,
}

/// Token requests through a proxy of the cluster's: pods ask for it with an annotation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityBinding {
    /// The annotation `azure.workload.identity/use-<suffix>: "true"`.
    pub annotation_suffix: String,
    /// For whom such a pod's token is; never the ordinary audience.
    pub audience: String,
    /// `AZURE_KUBERNETES_TOKEN_PROXY`.
    pub token_proxy: String,
    /// `AZURE_KUBERNETES_SNI_NAME`.
    #[serde(default)]
    pub sni_name: String,
    /// `AZURE_KUBERNETES_CA_DATA`.
    #[serde(default)]
    pub ca_data: String,
    /// Where the proxy's authority is projected from.
    #[serde(default)]
    pub trust: Option<Trust>,
}
