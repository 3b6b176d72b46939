//! TLS handshakes by rustls, which then hands over the keys of both directions to our record layer.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{
    ClientHello, ResolvesServerCert, ServerConnectionData, UnbufferedServerConnection,
};
use rustls::sign::CertifiedKey;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{
    CipherSuite, ClientConfig, CommonState, ExtractedSecrets, KeyLog, ProtocolVersion, ServerConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::record::{Opener, Sealer};
use super::schedule::{self, Keys, Role, Schedule};
use super::stream::{Agreed, Finished, Stream};

/// A handshake's flight is shorter, but for certificate chains that nobody has.
const HANDSHAKE_BYTES_MAX: usize = 128 * 1024;
const READ_BYTES: usize = 8 * 1024;

/// What a client said in its handshake.
#[derive(Debug)]
pub(crate) struct Greeted {
    /// Server name (SNI).
    pub server_name: Option<String>,
    /// The protocol that ALPN agreed on.
    pub protocol: Option<Vec<u8>>,
}

/// Keeps the server name that a client asks for: rustls' unbuffered connection tells it to nobody else.
#[derive(Debug)]
struct Listening {
    resolver: Arc<dyn ResolvesServerCert>,
    server_name: OnceLock<String>,
}

impl Listening {
    fn to(config: &ServerConfig) -> Self {
        Self { resolver: Arc::clone(&config.cert_resolver), server_name: OnceLock::new() }
    }
}

impl ResolvesServerCert for Listening {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            self.server_name.get_or_init(|| name.to_owned());
        }
        self.resolver.resolve(hello)
    }
}

/// The handshake as the server.
pub(crate) async fn accept(
    config: Arc<ServerConfig>,
    mut socket: TcpStream,
) -> io::Result<(Stream, Greeted)> {
    let resolver = Arc::new(Listening::to(&config));
    let mut config = Arc::unwrap_or_clone(config);
    config.cert_resolver = Arc::clone(&resolver) as Arc<dyn ResolvesServerCert>;
    let told = Arc::new(schedule::Listening::default());
    config.key_log = Arc::clone(&told) as Arc<dyn KeyLog>;
    let mut connection =
        UnbufferedServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
    let buffers = drive(&mut connection, &mut socket).await?;
    let greeted = Greeted {
        server_name: resolver.server_name.get().cloned(),
        protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
    };
    let agreed = agreed(&connection)?;
    let (secrets, _) = connection.dangerous_into_kernel_connection().map_err(io::Error::other)?;
    let stream = finish((socket, buffers), &secrets, (&told, Role::Server, agreed))?;
    Ok((stream, greeted))
}

/// The handshake as the client; with the server's own certificate. Errors of the handshake carry rustls' own.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mut socket: TcpStream,
) -> io::Result<(Stream, Option<CertificateDer<'static>>)> {
    let told = Arc::new(schedule::Listening::default());
    let mut config = Arc::unwrap_or_clone(config);
    config.key_log = Arc::clone(&told) as Arc<dyn KeyLog>;
    let mut connection =
        UnbufferedClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let buffers = drive(&mut connection, &mut socket).await?;
    let certificate = connection.peer_certificates().and_then(<[_]>::first).cloned();
    let agreed = agreed(&connection)?;
    let (secrets, _) = connection.dangerous_into_kernel_connection().map_err(io::Error::other)?;
    let stream = finish((socket, buffers), &secrets, (&told, Role::Client, agreed))?;
    Ok((stream, certificate.map(CertificateDer::into_owned)))
}

/// Version and suite of a finished handshake.
fn agreed(state: &CommonState) -> io::Result<(ProtocolVersion, CipherSuite)> {
    let both = state.protocol_version().zip(state.negotiated_cipher_suite());
    let (version, suite) =
        both.ok_or_else(|| io::Error::other(rustls::Error::HandshakeNotComplete))?;
    Ok((version, suite.suite()))
}

