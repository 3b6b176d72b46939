//! TLS contexts: one provider (aws-lc-rs), TLS 1.2 and 1.3, verification always full.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption,
    Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName,
    NamedGroup, RootCertStore, ServerConfig, SignatureScheme, SupportedCipherSuite,
};
use zeroize::Zeroize;

use crate::Clock;

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

/// Our cryptography: aws-lc-rs, with the post-quantum hybrid X25519MLKEM768 first, and AES-128 before AES-256: processors
/// compute its SHA-256 in hardware, and SHA-384, of which a handshake's keys take many, they do not.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let suite =
        |suite: &SupportedCipherSuite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(suite);
    Arc::new(provider)
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

/// A server's context: TLS 1.2 and 1.3, our order of suites, session tickets on, no state kept per session.
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
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The same, demanding a client certificate of these authorities, as they are at each handshake. A certificate that is
/// over passes as well: what speaks with it can then tell its holder so, and record it. **Whoever uses this looks at the
/// certificate's end at every request.**
pub fn mutual_server_config(
    certificate: &ServerCertificate,
    protocols: &[&[u8]],
    authorities: impl Fn() -> String + Send + Sync + 'static,
    clock: Clock,
) -> Result<Arc<ServerConfig>, TlsError> {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&certificate.0) as Arc<_>;
    let provider = provider();
    let clients = ClientsOf {
        algorithms: provider.signature_verification_algorithms,
        authorities: Box::new(authorities),
        clock,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(clients))
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.ignore_client_order = true;
    // No tickets: a resumed session would show a certificate that nobody verified again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Verifies client certificates.
struct ClientsOf {
    algorithms: WebPkiSupportedAlgorithms,
    authorities: Box<dyn Fn() -> String + Send + Sync>,
    clock: Clock,
}

impl fmt::Debug for ClientsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientsOf")
    }
}

impl ClientsOf {
    fn at(
        &self,
        instant: UnixTime,
        shown: (&CertificateDer<'_>, &[CertificateDer<'_>]),
    ) -> Result<(), rustls::Error> {
        let unusable = |error: &dyn fmt::Display| rustls::Error::General(error.to_string());
        let roots = roots(&(self.authorities)()).map_err(|error| unusable(&error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| unusable(&error))?;
        verifier.verify_client_cert(shown.0, shown.1, instant).map(drop)
    }
}

impl ClientCertVerifier for ClientsOf {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _system: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let seconds = u64::try_from(self.clock.now().seconds()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verified = match self.at(now, (end_entity, intermediates)) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) => self.at(not_after, (end_entity, intermediates)),
            other => other,
        };
        verified.map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
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
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::store(Arc::new(KeyExchanges::default()))
        .tls12_resumption(Tls12Resumption::Disabled);
    match identity {
        Some(identity) => Ok(showing(&config, certified(identity)?)),
        None => Ok(Arc::new(config)),
    }
}

/// The same context, showing this identity.
pub fn showing(config: &ClientConfig, certified: CertifiedKey) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Arc::new(config)
}

/// Remembers which key exchange a server agreed to, so that the next handshake offers no other in vain, and nothing else:
/// a session is never resumed.
#[derive(Debug, Default)]
struct KeyExchanges(Mutex<HashMap<ServerName<'static>, NamedGroup>>);

impl KeyExchanges {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, NamedGroup>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for KeyExchanges {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.lock().insert(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().get(server_name).copied()
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
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
