//! PostgreSQL's protocol by hand, for clients that do not keep to it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::stack::Reach;

use crate::tls::{self, Tls};

pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const PROTOCOL_3_0: [u8; 4] = [0, 3, 0, 0];
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// More than any error that a test waits for.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A TCP connection to the gateway, before anything was said.
pub fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(stream)
}

/// What the gateway says until it closes. A reset is an end too: what we sent was not read any more.
pub fn until_closed(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while said.len() < ANSWER_BYTES_MAX {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(said),
            Ok(length) => said.extend(buffer.iter().take(length)),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => return Ok(said),
                ErrorKind::WouldBlock => bail!("it neither answers nor closes; it said {said:?}"),
                _ => return Err(error.into()),
            },
        }
    }
    bail!("it does not stop talking")
}

/// Inside TLS.
pub struct Client {
    stream: Tls,
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiation {
    /// After SSLRequest.
    Requested,
    /// At once.
    Direct,
}

/// One message of the server's.
#[derive(Debug)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// The fields of an error: severity, code, message, hint, as one text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).replace('\0', "\n")
    }
}

impl Client {
    /// Up to the end of the TLS handshake.
    pub fn secured(reach: &Reach) -> Result<Self> {
        Self::secured_behind(reach, b"")
    }

    /// The same behind a balancer that sends this first.
    pub fn secured_behind(reach: &Reach, header: &[u8]) -> Result<Self> {
        let mut stream = connect(reach.port)?;
        stream.write_all(header)?;
        stream.write_all(&SSL_REQUEST)?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        ensure!(answer == *b"S", "TLS was refused");
        Ok(Self { stream: tls::connect(stream, &reach.ca)? })
    }

    /// The same, offering these application protocols (ALPN), with the request for TLS or without.
    pub fn secured_with(reach: &Reach, protocols: &[&[u8]], how: Negotiation) -> Result<Self> {
        let mut stream = connect(reach.port)?;
        if how == Negotiation::Requested {
            stream.write_all(&SSL_REQUEST)?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            ensure!(answer == *b"S", "TLS was refused");
        }
        Ok(Self { stream: tls::connect_with(stream, &reach.ca, protocols)? })
    }

    /// Up to the start-up message.
    pub fn started(reach: &Reach, parameters: &[(&str, &str)]) -> Result<Self> {
        let mut client = Self::secured(reach)?;
        client.write(&startup(parameters))?;
        Ok(client)
    }

    /// Up to the first ReadyForQuery.
    pub fn open(reach: &Reach, user: &str, token: &str) -> Result<Self> {
        Self::started(reach, &[("user", user), ("database", &reach.database)])?.log_in(token)
    }

    /// From the start-up message up to the first ReadyForQuery.
    pub fn log_in(self, token: &str) -> Result<Self> {
        let mut client = self;
        let asked = client.read()?;
        ensure!(asked.tag == b'R', "no question for a password: {}", asked.text());
        client.message(b'p', &[token.as_bytes(), b"\0"].concat())?;
        client.read_until(b'Z')?;
        Ok(client)
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// A message with its length.
    pub fn message(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len() + 4)?;
        self.write(&[&[tag], &length.to_be_bytes()[..], body].concat())
    }

    pub fn query(&mut self, sql: &str) -> Result<()> {
        self.message(b'Q', &[sql.as_bytes(), b"\0"].concat())
    }

    pub fn read(&mut self) -> Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).context("no further message")?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        ensure!((4..ANSWER_BYTES_MAX).contains(&length), "a message of {length} bytes");
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body)?;
        Ok(Message { tag, body })
    }

    /// Reads a message of any length without keeping it; its tag, and the length of its body.
    pub fn skip(&mut self) -> Result<(u8, usize)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).context("no further message")?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length))?.saturating_sub(4);
        let body = &mut (&mut self.stream).take(u64::try_from(length)?);
        let read = std::io::copy(body, &mut std::io::sink())?;
        ensure!(read == u64::try_from(length)?, "the message ends early");
        Ok((tag, length))
    }

    /// The next message of this kind; an error of the server's is ours.
    pub fn read_until(&mut self, tag: u8) -> Result<Message> {
        loop {
            let message = self.read()?;
            if message.tag == tag {
                return Ok(message);
            }
            ensure!(message.tag != b'E', "{}", message.text());
        }
    }

    /// Everything until it closes.
    pub fn until_closed(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(&until_closed(&mut self.stream)?).replace('\0', "\n"))
    }

    /// The TCP connection beneath.
    /// New keys for what is sent from now on, and a request for the same in return (TLS 1.3's key update).
    pub fn refresh_keys(&mut self) -> Result<()> {
        self.stream.conn.refresh_traffic_keys()?;
        Ok(self.stream.flush()?)
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.stream.sock
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A start-up message of protocol 3.0.
pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_vec();
    for (name, value) in parameters {
        for text in [name, value] {
            body.extend(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}
