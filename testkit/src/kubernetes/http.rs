//! HTTPS, one request a connection: as a server, and as the client of a webhook.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use serde_json::Value;

use crate::server::tls::Identity;

const QUIET_MAX: Duration = Duration::from_secs(20);

pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) bearer: Option<String>,
    /// `Content-Type`.
    pub(super) kind: String,
    pub(super) body: Vec<u8>,
}

pub(super) fn serve(
    listener: TcpListener,
    identity: &Identity,
    answer: impl Fn(&Request) -> (u16, Value) + Send + Sync + 'static,
) -> Result<()> {
    let chain: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    let (config, answer) = (Arc::new(config), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
            // A client that breaks off is its own affair.
            std::thread::spawn(move || drop(one(stream, config, answer.as_ref())));
        }
    });
    Ok(())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn one(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &dyn Fn(&Request) -> (u16, Value),
) -> Result<()> {
    stream.set_read_timeout(Some(QUIET_MAX))?;
    let mut tls = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let request = read(&mut tls)?;
    let (status, body) = answer(&request);
    let body = body.to_string();
    let tls = tls.get_mut();
    write!(
        tls,
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    tls.conn.send_close_notify();
    Ok(tls.flush()?)
}

fn read(from: &mut impl BufRead) -> Result<Request> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().context("no method")?.to_owned();
    let target = words.next().context("no target")?;
    let path = target.split('?').next().unwrap_or(target).to_owned();
    let mut request = Request { method, path, bearer: None, kind: String::new(), body: Vec::new() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.bearer = value.strip_prefix("Bearer ").map(str::to_owned),
            "content-type" => value.clone_into(&mut request.kind),
            "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    request.body = vec![0; length];
    from.read_exact(&mut request.body)?;
    Ok(request)
}

/// Posts JSON to a webhook, trusting this authority only.
pub(super) fn post(
    endpoint: (SocketAddr, &str),
    path: &str,
    authority: &[u8],
    body: &Value,
) -> Result<Value> {
    let (head, answer) = send(endpoint, ("POST", path), authority, &body.to_string())?;
    serde_json::from_str(&answer).context(head)
}

/// The first line of the answer, and its body.
pub(super) fn send(
    (address, host): (SocketAddr, &str),
    (method, path): (&str, &str),
    authority: &[u8],
    body: &str,
) -> Result<(String, String)> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(QUIET_MAX))?;
    let name = ServerName::try_from(host.to_owned())?;
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, stream);
    write!(
        tls,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    // An end without TLS's own farewell is an end all the same.
    if let Err(error) = tls.read_to_end(&mut answer)
        && error.kind() != std::io::ErrorKind::UnexpectedEof
    {
        return Err(error.into());
    }
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}
