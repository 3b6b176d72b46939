//! The certificate under which the API server reaches the webhooks: looked at once a minute, renewed in time.
//!
//! Its authority lies in a Secret that all replicas share; each signs a leaf of its own, whose key stays in memory. A new
//! authority is made half a year before the old one ends: it is written into the Secret and, beside the old one, into both
//! webhook configurations, and signs from the next look on, when API servers know it.

mod authorities;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::KeyError;
use keys::authority::SERVER_LIFETIME;
use model::Timestamp;
use runtime::tls::{Identity, ServerCertificate, TlsError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tracing::info;

use crate::api_server::{ApiServer, ApiServerError};
use crate::config::{Certificate, Files, Managed};
use authorities::Authorities;

/// Renewed when a third of its life remains.
const RENEWED_BEFORE: Duration = Duration::from_hours(30 * 24);
/// Both kinds of webhook configuration, under one name.
const CONFIGURATIONS: [&str; 2] =
    ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// There is no certificate to be reached under.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// An object that holds it, or makes it known, cannot be read or written.
    #[error("{object}: {cause}")]
    Object {
        /// Which.
        object: String,
        /// Why.
        #[source]
        cause: ApiServerError,
    },
    /// The Secret holds something that is no authority.
    #[error(
        "the Secret `{secret}` holds no authority that can be used ({cause}); empty its `data`, and a new one is made"
    )]
    Damaged {
        /// Which.
        secret: String,
        /// What is wrong.
        cause: String,
    },
    /// A key cannot be made or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The files are not PEM, or do not belong together.
    #[error("the certificate's files cannot be used: {0}")]
    Files(String),
    /// The certificate cannot be shown.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Keeps the certificate good.
#[derive(Debug)]
pub(crate) struct Keeper {
    source: Certificate,
    namespace: String,
    api: ApiServer,
    shown: Mutex<Option<Shown>>,
}

#[derive(Debug)]
struct Shown {
    certificate: ServerCertificate,
    /// PEM of the authority that signed it.
    signed_by: String,
    renew_at: Timestamp,
}

/// What a client of the webhooks needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// What is shown; it changes underneath.
    pub(crate) certificate: ServerCertificate,
    /// The name that is asked for.
    pub(crate) host: String,
    /// PEM of the authorities that are trusted.
    pub(crate) authorities: String,
}

/// Whether API servers have had time to learn of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    Before,
    JustNow,
}

impl Keeper {
    pub(crate) fn new(source: &Certificate, namespace: &str, api: &ApiServer) -> Self {
        let (source, namespace) = (source.clone(), namespace.to_owned());
        Self { source, namespace, api: api.clone(), shown: Mutex::default() }
    }

    /// Looks at all of it, and mends what is due. Blocks.
    pub(crate) fn look(&self, now: Timestamp) -> Result<Reached, CertificateError> {
        match &self.source {
            Certificate::Managed(managed) => self.managed(managed, now),
            Certificate::Files(files) => self.files(files),
        }
    }

    fn managed(&self, managed: &Managed, now: Timestamp) -> Result<Reached, CertificateError> {
        let authorities = self.authorities(&managed.secret, now)?;
        let bundle = authorities.bundle();
        let published = self.publish(&managed.configuration, &bundle)?;
        let reached = |certificate: &ServerCertificate| Reached {
            certificate: certificate.clone(),
            host: managed.host.clone(),
            authorities: bundle.clone(),
        };
        let signing = authorities.signing()?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = shown.as_ref() {
            let superseded =
                shown.signed_by != signing.certificate_pem() && published == Published::Before;
            // API servers may not have heard of the new authority yet; what is shown counts for a while.
            let unheard =
                published != Published::Before && now < shown.renew_at.plus(RENEWED_BEFORE);
            if unheard || (now < shown.renew_at && !superseded) {
                return Ok(reached(&shown.certificate));
            }
        }
        let names = names(&managed.host);
        let identity = signing.issue_server(&names, SERVER_LIFETIME, now)?;
        let ends = identity.chain.first().map(keys::authority::not_after).transpose()?;
        let renew_at = ends.unwrap_or(now).minus(RENEWED_BEFORE);
        let certificate = show(shown.as_ref(), identity)?;
        info!(host = managed.host, "the webhook's certificate was renewed");
        let reached = reached(&certificate);
        *shown = Some(Shown { certificate, signed_by: signing.certificate_pem(), renew_at });
        Ok(reached)
    }

