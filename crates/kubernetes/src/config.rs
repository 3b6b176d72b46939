//! The configuration of `portcullis kubernetes webhook`: a file of its own, which `portcullis kubernetes manifests` writes.
//!
//! ```yaml
//! authorityHost: https://portcullis.example.com:8443/   # AZURE_AUTHORITY_HOST of every pod
//! tenantId: 6d1d…                                       # AZURE_TENANT_ID
//! trust: { configMap: { name: portcullis-ca } }         # in each namespace with such pods
//! certificate:
//!   managed: { secret: portcullis-webhook, configuration: portcullis-webhook, host: portcullis-webhook.portcullis.svc }
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use admission::{DEFAULT_AUDIENCE, IdentityBinding, ProxyImages, Settings, Sidecars, Trust};
use runtime::ConfigError;
use runtime::config::Log;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Common name of the authority that signs the webhook's certificates.
pub(crate) const MANAGED_AUTHORITY: &str = "Portcullis admission webhooks";

/// Everything that an operator decides about the webhooks of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Where it listens.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// `AZURE_AUTHORITY_HOST`: the installation's origin, with a slash at the end.
    #[serde(deserialize_with = "authority_host")]
    pub authority_host: String,
    /// `AZURE_TENANT_ID`.
    pub tenant_id: String,
    /// Audience of projected tokens.
    #[serde(default = "default_audience")]
    pub audience: String,
    /// Where pods find the installation's authority; without it they trust what their image trusts.
    #[serde(default)]
    pub trust: Option<Trust>,
    /// Images of the proxy sidecar.
    #[serde(default)]
    pub proxy: Option<ProxyImages>,
    /// The token proxy of identity bindings.
    #[serde(default, deserialize_with = "identity_binding")]
    pub identity_binding: Option<IdentityBinding>,
    /// The namespace that it runs in.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// The service account that it runs as.
    #[serde(default = "default_service_account")]
    pub service_account: String,
    /// What it is reached under.
    pub certificate: Certificate,
    /// The cluster's API server.
    #[serde(default)]
    pub api_server: ApiServerAddress,
    /// The process's own log.
    #[serde(default)]
    pub log: Log,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Certificate {
    /// From an authority of its own, which it makes, renews, and writes into the webhook configurations.
    Managed(Managed),
    /// From files that something else renews and makes known.
    Files(Files),
}

/// A certificate of our own making.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Managed {
    /// The Secret in the webhook's own namespace that holds the authority. It must exist; it may be empty.
    pub secret: String,
    /// The name of both webhook configurations.
    pub configuration: String,
    /// The name under which the API server reaches the webhook: `<service>.<namespace>.svc`.
    pub host: String,
}

/// A certificate of somebody else's making, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Files {
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority, which the webhook's look at itself trusts.
    pub authority: PathBuf,
    /// A name in the certificate.
    pub host: String,
}

/// How the API server is reached: as from within a pod, unless it is said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiServerAddress {
    /// `https://host[:port]`.
    pub url: String,
    /// The service account's token, which the kubelet renews.
    pub token_file: PathBuf,
    /// The cluster's authority.
    pub authority_file: PathBuf,
}

impl Default for ApiServerAddress {
    fn default() -> Self {
        let mounted = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            url: "https://kubernetes.default.svc".to_owned(),
            token_file: mounted.join("token"),
            authority_file: mounted.join("ca.crt"),
        }
    }
}

impl Config {
    /// Reads the file. Relative paths count from its folder.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let (mut config, folder): (Self, PathBuf) = runtime::config::read(file)?;
        let in_folder = |path: &mut PathBuf| *path = folder.join(&*path);
        in_folder(&mut config.api_server.token_file);
        in_folder(&mut config.api_server.authority_file);
        if let Certificate::Files(Files { chain, key, authority, host: _ }) =
            &mut config.certificate
        {
            [chain, key, authority].into_iter().for_each(in_folder);
        }
        Ok(config)
    }

    /// What goes into pods of a cluster that runs sidecars so.
    pub fn settings(&self, sidecars: Sidecars) -> Settings {
        Settings {
            authority_host: self.authority_host.clone(),
            tenant_id: self.tenant_id.clone(),
            audience: self.audience.clone(),
            trust: self.trust.clone(),
            proxy: self.proxy.clone(),
            sidecars,
            identity_binding: self.identity_binding.clone(),
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 9_443))
}

