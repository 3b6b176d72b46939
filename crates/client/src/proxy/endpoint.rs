//! Where a proxy listens: a loopback address or a Unix socket. Whoever can connect is taken for its owner, so nothing
//! that another machine reaches will do.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use model::kind::server::Engine;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

/// Connections that the kernel completes while the loop is busy.
const BACKLOG: u32 = 1_024;

/// A loopback address with a port, or the path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Port 0: any that is free.
    Tcp(SocketAddr),
    /// Made anew, for its owner's account only.
    Unix(PathBuf),
}

impl Endpoint {
    /// What is used when none is named: the protocol's port with a 1 in front.
    pub const fn usual(engine: Engine) -> Self {
        let port = match engine {
            Engine::PostgreSql => 15_432,
            Engine::MySql => 13_306,
        };
        Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    pub(super) async fn bind(&self) -> io::Result<Listener> {
        match self {
            Self::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Self::Unix(path) => {
                remove_stale(path).await?;
                let socket = UnixSocket::new_stream()?;
                socket.bind(path)?;
                // Before it listens: until then nobody can connect.
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
                Ok(Listener::Unix(socket.listen(BACKLOG)?, Made(path.clone())))
            }
        }
    }
}

/// A socket whose owner is gone is in the way; one that answers is someone's, and anything else is not ours to remove.
pub(crate) async fn remove_stale(path: &Path) -> io::Result<()> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        about => about?,
    };
    if about.file_type().is_socket() {
        return match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        };
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text is no place for a proxy to listen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Others could connect under the owner's identity.
    #[error(
        "`{0}` can be reached from elsewhere, and whoever connects there acts as you; use 127.0.0.1:PORT, [::1]:PORT or unix:PATH"
    )]
    NotLoopback(String),
    /// It is something else.
    #[error("`{0}` is neither 127.0.0.1:PORT, nor [::1]:PORT, nor unix:PATH")]
    Malformed(String),
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let text_address = text.replace("localhost:", "127.0.0.1:");
        let address: SocketAddr =
            text_address.parse().map_err(|_| InvalidEndpoint::Malformed(text.to_owned()))?;
        if !address.ip().is_loopback() {
            return Err(InvalidEndpoint::NotLoopback(text.to_owned()));
        }
        Ok(Self::Tcp(address))
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Made),
}

/// A Unix socket's path, removed with it.
#[derive(Debug)]
pub(super) struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the socket could not be removed");
        }
    }
}

/// A client.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(super) fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(_, Made(path)) => Ok(path.display().to_string()),
        }
    }

    /// Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_and_unix_sockets_will_do() {
        for (text, expected) in [
            ("127.0.0.1:5432", Some("127.0.0.1:5432")),
            ("localhost:5432", Some("127.0.0.1:5432")),
            ("[::1]:0", Some("[::1]:0")),
            ("unix:/run/x", Some("unix:/run/x")),
            ("/run/x", Some("unix:/run/x")),
            ("unix:", None),
            ("5432", None),
            ("db.example.com:5432", None),
        ] {
            let read = text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).ok();
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        for text in ["0.0.0.0:5432", "[::]:5432", "10.0.0.7:5432"] {
            let refused = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(refused, InvalidEndpoint::NotLoopback(text.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_replaces_a_dead_one_and_leaves_others_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.5432");
        // A dead one: its listener is gone, its file is not.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let endpoint = Endpoint::Unix(path.clone());
        let listener = endpoint.bind().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let in_use = endpoint.bind().await.unwrap_err();
        assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.try_exists().unwrap());
        fs::write(&path, "someone's").unwrap();
        let other = endpoint.bind().await.unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "someone's");
    }
}
