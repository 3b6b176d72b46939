//! HTTPS to one installation: its authority and no other is trusted, redirects are not followed, answers are bounded.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{Refusal, code};
use runtime::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Request, header};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, BodyWithConfig};

use crate::ClientError;

/// Longer answers are refused: a listing of ten thousand resources has some 10 MB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Until the answer begins; `apply` waits for gateways, enrolment for a database server.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// One installation, reached over HTTPS.
#[derive(Clone, Debug)]
pub struct Installation {
    origin: String,
    agent: Agent,
}

/// What a call sends beside its address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent<'a> {
    /// JSON.
    pub body: Option<&'a Value>,
    /// `Authorization: Bearer`.
    pub token: Option<&'a Secret<String>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    headers: ureq::http::HeaderMap,
    body: Body,
    origin: String,
}

impl Installation {
    /// The installation at `address`, trusted under the authority in the PEM file.
    pub fn new(address: Option<&str>, authority: Option<&Path>) -> Result<Self, ClientError> {
        let address = address.ok_or(ClientError::AddressMissing)?;
        let origin = origin(address)
            .ok_or_else(|| ClientError::AddressInvalid { address: address.to_owned() })?;
        let authority = authority.ok_or(ClientError::AuthorityMissing)?;
        Ok(Self { origin, agent: agent(certificates(authority)?, None) })
    }

    /// The same, showing a client certificate with its key, both PEM.
    pub(crate) fn showing(
        address: &str,
        authority: &Path,
        (certificate, key): (&str, &Secret<String>),
    ) -> Result<Self, ClientError> {
        let invalid = || ClientError::AddressInvalid { address: address.to_owned() };
        let origin = origin(address).ok_or_else(invalid)?;
        let unusable = |_| ClientError::Cryptography { task: "read the host's certificate" };
        let chain = Certificate::from_pem(certificate.as_bytes()).map_err(unusable)?;
        let key = PrivateKey::from_pem(key.expose().as_bytes()).map_err(unusable)?;
        let shown = ClientCert::new_with_certs(&[chain], key);
        Ok(Self { origin, agent: agent(certificates(authority)?, Some(shown)) })
    }

    /// `https://host:port`, without a slash at the end.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// One call; whatever its status is.
    pub fn send(&self, method: &Method, path: &str, sent: Sent<'_>) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.origin));
        if let Some(token) = sent.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let answered = match sent.body {
            None => request.body(()).map(|request| self.agent.run(request)),
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string())
                .map(|request| self.agent.run(request)),
        };
        let invalid = |_| ClientError::AddressInvalid { address: self.origin.clone() };
        self.answer(answered.map_err(invalid)?)
    }

    /// One call whose answer is JSON; a refusal is an error.
    pub fn call<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        sent: Sent<'_>,
    ) -> Result<T, ClientError> {
        self.send(method, path, sent)?.accepted()?.json()
    }

    /// A form to the token endpoint.
    pub(crate) fn form<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let body = Secret::new(encoded(fields));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.origin))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.expose().as_str())
            .map_err(|_| ClientError::AddressInvalid { address: self.origin.clone() })?;
        let answer = self.answer(self.agent.run(request))?;
        if answer.status < 400 {
            return answer.json();
        }
        let OAuthError { error, error_description } = answer.json()?;
        Err(ClientError::TokenRefused { error, description: error_description })
    }

    fn answer(
        &self,
        answered: Result<ureq::http::Response<Body>, ureq::Error>,
    ) -> Result<Answer, ClientError> {
        let (head, body) = answered.map_err(|error| self.unreachable(&error))?.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            origin: self.origin.clone(),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        let origin = self.origin.clone();
        let certificate = match error {
            ureq::Error::Io(source) => source.get_ref().and_then(|inner| inner.downcast_ref()),
            ureq::Error::Rustls(source) => Some(source),
            _ => None,
        };
        match certificate {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                ClientError::Untrusted { origin, cause: problem.to_string() }
            }
            _ => ClientError::Unreachable { origin, cause: error.to_string() },
        }
    }
}

#[derive(Deserialize)]
struct OAuthError {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// RFC 9457, as our API writes it.
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    code: String,
    detail: String,
    #[serde(default)]
    hint: Option<String>,
}

impl Problem {
    fn refusal(self) -> Option<ClientError> {
        let known = code::ALL.iter().find(|known| known.id == self.code)?;
        (self.kind.strip_prefix("urn:portcullis:code:") == Some(known.id)).then(|| {
            ClientError::refused(Refusal { code: known, message: self.detail, hint: self.hint })
        })
    }
}