fn default_audience() -> String {
    DEFAULT_AUDIENCE.to_owned()
}

fn default_namespace() -> String {
    "portcullis".to_owned()
}

fn default_service_account() -> String {
    "portcullis-webhook".to_owned()
}

/// Client libraries refuse `http://`, and some take the first part of a path for the tenant.
fn authority_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let written = String::deserialize(deserializer)?;
    let host = written.trim_end_matches('/');
    let plain = host.strip_prefix("https://").is_some_and(|host| {
        !host.is_empty()
            && !host.contains(['/', '?', '#', '@', '\\'])
            && !host.contains(char::is_whitespace)
    });
    if plain {
        return Ok(format!("{host}/"));
    }
    Err(Error::custom(format_args!(
        "`{written}` is not an authority host; write it like `https://portcullis.example.com/`"
    )))
}

/// What makes such a pod's token different must differ.
fn identity_binding<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IdentityBinding>, D::Error> {
    let binding: Option<IdentityBinding> = Option::deserialize(deserializer)?;
    let Some(binding) = binding else { return Ok(None) };
    let refuse = |why: &str| Err(Error::custom(format_args!("`identityBinding`: {why}")));
    let suffix = &binding.annotation_suffix;
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if suffix.is_empty() || suffix.len() > 59 || !suffix.chars().all(letters) {
        return refuse(
            "`annotationSuffix` is the end of an annotation's key: letters, digits, `-`, `_`, `.`",
        );
    }
    if binding.audience.is_empty() || binding.audience.eq_ignore_ascii_case(DEFAULT_AUDIENCE) {
        return refuse("`audience` must be another than the ordinary one");
    }
    let address = binding.token_proxy.strip_prefix("https://");
    if !address.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@'])) {
        return refuse("`tokenProxy` is an address over HTTPS without query, fragment or user");
    }
    if binding.trust.is_some() && !binding.ca_data.is_empty() {
        return refuse("`trust` and `caData` say the same twice; leave one out");
    }
    Ok(Some(binding))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let loaded = Config::load(file.path());
        loaded.map_err(|error| error.to_string().split_once(": ").unwrap().1.to_owned())
    }

    const LEAST: &str = "
authorityHost: https://sts.example
tenantId: t
certificate: { managed: { secret: s, configuration: c, host: w.portcullis.svc } }
";

    #[test]
    fn the_least_configuration_is_three_lines_and_runs_in_a_cluster() {
        let config = load(LEAST).unwrap();
        assert_eq!(config.authority_host, "https://sts.example/");
        assert_eq!(config.audience, "api://AzureADTokenExchange");
        assert_eq!(
            (config.namespace.as_str(), config.service_account.as_str()),
            ("portcullis", "portcullis-webhook")
        );
        assert_eq!(config.api_server, ApiServerAddress::default());
        assert_eq!(config.trust, None);
    }

    #[test]
    fn what_would_not_work_in_a_pod_is_refused_with_what_to_write() {
        for (change, expected) in [
            (
                LEAST.replace("https://sts.example", "http://sts.example"),
                "is not an authority host",
            ),
            (
                LEAST.replace("https://sts.example", "https://sts.example/tenant"),
                "is not an authority host",
            ),
            (LEAST.replace("tenantId", "tenantID"), "did you mean `tenantId`?"),
            (LEAST.replace("managed", "manged"), "did you mean `managed`?"),
            (
                format!(
                    "{LEAST}identityBinding: {{ annotationSuffix: x, audience: api://azureadtokenexchange, tokenProxy: https://p }}"
                ),
                "`audience` must be another",
            ),
            (
                format!(
                    "{LEAST}identityBinding: {{ annotationSuffix: x, audience: a, tokenProxy: http://p }}"
                ),
                "over HTTPS",
            ),
        ] {
            let refused = load(&change).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
