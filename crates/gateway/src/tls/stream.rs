//! A TLS connection after its handshake, over a socket.
//!
//! Reading and writing go through buffers of the thread: what a connection holds of its own are keys, the bytes of a
//! record that is not whole, plaintext that nobody has read yet, and sealed bytes that the kernel did not take.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::record::{Content, Opener, RECORD_BYTES_MAX, RecordError, Sealer, Step};
use super::schedule::{Role, Schedule};

/// Read from the kernel at a time, behind the bytes of a record that is not whole.
const READ_BYTES: usize = 64 * 1024;
/// Sealed at a time, so that one call to the kernel takes it all.
const SEAL_BYTES: usize = 64 * 1024;
/// Messages of the handshake protocol after the handshake are short; tickets are the longest.
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
/// Records that bring nothing, one after the other: more are an attempt to keep us busy.
const EMPTY_RECORDS_MAX: u32 = 32;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

thread_local! {
    static SEALED: RefCell<Vec<u8>> = RefCell::new(vec![0; RECORD_BYTES_MAX + READ_BYTES]);
    static SEALING: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SEAL_BYTES + 4096));
}

/// What was agreed in the handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    /// The protocol's version.
    pub version: ProtocolVersion,
    /// The suite's name.
    pub suite: &'static str,
}

/// A TLS connection over a socket: the async runtime's, or that of a relay's thread.
pub struct Stream<S = TcpStream> {
    socket: S,
    tls: Tls,
}

/// All of it but the socket.
struct Tls {
    opener: Opener,
    sealer: Sealer,
    schedule: Schedule,
    role: Role,
    agreed: Agreed,
    /// The beginning of a record.
    partial: Vec<u8>,
    /// Plaintext that was opened and not read.
    opened: Vec<u8>,
    /// The beginning of a handshake message.
    handshake: Vec<u8>,
    /// Sealed bytes that the kernel has not taken.
    unsent: Vec<u8>,
    unsent_from: usize,
    empty_records: u32,
    reading: Side,
    writing: Side,
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Open,
    /// Ended by `close_notify`.
    Closed,
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("agreed", &self.tls.agreed)
            .field("reading", &self.tls.reading)
            .field("writing", &self.tls.writing)
            .finish_non_exhaustive()
    }
}

/// What a finished handshake leaves.
pub(crate) struct Finished {
    pub opener: Opener,
    pub sealer: Sealer,
    pub schedule: Schedule,
    pub role: Role,
    pub agreed: Agreed,
    /// The beginning of a record that came behind the handshake.
    pub partial: Vec<u8>,
    /// Plaintext that came behind the handshake.
    pub opened: Vec<u8>,
    /// Whether nothing comes behind that.
    pub closed: bool,
}

impl Stream {
    pub(crate) fn new(socket: TcpStream, finished: Finished) -> Self {
        let Finished { opener, sealer, schedule, role, agreed, partial, opened, closed } = finished;
        let tls = Tls {
            opener,
            sealer,
            schedule,
            role,
            agreed,
            partial,
            opened,
            handshake: Vec::new(),
            unsent: Vec::new(),
            unsent_from: 0,
            empty_records: 0,
            reading: if closed { Side::Closed } else { Side::Open },
            writing: Side::Open,
        };
        Self { socket, tls }
    }
}

