//! TLS contexts: one provider (aws-lc-rs), TLS 1.2 and 1.3, verification always full.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use zeroize::Zeroize;

/// A TLS context cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text is not PEM.
    #[error("the trusted authorities are not PEM certificates")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// There is no certificate in it.
    #[error("there is no certificate among the trusted authorities")]
    NoAuthority,
    /// Certificate and key do not fit, or are not usable.
    #[error("the TLS configuration is not usable")]
    Unusable(#[from] rustls::Error),
}

/// A certificate chain, leaf first, and its private key, zeroised when dropped.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Our cryptography: aws-lc-rs, with the post-quantum hybrid X25519MLKEM768 first.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificate that a server shows, which can be replaced while it runs. Handshakes that have begun keep the former.
#[derive(Clone, Debug)]
pub struct ServerCertificate(Arc<Cell>);

#[derive(Debug)]
struct Cell(ArcSwap<CertifiedKey>);

impl ServerCertificate {
    /// Shows this one.
    pub fn new(identity: Identity) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Cell(ArcSwap::from_pointee(certified(identity)?)))))
    }

    /// Shows this one from the next handshake on.
    pub fn replace(&self, identity: Identity) -> Result<(), TlsError> {
        self.0.0.store(Arc::new(certified(identity)?));
        Ok(())
    }

    /// The chain shown now, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.0.load().cert.clone()
    }
}

impl ResolvesServerCert for Cell {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The key goes into the cryptography library, which clears its own memory; our copy is zeroised here.
fn certified(mut identity: Identity) -> Result<CertifiedKey, TlsError> {
    let key = any_supported_type(&identity.key)?;
    let certified = CertifiedKey::new(std::mem::take(&mut identity.chain), key);
    certified.keys_match()?;
    Ok(certified)
}

/// A server's context: TLS 1.2 and 1.3, session tickets on, no state kept per session.
pub fn server_config(
    certificate: &ServerCertificate,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&certificate.0) as Arc<_>;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

/// A client's context: chain and name verified in full against these authorities and no others. Never resumes: each
/// connection authenticates its own identity.
pub fn client_config(
    authorities_pem: &str,
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots(authorities_pem)?);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(identity)?))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The authorities in a PEM text.
pub fn roots(authorities_pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    Ok(roots)
}