/// The refusal that an answer of lines ends with when its reader may not go on.
pub fn refusal_in_line(line: &str) -> Option<ClientError> {
    serde_json::from_str::<Problem>(line).ok()?.refusal()
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The same answer, unless it is a refusal.
    pub fn accepted(self) -> Result<Self, ClientError> {
        if self.status < 400 {
            return Ok(self);
        }
        let (status, origin) = (self.status, self.origin.clone());
        let unintelligible = ClientError::Unintelligible {
            origin,
            reason: format!("it has the status {status} and no refusal of ours"),
        };
        let Ok(problem) = self.json::<Problem>() else { return Err(unintelligible) };
        Err(problem.refusal().unwrap_or(unintelligible))
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let origin = self.origin.clone();
        let bytes = self.bytes()?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Unintelligible { origin, reason: error.to_string() })
    }

    /// The body as it is.
    pub fn bytes(self) -> Result<Vec<u8>, ClientError> {
        let origin = self.origin;
        limited(self.body)
            .read_to_vec()
            .map_err(|error| ClientError::Unreachable { origin, cause: error.to_string() })
    }

    /// The body as it arrives, without a bound: for listings that a person watches.
    pub fn stream(self) -> impl Read {
        self.body.into_reader()
    }
}

fn limited(body: Body) -> BodyWithConfig<'static> {
    body.into_with_config().limit(ANSWER_BYTES_MAX)
}

/// The origin of an address, if it is one over HTTPS.
pub(crate) fn origin(address: &str) -> Option<String> {
    let trimmed = address.trim().trim_end_matches('/');
    let rest = trimmed.strip_prefix("https://")?;
    let plain = !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ', '\\']);
    plain.then(|| format!("https://{}", rest.to_ascii_lowercase()))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ClientError> {
    let pem = fs::read(path).map_err(|source| ClientError::File {
        task: "read the authority in",
        path: path.to_owned(),
        source,
    })?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(ClientError::AuthorityInvalid { path: path.to_owned() });
    }
    Ok(certificates)
}

fn agent(certificates: Vec<Certificate<'static>>, shown: Option<ClientCert>) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .client_cert(shown)
        .unversioned_rustls_crypto_provider(runtime::tls::provider())
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // The gateway's own address is meant, not what a proxy makes of it.
        .proxy(None)
        .timeout_connect(Some(CONNECT_MAX))
        .timeout_recv_response(Some(ANSWER_MAX))
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        percent(name, &mut body);
        body.push('=');
        percent(value, &mut body);
    }
    body
}

fn percent(text: &str, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
            continue;
        }
        to.push('%');
        for nibble in [byte >> 4, byte & 0x0f] {
            to.extend(DIGITS.get(usize::from(nibble)).copied().map(char::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_origin_over_https() {
        for (address, expected) in [
            ("https://sts.test:8443/", Some("https://sts.test:8443")),
            ("https://STS.test", Some("https://sts.test")),
            ("https://[::1]:8443", Some("https://[::1]:8443")),
            ("http://sts.test", None),
            ("sts.test", None),
            ("https://", None),
            ("https://sts.test/path", None),
            ("https://user@sts.test", None),
        ] {
            assert_eq!(origin(address).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn a_refusal_at_the_end_of_lines_is_told_from_a_line() {
        let refusal = |kind: &str, code: &str| {
            serde_json::json!({ "type": kind, "code": code, "detail": "it is over" }).to_string()
        };
        let known = refusal("urn:portcullis:code:PC2001", "PC2001");
        assert!(matches!(refusal_in_line(&known), Some(ClientError::Refused(_))));
        for line in [
            refusal("sessionEnded", "PC2001"),
            refusal("urn:portcullis:code:PC0000", "PC0000"),
            String::new(),
        ] {
            assert!(refusal_in_line(&line).is_none(), "{line}");
        }
    }

    #[test]
    fn forms_are_encoded_byte_by_byte() {
        let fields = [("client_secret", "a b&c=+ü~"), ("scope", "https://x/.default")];
        assert_eq!(
            encoded(&fields),
            "client_secret=a%20b%26c%3D%2B%C3%BC~&scope=https%3A%2F%2Fx%2F.default"
        );
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_sent() {
        assert!(matches!(Installation::new(None, None), Err(ClientError::AddressMissing)));
        assert!(matches!(
            Installation::new(Some("https://sts.test"), None),
            Err(ClientError::AuthorityMissing)
        ));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(
            Installation::new(Some("https://sts.test"), Some(file.path())),
            Err(ClientError::AuthorityInvalid { .. })
        ));
    }
}