impl<S> Stream<S> {
    /// What was agreed in the handshake.
    pub(crate) fn agreed(&self) -> Agreed {
        self.tls.agreed
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket, when there is nothing more to say inside TLS.
    pub(crate) fn into_socket(self) -> S {
        self.socket
    }

    /// The same connection over what `rehome` makes of its socket.
    pub(crate) fn over<T>(self, rehome: impl FnOnce(S) -> io::Result<T>) -> io::Result<Stream<T>> {
        Ok(Stream { socket: rehome(self.socket)?, tls: self.tls })
    }

    /// Throws away what the kernel has not taken: not one byte goes out any more, and the end is said by TCP alone.
    pub(crate) fn abandon(&mut self) {
        (self.tls.unsent, self.tls.unsent_from) = (Vec::new(), 0);
        self.tls.writing = Side::Closed;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Reads what has come, opens what is whole of it, and gives plaintext into `buffer` first.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        sealed: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let carried = self.tls.partial.len();
        let (head, room) = sealed.split_at_mut_checked(carried).unwrap_or_default();
        let mut read = ReadBuf::new(room);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut read))?;
        let read = read.filled().len();
        if read == 0 {
            let message = "the peer closed the connection without TLS's `close_notify`";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
        }
        head.copy_from_slice(&self.tls.partial);
        self.tls.partial = Vec::new();
        let filled = sealed.get_mut(..carried + read).unwrap_or_default();
        let done = self.open_all(filled, buffer).map_err(|error| self.broken(error, context))?;
        self.tls.partial = filled.get(done..).unwrap_or_default().to_vec();
        Poll::Ready(Ok(()))
    }

    /// Opens whole records until the peer has ended its direction; says how many bytes they were.
    fn open_all(&mut self, bytes: &mut [u8], buffer: &mut ReadBuf<'_>) -> Result<usize, Broken> {
        let mut done = 0;
        while self.tls.reading == Side::Open {
            let rest = bytes.get_mut(done..).unwrap_or_default();
            let (content, plaintext, length) = match self.tls.opener.open(rest)? {
                Step::Need(_) => break,
                Step::Record { content, plaintext, length } => (content, plaintext, length),
            };
            let plaintext = rest.get(plaintext).unwrap_or_default();
            done += length;
            self.tls.empty_records =
                if plaintext.is_empty() { self.tls.empty_records + 1 } else { 0 };
            if self.tls.empty_records > EMPTY_RECORDS_MAX {
                return Err(Broken::Protocol("too many empty TLS records"));
            }
            match content {
                Content::Application => self.give(plaintext, buffer),
                Content::Alert => self.alert(plaintext)?,
                Content::Handshake => self.handshake(plaintext)?,
            }
        }
        Ok(done)
    }

    fn give(&mut self, plaintext: &[u8], buffer: &mut ReadBuf<'_>) {
        let room = if self.tls.opened.is_empty() { buffer.remaining() } else { 0 };
        let (now, later) =
            plaintext.split_at_checked(room.min(plaintext.len())).unwrap_or((&[], plaintext));
        buffer.put_slice(now);
        self.tls.opened.extend_from_slice(later);
    }

    fn alert(&mut self, alert: &[u8]) -> Result<(), Broken> {
        match alert {
            [_, CLOSE_NOTIFY] => {
                self.tls.reading = Side::Closed;
                Ok(())
            }
            // It says that a `close_notify` follows (RFC 8446 §6.1).
            [_, USER_CANCELED] => Ok(()),
            [_, description] => Err(Broken::Alert(*description)),
            _ => Err(Broken::Protocol("a TLS alert of another length than two bytes")),
        }
    }

    /// Messages of the handshake protocol after the handshake (RFC 8446 §4.6).
    fn handshake(&mut self, fragment: &[u8]) -> Result<(), Broken> {
        self.tls.handshake.extend_from_slice(fragment);
        if self.tls.handshake.len() > HANDSHAKE_BYTES_MAX {
            return Err(Broken::Protocol("a TLS handshake message that is too long"));
        }
        while let Some((&[kind, a, b, c], rest)) = self.tls.handshake.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            let Some((body, rest)) = rest.split_at_checked(length) else { return Ok(()) };
            let (body, rest) = (<[u8; 1]>::try_from(body).ok(), rest.to_vec());
            self.tls.handshake = rest;
            match (kind, self.tls.agreed.version, self.tls.role) {
                // Never resumed: each connection to a server authenticates its own identity.
                (NEW_SESSION_TICKET, ProtocolVersion::TLSv1_3, Role::Client) => {}
                (KEY_UPDATE, ProtocolVersion::TLSv1_3, _) => self.key_update(body)?,
                _ => return Err(Broken::Protocol("an unexpected TLS handshake message")),
            }
        }
        Ok(())
    }

    /// RFC 8446 §4.6.3. It ends its record, so that no byte is opened with the wrong key.
    fn key_update(&mut self, body: Option<[u8; 1]>) -> Result<(), Broken> {
        let asked = match body {
            Some([0]) => false,
            Some([1]) => true,
            Some(_) | None => return Err(Broken::Protocol("a malformed TLS key update")),
        };
        if !self.tls.handshake.is_empty() {
            return Err(Broken::Protocol("a TLS key update that does not end its record"));
        }
        let keys = self.tls.schedule.next_receiving()?;
        self.tls.opener = Opener::new(&keys, self.tls.agreed.version)?;
        if asked && self.tls.writing == Side::Open {
            self.rekey()?;
        }
        Ok(())
    }

    /// Tells the peer of a new key, and seals with it from then on.
    fn rekey(&mut self) -> Result<(), Broken> {
        let update = [KEY_UPDATE, 0, 0, 1, 0];
        self.tls.sealer.seal(Content::Handshake, &update, &mut self.tls.unsent)?;
        let keys = self.tls.schedule.next_sending()?;
        self.tls.sealer = Sealer::new(&keys, self.tls.agreed.version)?;
        Ok(())
    }

    /// Tells the peer why, as far as its socket takes it, and makes the error.
    fn broken(&mut self, broken: Broken, context: &mut Context<'_>) -> io::Error {
        if let Some(description) = broken.description()
            && self.tls.writing == Side::Open
            && self.tls.sealer.seal(Content::Alert, &[2, description], &mut self.tls.unsent).is_ok()
        {
            // The connection ends in any case.
            let _sent = self.poll_unsent(context);
        }
        self.tls.writing = Side::Closed;
        io::Error::other(broken)
    }

    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) =
            self.tls.unsent.get(self.tls.unsent_from..).filter(|rest| !rest.is_empty())
        {
            self.tls.unsent_from += ready!(poll_some(&mut self.socket, context, rest))?;
        }
        (self.tls.unsent, self.tls.unsent_from) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Seals plaintext and offers it to the kernel; what it does not take is kept.
    fn poll_seal(
        &mut self,
        context: &mut Context<'_>,
        plaintext: &[u8],
        sealing: &mut Vec<u8>,
    ) -> io::Result<()> {
        sealing.clear();
        self.tls.sealer.seal(Content::Application, plaintext, sealing).map_err(io::Error::other)?;
        let mut sent = 0;
        while let Some(rest) = sealing.get(sent..).filter(|rest| !rest.is_empty()) {
            match poll_some(&mut self.socket, context, rest)? {
                Poll::Ready(written) => sent += written,
                Poll::Pending => {
                    self.tls.unsent.extend_from_slice(rest);
                    break;
                }
            }
        }
        Ok(())
    }
}

