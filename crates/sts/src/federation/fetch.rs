//! Discovery and keys over HTTPS, in a way that an issuer's document cannot turn against us: a name is resolved once and
//! the very addresses that were looked at are connected to; addresses that are not public are refused unless the operator
//! has named them for this issuer; redirects are not followed; time, size and kind of what comes back are bounded.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use access::network;
use access::token::{KEY_SET_BYTES_MAX, KeySet};
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use runtime::config::{Federation, TrustedIssuer};
use runtime::tls;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Discovery and keys together; a token request waits for it.
const WITHIN: Duration = Duration::from_secs(10);

/// Longer documents are refused: the longest keys that a set may have, and room.
const DOCUMENT_BYTES_MAX: usize = KEY_SET_BYTES_MAX;

/// Headers in front of a document.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Of a name's addresses so many are tried.
const ADDRESSES_MAX: usize = 4;

/// Files of authorities are not longer.
const AUTHORITIES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why an issuer's keys are not to be had. What is shown says enough to mend it, and nothing about what else may be at
/// an address: a stranger must not learn from it which ports answer. The cause is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// No connection, no TLS, or no answer in time.
    #[error("it cannot be reached over HTTPS")]
    Unreachable {
        /// For the log.
        cause: String,
    },
    /// Its name leads to an address that is not public.
    #[error("its address is not public, and the configuration does not allow it")]
    NotPublic {
        /// For the log.
        cause: String,
    },
    /// An address in a document is not one that is fetched.
    #[error("the address of its keys is not one with https, a host and nothing in front of it")]
    Address,
    /// The answer was not a document.
    #[error("it answered {what}")]
    Answer {
        /// What came in place of a document.
        what: &'static str,
    },
    /// The discovery document is another issuer's.
    #[error("its discovery document names another issuer")]
    OtherIssuer {
        /// For the log.
        cause: String,
    },
    /// The keys cannot be used.
    #[error("its keys are not usable")]
    Keys {
        /// For the log.
        cause: String,
    },
    /// The operator's file with the authorities or the keys.
    #[error("the operator's file with its keys or authorities cannot be read")]
    File,
}

impl FetchError {
    pub(super) fn unreachable(cause: impl std::fmt::Display) -> Self {
        Self::Unreachable { cause: cause.to_string() }
    }

    /// What only the log says.
    pub(super) fn cause(&self) -> &str {
        match self {
            Self::Unreachable { cause }
            | Self::NotPublic { cause }
            | Self::OtherIssuer { cause }
            | Self::Keys { cause } => cause,
            Self::Address | Self::Answer { .. } | Self::File => "",
        }
    }
}

/// What the discovery document says that counts here (OpenID Connect Discovery 1.0 §3).
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// How one issuer is reached.
struct Way<'a> {
    tls: TlsConnector,
    allowed: Option<&'a TrustedIssuer>,
}

/// Discovers the issuer and fetches its keys.
pub(super) async fn keys(issuer: &str, config: &Federation) -> Result<KeySet, FetchError> {
    match tokio::time::timeout(WITHIN, discover(issuer, config)).await {
        Ok(keys) => keys,
        Err(_) => Err(FetchError::unreachable(format!("no answer within {WITHIN:?}"))),
    }
}

async fn discover(issuer: &str, config: &Federation) -> Result<KeySet, FetchError> {
    let allowed = config.issuer(issuer);
    let authorities = match allowed.and_then(|known| known.ca.clone()) {
        Some(own) => own,
        None => config.authorities.clone(),
    };
    let way = Way { tls: connector(authorities).await?, allowed };
    // Concatenation, as discovery has it: the issuer's own path stays in front.
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = way.get(&address).await?;
    let discovered: Discovered = serde_json::from_slice(&document)
        .map_err(|_| FetchError::Answer { what: "something that is no discovery document" })?;
    if discovered.issuer != issuer {
        let cause: String = discovered.issuer.chars().take(200).collect();
        return Err(FetchError::OtherIssuer { cause });
    }
    let keys = way.get(&discovered.jwks_uri).await?;
    KeySet::parse(&keys).map_err(|error| FetchError::Keys { cause: error.to_string() })
}

