//! The cluster's API server, as a service account: its certificate is verified, its token read anew for each request.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admission::{AccountName, ServiceAccount, Sidecars};
use model::{Refusal, code};
use runtime::Secret;
use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::config::ApiServerAddress;

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// An admission webhook has ten seconds in all.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Objects that are read here are small.
const ANSWER_BYTES_MAX: u64 = 3 * 1_024 * 1_024;
const TOKEN_BYTES_MAX: usize = 64 * 1_024;

/// The API server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    /// A mounted file is not there, or not what it should be.
    #[error("`{file}` cannot be used: {cause}")]
    Mounted {
        /// Which.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// No answer.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// The object was changed by another in between.
    #[error("another changed it in between")]
    Conflict,
    /// It refused.
    #[error("the API server answered {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// The answer is not as documented.
    #[error("the API server's answer cannot be used: {0}")]
    Unintelligible(String),
}

/// The API server.
#[derive(Clone, Debug)]
pub struct ApiServer {
    address: ApiServerAddress,
    /// Made for the authorities that were in the file when it was last read.
    agent: Arc<Mutex<Option<Trusting>>>,
}

/// The file's text, and what was made of it.
type Trusting = (Vec<u8>, Agent);

/// `Status` of the API machinery.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

impl ApiServer {
    /// As the configuration says; nothing is asked yet.
    pub fn new(address: &ApiServerAddress) -> Self {
        Self { address: address.clone(), agent: Arc::default() }
    }

    /// A pod's service account.
    pub fn account(&self, name: &AccountName) -> Result<ServiceAccount, Refusal> {
        let AccountName { namespace, name } = name;
        let refuse = |message| Refusal::new(&code::SERVICE_ACCOUNT_UNKNOWN, message);
        if !is_name(namespace) || !is_name(name) {
            return Err(refuse("the pod's service account has no valid name".to_owned()));
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        let found = self.get(&path).and_then(|object| {
            serde_json::from_value(object)
                .map_err(|error| ApiServerError::Unintelligible(error.to_string()))
        });
        found.map_err(|error| match error {
            ApiServerError::NotFound(said) => refuse(said),
            error => {
                refuse(format!("the service account `{namespace}/{name}` cannot be read: {error}"))
                    .hint("try again; an operator must look at the webhook's log")
            }
        })
    }

    /// How the cluster runs sidecars: restarted init containers are on by default since 1.29, and kubelets may be three
    /// versions older than the API server.
    pub fn sidecars(&self) -> Result<Sidecars, ApiServerError> {
        let version: Version = serde_json::from_value(self.get("/version")?)
            .map_err(|error| ApiServerError::Unintelligible(error.to_string()))?;
        let written = version.git_version;
        let mut numbers = written.trim_start_matches('v').split('.');
        let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
        match (number(), number()) {
            (Some(major), Some(minor)) if (major, minor) >= (1, 32) => Ok(Sidecars::Native),
            (Some(_), Some(_)) => Ok(Sidecars::Containers),
            _ => Err(ApiServerError::Unintelligible(format!("`{written}` is no version"))),
        }
    }

    /// One object.
    pub(crate) fn get(&self, path: &str) -> Result<Value, ApiServerError> {
        self.send(&Method::GET, path, None)
    }

    /// The whole object in place of the one with its resource version.
    pub(crate) fn put(&self, path: &str, object: &Value) -> Result<Value, ApiServerError> {
        self.send(&Method::PUT, path, Some(("application/json", object)))
    }

    /// JSON Patch.
    pub(crate) fn patch(&self, path: &str, operations: &Value) -> Result<Value, ApiServerError> {
        self.send(&Method::PATCH, path, Some(("application/json-patch+json", operations)))
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, ApiServerError> {
        let ApiServerAddress { url, .. } = &self.address;
        let token = self.token()?;
        let agent = self.agent()?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", url.trim_end_matches('/')))
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        let answered = match body {
            None => request.body(()).map(|request| agent.run(request)),
            Some((kind, body)) => request
                .header(header::CONTENT_TYPE, kind)
                .body(body.to_string())
                .map(|request| agent.run(request)),
        };
        let unreachable = |error: ureq::Error| ApiServerError::Unreachable(error.to_string());
        let mut answered = answered
            .map_err(|error| ApiServerError::Unreachable(error.to_string()))?
            .map_err(unreachable)?;
        let status = answered.status();
        let body = answered.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let bytes = body.read_to_vec().map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| ApiServerError::Unintelligible(error.to_string()));
        }
        let said = serde_json::from_slice::<Status>(&bytes).map(|status| status.message);
        Err(refused(status, said.unwrap_or_default()))
    }

    /// The kubelet renews the file.
    fn token(&self) -> Result<Secret<String>, ApiServerError> {
        let file = &self.address.token_file;
        let mounted = |cause: String| ApiServerError::Mounted { file: file.clone(), cause };
        let text = std::fs::read_to_string(file).map_err(|error| mounted(error.to_string()))?;
        let text = Secret::new(text);
        let token = text.expose().trim();
        let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || token.len() > TOKEN_BYTES_MAX {
            return Err(mounted("it holds no token".to_owned()));
        }
        Ok(Secret::new(token.to_owned()))
    }

    fn agent(&self) -> Result<Agent, ApiServerError> {
        let file = &self.address.authority_file;
        let mounted = |cause: String| ApiServerError::Mounted { file: file.clone(), cause };
        let pem = std::fs::read(file).map_err(|error| mounted(error.to_string()))?;
        let mut kept = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, agent)) = kept.as_ref()
            && *known == pem
        {
            return Ok(agent.clone());
        }
        let authorities = authorities(&pem);
        if authorities.is_empty() {
            return Err(mounted("it holds no certificate".to_owned()));
        }
        let config = Agent::config_builder()
            .tls_config(trusting(authorities))
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The cluster's own address is meant, not what a proxy makes of it.
            .proxy(None)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(ANSWER_MAX))
            .build();
        let agent: Agent = config.into();
        *kept = Some((pem, agent.clone()));
        Ok(agent)
    }
}

/// The certificates in a PEM text.
pub(crate) fn authorities(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    items.collect()
}

/// TLS that trusts these and no others.
pub(crate) fn trusting(authorities: Vec<Certificate<'static>>) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities)))
        .unversioned_rustls_crypto_provider(runtime::tls::provider())
        .build()
}

fn refused(status: StatusCode, message: String) -> ApiServerError {
    match status {
        StatusCode::NOT_FOUND => ApiServerError::NotFound(message),
        StatusCode::CONFLICT => ApiServerError::Conflict,
        status => ApiServerError::Refused { status: status.as_u16(), message },
    }
}

/// A DNS name in lower case (RFC 1123), as Kubernetes names objects; so it is no step in a path.
fn is_name(text: &str) -> bool {
    const NAME_BYTES_MAX: usize = 253;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|byte| inner(byte) || byte == b'-' || byte == b'.')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_step_in_the_path() {
        for (name, valid) in [
            ("app", true),
            ("a.b-c9", true),
            ("", false),
            ("..", false),
            ("a/../b", false),
            ("-a", false),
            ("A", false),
            ("a%2fb", false),
            ("a\n", false),
        ] {
            assert_eq!(is_name(name), valid, "{name}");
        }
    }
}