    /// Those in the Secret; made where there are none, joined by another in time.
    fn authorities(&self, name: &str, now: Timestamp) -> Result<Authorities, CertificateError> {
        let path = format!("/api/v1/namespaces/{}/secrets/{name}", self.namespace);
        let of = |cause| CertificateError::Object { object: format!("Secret `{name}`"), cause };
        let mut object = self.api.get(&path).map_err(of)?;
        let data = object.get("data").filter(|data| !data.is_null());
        let kept = data
            .map(Authorities::read)
            .transpose()
            .map_err(|cause| CertificateError::Damaged { secret: name.to_owned(), cause })?;
        let kept = kept.flatten();
        let Some(next) = authorities::due(kept.as_ref(), now)? else {
            return kept.ok_or_else(|| CertificateError::Damaged {
                secret: name.to_owned(),
                cause: "it is empty".to_owned(),
            });
        };
        if let Some(object) = object.as_object_mut() {
            object.insert("data".to_owned(), next.data());
        }
        // Another replica that was quicker has changed the resource version, and this is refused.
        self.api.put(&path, &object).map_err(of)?;
        info!(secret = name, "a new authority of the webhook's certificate was made");
        Ok(next)
    }

    /// Writes the authorities into both webhook configurations.
    fn publish(&self, name: &str, bundle: &str) -> Result<Published, CertificateError> {
        let bundle = STANDARD.encode(bundle);
        let mut published = Published::Before;
        for kind in CONFIGURATIONS {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}");
            let of =
                |cause| CertificateError::Object { object: format!("`{kind}` `{name}`"), cause };
            let object = self.api.get(&path).map_err(of)?;
            let operations = outdated(&object, &bundle);
            if !operations.is_empty() {
                self.api.patch(&path, &Value::Array(operations)).map_err(of)?;
                published = Published::JustNow;
            }
        }
        Ok(published)
    }

    fn files(&self, files: &Files) -> Result<Reached, CertificateError> {
        let Files { chain, key, authority, host } = files;
        let unusable = |error: &dyn std::fmt::Display| CertificateError::Files(error.to_string());
        let authorities = std::fs::read_to_string(authority).map_err(|error| unusable(&error))?;
        let chain = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(&error))?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shown.as_ref().map(|shown| &shown.certificate);
        let certificate = if let Some(known) = known.filter(|known| known.chain() == chain) {
            known.clone()
        } else {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(&error))?;
            show(shown.as_ref(), Identity { chain, key })?
        };
        let renew_at = Timestamp::EPOCH;
        let kept = certificate.clone();
        *shown = Some(Shown { certificate: kept, signed_by: String::new(), renew_at });
        Ok(Reached { certificate, host: host.clone(), authorities })
    }
}

fn show(shown: Option<&Shown>, identity: Identity) -> Result<ServerCertificate, TlsError> {
    match shown {
        Some(shown) => {
            shown.certificate.replace(identity)?;
            Ok(shown.certificate.clone())
        }
        None => ServerCertificate::new(identity),
    }
}

/// A Service has three names, and API servers ask for the one with `.svc`.
fn names(host: &str) -> Vec<String> {
    let short = host.strip_suffix(".svc").map(str::to_owned);
    [host.to_owned(), format!("{host}.cluster.local")].into_iter().chain(short).collect()
}

/// The operations that bring every webhook of a configuration to the bundle. Each tests first that it is the webhook that
/// was looked at.
fn outdated(configuration: &Value, bundle: &str) -> Vec<Value> {
    let webhooks = configuration.get("webhooks").and_then(Value::as_array);
    let known = |webhook: &Value| {
        webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str) == Some(bundle)
    };
    let outdated =
        webhooks.into_iter().flatten().enumerate().filter(|(_, webhook)| !known(webhook));
    outdated
        .flat_map(|(index, webhook)| {
            [
                json!({ "op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook.get("name") }),
                json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle }),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests;
