//! A database server that means harm: it has the real one's certificate and place, lets everyone in, and then does what
//! a test says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use testkit::postgres::Postgres;

const QUIET_MAX: Duration = Duration::from_secs(30);
/// Of a message's body a test needs no more.
const BODY_BYTES_MAX: usize = 1 << 20;

type Script = dyn Fn(&mut Session) -> Result<()> + Send + Sync;

/// Ends, with its sessions, when it is dropped.
pub struct Server {
    port: u16,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// One session that it let in.
pub struct Session {
    stream: StreamOwned<ServerConnection, TcpStream>,
    ended: Arc<AtomicBool>,
    /// The start-up message, as it came.
    pub startup: Vec<u8>,
}

impl Server {
    /// In the place of a server that does not run. Each session that is not the provisioner's gets the script, after a
    /// login like any other.
    pub fn in_place_of(
        postgres: &Postgres,
        script: impl Fn(&mut Session) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::impatient_in_place_of(postgres, &[], script)
    }

    /// The same, with these bytes in one TLS record with the login's end.
    pub fn impatient_in_place_of(
        postgres: &Postgres,
        behind: &[u8],
        script: impl Fn(&mut Session) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let behind: Arc<[u8]> = behind.into();
        let data = postgres.data_directory();
        let chain = CertificateDer::pem_file_iter(data.join("server.crt"))?
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(data.join("server.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        let (config, script): (_, Arc<Script>) = (Arc::new(config), Arc::new(script));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, postgres.port()))?;
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (config, script, stop) =
                    (Arc::clone(&config), Arc::clone(&script), Arc::clone(&stop));
                let behind = Arc::clone(&behind);
                // What it does to a gateway is what is looked at; its own errors are of no interest.
                std::thread::spawn(move || serve(stream, config, (&behind, &*script), stop).ok());
            }
        });
        Ok(Self { port: postgres.port(), ended, accepting: Some(accepting) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes it.
        drop(TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("port", &self.port).finish_non_exhaustive()
    }
}

fn serve(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
    (behind, script): (&[u8], &Script),
    ended: Arc<AtomicBool>,
) -> Result<()> {
    stream.set_read_timeout(Some(QUIET_MAX))?;
    stream.set_write_timeout(Some(QUIET_MAX))?;
    let mut request = [0; 8];
    stream.read_exact(&mut request)?;
    stream.write_all(b"S")?;
    let stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut session = Session { stream, ended, startup: Vec::new() };
    session.startup = session.body()?;
    let provisioner = b"portcullis_provisioner";
    ensure!(!session.startup.windows(provisioner.len()).any(|name| name == provisioner));
    session.message(b'R', &[0; 4])?;
    session.message(b'S', b"server_version\x0015.18\0")?;
    session.message(b'K', &[0, 0, 0x12, 0x67, 1, 2, 3, 4])?;
    session.write(&[b"Z\0\0\0\x05I", behind].concat())?;
    script(&mut session)
}

impl Session {
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// A message with its length.
    pub fn message(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len() + 4)?;
        self.write(&[&[tag], &length.to_be_bytes()[..], body].concat())
    }

    /// The client's next message, which is forwarded only after it was recorded.
    pub fn read(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut tag = [0];
        self.stream.read_exact(&mut tag)?;
        let [tag] = tag;
        Ok((tag, self.body()?))
    }

    /// Stays connected, silent, until the gateway closes or the test is over.
    pub fn stall(&mut self) -> Result<()> {
        self.stream.sock.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut byte = [0];
        while !self.ended.load(Ordering::SeqCst) {
            match self.stream.read(&mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn body(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        let length = length.checked_sub(4).context("a length below four")?;
        ensure!(length <= BODY_BYTES_MAX, "a body of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