fn poll_some<S: AsyncWrite + Unpin>(
    socket: &mut S,
    context: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(socket).poll_write(context, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(Ok(written)),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let before = buffer.filled().len();
        loop {
            if !stream.tls.opened.is_empty() {
                let opened = std::mem::take(&mut stream.tls.opened);
                stream.give(&opened, buffer);
                return Poll::Ready(Ok(()));
            }
            if buffer.filled().len() > before || stream.tls.reading == Side::Closed {
                return Poll::Ready(Ok(()));
            }
            ready!(SEALED.with_borrow_mut(|sealed| stream.poll_open(context, buffer, sealed)))?;
            if !stream.tls.unsent.is_empty() {
                // The answer to a key update; what the kernel does not take now goes before the next bytes.
                let _sent = stream.poll_unsent(context)?;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        plaintext: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if stream.tls.writing == Side::Closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if stream.tls.sealer.is_worn() {
            stream.rekey().map_err(io::Error::other)?;
        }
        if !stream.tls.unsent.is_empty() {
            ready!(stream.poll_unsent(context))?;
        }
        let plaintext = plaintext.get(..SEAL_BYTES).unwrap_or(plaintext);
        SEALING.with_borrow_mut(|sealing| stream.poll_seal(context, plaintext, sealing))?;
        Poll::Ready(Ok(plaintext.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.tls.unsent.is_empty() { Poll::Ready(Ok(())) } else { stream.poll_unsent(context) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.tls.writing == Side::Open {
            stream
                .tls
                .sealer
                .seal(Content::Alert, &[1, CLOSE_NOTIFY], &mut stream.tls.unsent)
                .map_err(io::Error::other)?;
            stream.tls.writing = Side::Closed;
        }
        ready!(stream.poll_unsent(context))?;
        Pin::new(&mut stream.socket).poll_shutdown(context)
    }
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// Its records.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its messages.
    #[error("the peer sent {0}")]
    Protocol(&'static str),
    /// The peer gave up.
    #[error("the peer ended TLS with alert {0}")]
    Alert(u8),
}

impl Broken {
    /// The alert that tells the peer (RFC 8446 §6.2); nobody answers an alert.
    fn description(&self) -> Option<u8> {
        match self {
            Self::Record(RecordError::Unauthentic) => Some(20),
            Self::Record(RecordError::TooLong) => Some(22),
            Self::Record(RecordError::NotARecord) | Self::Protocol(_) => Some(10),
            Self::Record(
                RecordError::KeyWornOut | RecordError::Suite | RecordError::NoSchedule,
            ) => Some(80),
            Self::Alert(_) => None,
        }
    }
}
