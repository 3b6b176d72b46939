//! Dialling a database server: the first address that answers, and TLS verified in full.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::kind::server::{DatabaseServer, Engine};
use model::{Document, code};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::dialect::{self, Greeted, Wish};
use crate::listener::tune;
use crate::outcome::Denied;
use crate::tls::{self, ALPN, Stream};

/// From the first packet to the end of the TLS handshake.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// Bytes to a server that the kernel holds back for its receive window. Without a bound it takes megabytes, and a client
/// that sends without reading is not slowed down by its server, of whose error it then hears too late.
const UNSENT_BYTES: u32 = 128 * 1024;

/// The TLS contexts of the servers that sessions are opened on: their authorities are read once, not for each session.
#[derive(Debug, Default)]
pub(crate) struct Contexts(Mutex<HashMap<String, Context>>);

/// Good for as long as the server's authorities are these.
#[derive(Debug)]
struct Context {
    ca: String,
    config: Arc<ClientConfig>,
}

/// Of more servers than these the contexts are made anew.
const CONTEXTS_MAX: usize = 1_000;

impl Contexts {
    /// Dials a server as [`dial`] does.
    pub(crate) async fn dial(
        &self,
        server: &Document<DatabaseServer>,
        certificate: Option<CertifiedKey>,
        wish: Wish,
    ) -> Result<Dialled, Denied> {
        let config = self.of(server)?;
        let config = match certificate {
            Some(certificate) => runtime::tls::showing(&config, certificate),
            None => config,
        };
        within(server, config, wish).await
    }

    fn of(&self, server: &Document<DatabaseServer>) -> Result<Arc<ClientConfig>, Denied> {
        let mut contexts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = contexts.get(server.name()).filter(|known| known.ca == server.spec.ca)
        {
            return Ok(Arc::clone(&known.config));
        }
        let config = client_config(server, None)?;
        if contexts.len() >= CONTEXTS_MAX {
            contexts.clear();
        }
        let context = Context { ca: server.spec.ca.clone(), config: Arc::clone(&config) };
        contexts.insert(server.name().to_owned(), context);
        Ok(config)
    }
}

/// Dials a server with a client certificate. Verification is always full: chain to the resource's own `ca`, and name.
pub async fn dial(
    server: &Document<DatabaseServer>,
    identity: runtime::tls::Identity,
) -> Result<Stream, Denied> {
    Ok(dial_greeted(server, identity).await?.stream)
}

/// The same, with what the server said before TLS.
pub(crate) async fn dial_greeted(
    server: &Document<DatabaseServer>,
    identity: runtime::tls::Identity,
) -> Result<Dialled, Denied> {
    let config = client_config(server, Some(identity))?;
    within(server, config, Wish::anything(server)).await
}

/// Dials a server without showing who we are: cancel requests need nobody.
pub(crate) async fn dial_anonymous(server: &Document<DatabaseServer>) -> Result<Stream, Denied> {
    Ok(within(server, client_config(server, None)?, Wish::anything(server)).await?.stream)
}

/// The certificate that a server shows.
pub(crate) async fn server_certificate(
    server: &Document<DatabaseServer>,
) -> Result<Option<CertificateDer<'static>>, Denied> {
    Ok(within(server, client_config(server, None)?, Wish::anything(server)).await?.certificate)
}

/// A connection inside TLS.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// It.
    pub stream: Stream,
    /// The certificate that the server showed.
    pub certificate: Option<CertificateDer<'static>>,
    /// What the server said before TLS.
    pub greeted: Greeted,
}

/// What a MySQL server says before anything else.
pub(crate) async fn greeting(
    server: &Document<DatabaseServer>,
) -> Result<wire::mysql::greeting::Greeting, Denied> {
    let greeting = async {
        let mut stream = connect_tcp(server).await?;
        dialect::mysql_greeting(&mut stream).await
    };
    match tokio::time::timeout(DIAL_WITHIN, greeting).await {
        Ok(greeting) => greeting,
        Err(_) => {
            Err(unreachable(server).because(format_args!("no answer within {DIAL_WITHIN:?}")))
        }
    }
}

