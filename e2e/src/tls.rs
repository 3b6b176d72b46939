//! TLS as a client of the installation's authority.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect(stream: TcpStream, authority: &Path) -> Result<Tls> {
    connect_with(stream, authority, &[])
}

/// The same, offering these application protocols (ALPN).
pub(crate) fn connect_with(
    stream: TcpStream,
    authority: &Path,
    protocols: &[&[u8]],
) -> Result<Tls> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("localhost")?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, stream))
}
