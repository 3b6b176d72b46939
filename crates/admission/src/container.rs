//! What one container gets: environment and the mount of the reserved volume. What it has is never overwritten.

use model::Refusal;
use serde_json::{Value, json};

use crate::Settings;
use crate::draft::Draft;
use crate::volume::{self, Reserved};
use crate::wishes::Wishes;

/// Which container.
#[derive(Debug)]
pub(crate) struct At {
    /// JSON pointer to it.
    pub(crate) path: String,
    pub(crate) name: String,
}

pub(crate) fn equip(
    draft: &mut Draft,
    at: &At,
    (wishes, settings): (&Wishes<'_>, &Settings),
    reserved: &Reserved,
) -> Result<(), Refusal> {
    let list = format!("{}/env", at.path);
    let mut missing = Vec::new();
    for (name, value) in environment(wishes, settings) {
        // What the pod says counts, an empty value too: it is how an application switches something off.
        if !value.is_empty() && !draft.names(&list, name)? {
            let brings = format!("`{name}` in container `{}`", at.name);
            missing.push((brings, json!({ "name": name, "value": value })));
        }
    }
    draft.append(&list, missing);
    let brings = format!("the token's mount in container `{}`", at.name);
    draft.place(&format!("{}/volumeMounts", at.path), (brings, reserved.mount()))
}

/// In the order of azure-workload-identity, then what is ours.
fn environment<'a>(wishes: &Wishes<'a>, settings: &'a Settings) -> Vec<(&'static str, &'a str)> {
    let mut environment = vec![
        ("AZURE_CLIENT_ID", wishes.client_id),
        ("AZURE_TENANT_ID", wishes.tenant_id),
        ("AZURE_FEDERATED_TOKEN_FILE", volume::TOKEN_FILE),
        ("AZURE_AUTHORITY_HOST", &settings.authority_host),
    ];
    if let Some(binding) = wishes.binding {
        environment.extend([
            ("AZURE_KUBERNETES_TOKEN_PROXY", binding.token_proxy.as_str()),
            ("AZURE_KUBERNETES_SNI_NAME", binding.sni_name.as_str()),
            ("AZURE_KUBERNETES_CA_FILE", volume::BINDING_CA_FILE),
            ("AZURE_KUBERNETES_CA_DATA", binding.ca_data.as_str()),
        ]);
    }
    if settings.trust.is_some() {
        // Python (aio) and whatever uses OpenSSL, Go or rustls; Python's requests; Node.
        environment.extend(
            ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"]
                .map(|name| (name, volume::TRUST_FILE)),
        );
    }
    environment
}

impl Reserved {
    fn mount(&self) -> Value {
        json!({ "name": self.name, "readOnly": true, "mountPath": volume::MOUNT })
    }
}