/// Nothing of rustls' connection is kept but these keys.
fn finish(
    (socket, buffers): (TcpStream, Buffers),
    secrets: &ExtractedSecrets,
    (told, role, (version, suite)): (&schedule::Listening, Role, (ProtocolVersion, CipherSuite)),
) -> io::Result<Stream> {
    let keys = |secrets| Keys::of(secrets).map_err(io::Error::other);
    let (receiving, sending) = (keys(&secrets.rx)?, keys(&secrets.tx)?);
    let finished = Finished {
        opener: Opener::new(&receiving, version).map_err(io::Error::other)?,
        sealer: Sealer::new(&sending, version).map_err(io::Error::other)?,
        schedule: Schedule::new(told, role, suite),
        role,
        agreed: Agreed { version, suite: suite.as_str().unwrap_or("unknown") },
        partial: buffers.incoming,
        opened: buffers.opened,
        closed: buffers.closed,
    };
    Ok(Stream::new(socket, finished))
}

/// The version's name, for the audit log.
pub(crate) fn version_name(version: ProtocolVersion) -> &'static str {
    version.as_str().unwrap_or("TLS")
}

/// Bytes of a handshake under way.
#[derive(Default)]
struct Buffers {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// What the application said behind the handshake.
    opened: Vec<u8>,
    /// Whether the peer has said that it says no more: a client that only asks to cancel says all of it at once.
    closed: bool,
}

/// Both kinds of rustls' connections.
trait Handshake {
    type Data;
    fn step<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Handshake for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn step<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(incoming)
    }
}

impl Handshake for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn step<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(incoming)
    }
}

enum Next {
    Step,
    Send,
    Read,
    Done,
}

async fn drive<H: Handshake>(handshake: &mut H, socket: &mut TcpStream) -> io::Result<Buffers> {
    let mut buffers = Buffers::default();
    loop {
        match step(handshake, &mut buffers) {
            Ok(Next::Step) => {}
            Ok(Next::Send) => {
                socket.write_all(&buffers.outgoing).await?;
                buffers.outgoing.clear();
            }
            Ok(Next::Read) => read(socket, &mut buffers.incoming).await?,
            Ok(Next::Done) => return Ok(buffers),
            Err(error) => {
                alert(handshake, socket).await;
                return Err(error);
            }
        }
    }
}

fn step<H: Handshake>(handshake: &mut H, buffers: &mut Buffers) -> io::Result<Next> {
    let Buffers { incoming, outgoing, opened, closed } = buffers;
    let UnbufferedStatus { discard, state } = handshake.step(incoming);
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let next = match state.map_err(invalid)? {
        ConnectionState::EncodeTlsData(encode) => {
            encode_into(encode, outgoing)?;
            Next::Step
        }
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Next::Send
        }
        ConnectionState::BlockedHandshake if *closed => return Err(ended()),
        ConnectionState::BlockedHandshake => Next::Read,
        ConnectionState::WriteTraffic(_) => Next::Done,
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                opened.extend_from_slice(record.map_err(invalid)?.payload);
            }
            Next::Step
        }
        // Told once; what comes next says whether the handshake was over before.
        ConnectionState::PeerClosed => {
            *closed = true;
            Next::Step
        }
        ConnectionState::Closed => return Err(ended()),
        // Early data is never offered.
        _ => return Err(invalid(rustls::Error::HandshakeNotComplete)),
    };
    incoming.drain(..discard);
    Ok(next)
}

fn encode_into<D>(mut encode: EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    let start = outgoing.len();
    let mut room = READ_BYTES;
    loop {
        outgoing.resize(start + room, 0);
        match encode.encode(outgoing.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                outgoing.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => room = size.required_size,
            Err(error @ EncodeError::AlreadyEncoded) => return Err(io::Error::other(error)),
        }
    }
}

async fn read(socket: &mut TcpStream, incoming: &mut Vec<u8>) -> io::Result<()> {
    let filled = incoming.len();
    if filled > HANDSHAKE_BYTES_MAX {
        return Err(io::Error::other("the peer's TLS handshake is too long"));
    }
    incoming.resize(filled + READ_BYTES, 0);
    let read = socket.read(incoming.get_mut(filled..).unwrap_or_default()).await?;
    incoming.truncate(filled + read);
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The alert that rustls has ready after an error, as far as the peer takes it.
async fn alert<H: Handshake>(handshake: &mut H, socket: &mut TcpStream) {
    let mut buffers = Buffers::default();
    while let Ok(Next::Step) = step(handshake, &mut buffers) {}
    if socket.write_all(&buffers.outgoing).await.is_err() {
        tracing::debug!("a peer whose TLS handshake failed was gone before it could be told");
    }
}