async fn connector(authorities: PathBuf) -> Result<TlsConnector, FetchError> {
    let unusable = |cause: &dyn std::fmt::Display| {
        tracing::error!(file = %authorities.display(), %cause, "the authorities for issuers cannot be read");
        FetchError::File
    };
    let metadata = tokio::fs::metadata(&authorities).await.map_err(|error| unusable(&error))?;
    if metadata.len() > AUTHORITIES_BYTES_MAX {
        return Err(unusable(&"the file is too long"));
    }
    let pem = tokio::fs::read_to_string(&authorities).await.map_err(|error| unusable(&error))?;
    let config = tls::client_config(&pem, None).map_err(|error| unusable(&error))?;
    Ok(TlsConnector::from(config))
}

impl Way<'_> {
    /// One document.
    async fn get(&self, address: &str) -> Result<Bytes, FetchError> {
        let target = Target::read(address)?;
        let stream = self.connect(&target).await?;
        let stream = self
            .tls
            .connect(target.name.clone(), stream)
            .await
            .map_err(|error| FetchError::unreachable(format!("{address}: {error}")))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_BYTES_MAX)
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(FetchError::unreachable)?;
        let answer = async {
            let response = sender.send_request(target.request()?).await;
            document(response.map_err(FetchError::unreachable)?).await
        };
        // The connection is driven beside the request; when it ends, what came over it can still be read.
        let driven = async {
            drop(connection.await);
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            never = driven => match never {},
        }
    }

    /// A connection to an address that was looked at.
    async fn connect(&self, target: &Target) -> Result<TcpStream, FetchError> {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|error| FetchError::unreachable(format!("{}: {error}", target.host)))?;
        let found: Vec<SocketAddr> = found.collect();
        // One address that is not allowed spoils the name: whoever answers for it has two faces.
        if let Some(own) = found.iter().find(|address| !self.allows(address.ip())) {
            let cause = format!("{} is at {}", target.host, own.ip());
            return Err(FetchError::NotPublic { cause });
        }
        let mut cause = format!("{} has no address", target.host);
        for address in found.into_iter().take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => cause = format!("{address}: {error}"),
            }
        }
        Err(FetchError::Unreachable { cause })
    }

    fn allows(&self, address: IpAddr) -> bool {
        let networks = self.allowed.map(|known| known.networks.as_slice()).unwrap_or_default();
        network::is_public(address) || networks.iter().any(|network| network.contains(address))
    }
}

/// An address, taken apart.
struct Target {
    host: String,
    port: u16,
    name: ServerName<'static>,
    uri: Uri,
}

impl Target {
    fn read(address: &str) -> Result<Self, FetchError> {
        let uri: Uri = address.parse().map_err(|_| FetchError::Address)?;
        let authority = uri.authority().ok_or(FetchError::Address)?;
        if uri.scheme_str() != Some("https") || authority.as_str().contains('@') {
            return Err(FetchError::Address);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| FetchError::Address)?;
        let port = authority.port_u16().unwrap_or(443);
        Ok(Self { host, port, name, uri })
    }

    fn request(&self) -> Result<Request<Body>, FetchError> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map(ToString::to_string).unwrap_or_default();
        Request::get(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .header(header::USER_AGENT, "portcullis")
            .header(header::CONNECTION, "close")
            .body(Body::empty())
            .map_err(|_| FetchError::Address)
    }
}

async fn document(response: Response<Incoming>) -> Result<Bytes, FetchError> {
    let (head, body) = response.into_parts();
    if head.status.is_redirection() {
        return Err(FetchError::Answer { what: "with a redirect, which is not followed" });
    }
    if head.status != StatusCode::OK {
        return Err(FetchError::Answer { what: "with another status than 200" });
    }
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let json = kind.eq_ignore_ascii_case("application/json")
        || kind.to_ascii_lowercase().ends_with("+json");
    if !json || head.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(FetchError::Answer { what: "something that is not JSON" });
    }
    axum::body::to_bytes(Body::new(body), DOCUMENT_BYTES_MAX)
        .await
        .map_err(|_| FetchError::Answer { what: "too much, or broke off" })
}