async fn within(
    server: &Document<DatabaseServer>,
    config: Arc<ClientConfig>,
    wish: Wish,
) -> Result<Dialled, Denied> {
    match tokio::time::timeout(DIAL_WITHIN, connect(server, config, wish)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(unreachable(server).because(format_args!("no answer within {DIAL_WITHIN:?}")))
        }
    }
}

async fn connect(
    server: &Document<DatabaseServer>,
    config: Arc<ClientConfig>,
    wish: Wish,
) -> Result<Dialled, Denied> {
    let spec = &server.spec;
    let name = spec.server_name.as_ref().unwrap_or(&spec.host).clone();
    let name = ServerName::try_from(name).map_err(|error| unusable(&error))?;
    let mut stream = connect_tcp(server).await?;
    let greeted = dialect::request_tls(&mut stream, wish).await?;
    let connected = tls::handshake::connect(config, name, stream).await;
    let (stream, certificate) = connected.map_err(|error| handshake(server, &error))?;
    Ok(Dialled { stream, certificate, greeted })
}

fn client_config(
    server: &Document<DatabaseServer>,
    identity: Option<runtime::tls::Identity>,
) -> Result<Arc<ClientConfig>, Denied> {
    let config = runtime::tls::client_config(&server.spec.ca, identity);
    let mut config = Arc::unwrap_or_clone(config.map_err(|error| unusable(&error))?);
    config.alpn_protocols = match server.spec.engine {
        Engine::PostgreSql => vec![ALPN.to_vec()],
        Engine::MySql => Vec::new(),
    };
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

fn unusable(error: &dyn std::fmt::Display) -> Denied {
    Denied::new(&code::UPSTREAM_UNTRUSTED, "the server's `ca` or `serverName` cannot be used")
        .because(error)
}

/// The first address that answers.
async fn connect_tcp(server: &Document<DatabaseServer>) -> Result<TcpStream, Denied> {
    let (host, port) = (server.spec.host.as_str(), server.spec.port);
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| {
        unreachable(server).because(format_args!("`{host}` cannot be resolved: {error}"))
    })?;
    let mut causes = Vec::new();
    for address in addresses {
        match connect_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => causes.push(format!("{address}: {cause}")),
        }
    }
    Err(unreachable(server).because(causes.join("; ")))
}

async fn connect_to(address: SocketAddr) -> Result<TcpStream, String> {
    if let Some(kind) = never_a_database(address.ip()) {
        return Err(format!("{kind} addresses are not dialled"));
    }
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let tuned =
        tune(&stream).and_then(|()| SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES));
    tuned.map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Addresses under which machines keep their own services (instance metadata), and those that are no machine's.
fn never_a_database(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_link_local() => Some("link-local"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        address if address.is_multicast() => Some("multicast"),
        address if address.is_unspecified() => Some("unspecified"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn unreachable(server: &Document<DatabaseServer>) -> Denied {
    Denied::new(
        &code::UPSTREAM_UNREACHABLE,
        format!("the database server `{}` cannot be reached", server.name()),
    )
}

/// A certificate that does not hold is something else than a server that is away.
fn handshake(server: &Document<DatabaseServer>, error: &std::io::Error) -> Denied {
    let untrusted = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| !matches!(inner, rustls::Error::AlertReceived(_)));
    if untrusted {
        let message =
            format!("the certificate of the database server `{}` cannot be trusted", server.name());
        return Denied::new(&code::UPSTREAM_UNTRUSTED, message).because(error);
    }
    unreachable(server).because(error)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn server(host: &str, port: u16) -> Document<DatabaseServer> {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "portcullis.dev/v1",
            "kind": "DatabaseServer",
            "metadata": { "name": "orders" },
            "spec": { "engine": "postgresql", "host": host, "port": port, "ca": "" },
        }))
        .unwrap()
    }

    #[test]
    fn instance_metadata_and_addresses_of_no_machine_are_never_dialled() {
        for (address, kind) in [
            ("169.254.169.254", Some("link-local")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("fe80::1", Some("link-local")),
            ("224.0.0.1", Some("multicast")),
            ("0.0.0.0", Some("unspecified")),
            ("::", Some("unspecified")),
            ("127.0.0.1", None),
            ("10.0.0.5", None),
            ("2001:db8::5", None),
        ] {
            assert_eq!(never_a_database(address.parse().unwrap()), kind, "{address}");
        }
    }
}
