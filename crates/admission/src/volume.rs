//! The reserved volume: the projected token, and the authorities that the pod is to trust.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::wishes::Wishes;
use crate::{ClusterTrustBundle, ConfigMap, Settings, Trust};

pub(crate) const MOUNT: &str = "/var/run/secrets/azure/wi";
pub(crate) const TOKEN_FILE: &str = "/var/run/secrets/azure/wi/token/azure-identity-token";
pub(crate) const BINDING_CA_FILE: &str = "/var/run/secrets/azure/wi/ca-cert/ca.crt";
pub(crate) const TRUST_FILE: &str = "/var/run/secrets/azure/wi/trust/ca.crt";

const TOKEN_PATH: &str = "token/azure-identity-token";
const BINDING_CA_PATH: &str = "ca-cert/ca.crt";
const TRUST_PATH: &str = "trust/ca.crt";

const NAME_PREFIX: &str = "azure-workload-identity-reserved-";
/// A volume's name is a DNS label: 63 characters, of which the prefix has 33.
const HASH_CHARACTERS: usize = 30;

/// The volume of one pod.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) name: String,
    sources: Vec<Value>,
}

impl Reserved {
    pub(crate) fn of(pod: &Value, wishes: &Wishes<'_>, settings: &Settings) -> Self {
        let audience = wishes.binding.map_or(&settings.audience, |binding| &binding.audience);
        let token = json!({ "serviceAccountToken": {
            "audience": audience,
            "expirationSeconds": wishes.expiration_seconds,
            "path": TOKEN_PATH,
        } });
        let binding = wishes.binding.and_then(|binding| binding.trust.as_ref());
        let trusted = [(binding, BINDING_CA_PATH), (settings.trust.as_ref(), TRUST_PATH)];
        let authorities =
            trusted.into_iter().filter_map(|(trust, path)| Some(projection(trust?, path)));
        let sources = std::iter::once(token).chain(authorities).collect();
        Self { name: name(pod), sources }
    }

    pub(crate) fn volume(&self) -> (String, Value) {
        let brings = "the volume with the projected token".to_owned();
        (brings, json!({ "name": self.name, "projected": { "sources": self.sources } }))
    }
}

/// The pod does not start where there is no such authority: better than one that trusts nobody, or anybody.
fn projection(trust: &Trust, path: &str) -> Value {
    match trust {
        Trust::ConfigMap(ConfigMap { name, key }) => json!({ "configMap": {
            "name": name,
            "items": [{ "key": key, "path": path }],
            "optional": false,
        } }),
        Trust::ClusterTrustBundle(ClusterTrustBundle { signer_name, match_labels }) => {
            json!({ "clusterTrustBundle": {
                "signerName": signer_name,
                "labelSelector": { "matchLabels": match_labels },
                "path": path,
                "optional": false,
            } })
        }
    }
}

/// Of the pod's name, or of what its name will begin with.
fn name(pod: &Value) -> String {
    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = match text("/metadata/name") {
        "" => format!("{} (prefix)", text("/metadata/generateName")),
        name => name.to_owned(),
    };
    let hash = HEXLOWER.encode(digest(&SHA256, name.as_bytes()).as_ref());
    format!("{NAME_PREFIX}{}", hash.get(..HASH_CHARACTERS).unwrap_or(&hash))
}
