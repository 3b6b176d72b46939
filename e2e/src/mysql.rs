//! MySQL's protocol by hand, for what no client does, and for more sessions than one has room for clients.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use wire::mysql::Capabilities;
use wire::mysql::authentication::{NATIVE_PASSWORD, Reply, clear_answer, reply};
use wire::mysql::greeting::Greeting;
use wire::mysql::handshake::{HandshakeResponse, OwnAttributes};
use wire::mysql::rows::{self, Answer, Row};

use crate::raw;
use crate::tls::{self, Tls};

/// Replies of one login: a question, an answer to it, and OK.
const REPLIES_MAX: u8 = 4;

/// CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH, CLIENT_PLUGIN_AUTH_LENENC.
const CAPABILITIES: u32 = 1 | (1 << 9) | (1 << 15) | (1 << 19) | (1 << 21);

/// The payload of the next packet.
pub fn read_packet(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let [a, b, c, _] = header;
    let mut payload = vec![0; usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

/// One packet with this number.
pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

/// A handshake response in plain text, with the token in it.
pub fn plain_response(user: &str, token: &str) -> Vec<u8> {
    let mut payload = CAPABILITIES.to_le_bytes().to_vec();
    payload.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    payload.push(45);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(user.as_bytes());
    payload.push(0);
    let length = u16::try_from(token.len() + 1).unwrap_or(u16::MAX).to_le_bytes();
    payload.extend_from_slice(&[0xfc, length[0], length[1]]);
    payload.extend_from_slice(token.as_bytes());
    payload.extend_from_slice(b"\0mysql_clear_password\0");
    payload
}

/// What a client says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    pub user: &'a str,
    pub database: &'a str,
    /// `program_name`, the application's.
    pub program: &'a str,
}

/// Inside TLS, logged in.
pub struct Client {
    stream: Tls,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Logs in to whoever listens there. Without a token the account must need no password.
    pub fn open(at: (u16, &Path), user: &str, token: Option<&str>) -> Result<Self> {
        Self::open_as(at, Claims { user, database: "orders", program: "" }, token)
    }

    /// The same, saying all this.
    pub fn open_as(
        (port, ca): (u16, &Path),
        claims: Claims<'_>,
        token: Option<&str>,
    ) -> Result<Self> {
        let mut stream = raw::connect(port)?;
        // As every driver does: otherwise the end of the handshake waits for its acknowledgement.
        stream.set_nodelay(true)?;
        let greeting = Greeting::parse(&read_packet(&mut stream)?)?;
        let wished = Capabilities::PROTOCOL_41
            .with(Capabilities::SSL)
            .with(Capabilities::TRANSACTIONS)
            .with(Capabilities::SECURE_CONNECTION)
            .with(Capabilities::PLUGIN_AUTH)
            .with(Capabilities::CONNECT_WITH_DB)
            .with(Capabilities::CONNECT_ATTRS)
            .with(Capabilities::DEPRECATE_EOF);
        ensure!(greeting.capabilities.contains(wished), "it offers too little: {greeting:?}");
        let program = [(&b"program_name"[..], claims.program.as_bytes())];
        let attributes = OwnAttributes::new(program.into_iter());
        let response = HandshakeResponse {
            capabilities: wished,
            packet_bytes_max: 1 << 24,
            collation: 45,
            user: claims.user.as_bytes(),
            authentication: b"",
            database: Some(claims.database.as_bytes()),
            plugin: Some(NATIVE_PASSWORD.as_bytes()),
            attributes: attributes.attributes(),
            zstd_level: None,
        };
        stream.write_all(&packet(1, &response.ssl_request()))?;
        let mut client = Self { stream: tls::connect(stream, ca)? };
        client.send(2, &response.encode().context("no response")?)?;
        let mut sequence = 2_u8;
        for _ in 0..REPLIES_MAX {
            let payload = read_packet(&mut client.stream)?;
            sequence = sequence.wrapping_add(2);
            match reply(&payload)? {
                Reply::Ok => return Ok(client),
                Reply::Switch { .. } => {
                    let token = token.context("it asks for a password")?;
                    client.send(sequence, &clear_answer(token.as_bytes()))?;
                }
                Reply::Err | Reply::More(_) => bail!("{}", String::from_utf8_lossy(&payload)),
            }
        }
        bail!("the login does not end")
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) -> Result<()> {
        self.stream.write_all(&packet(sequence, payload))?;
        Ok(self.stream.flush()?)
    }

    /// Sends a statement without waiting for its answer.
    pub fn start(&mut self, sql: &str) -> Result<()> {
        self.send(0, &rows::query(sql))
    }

    /// The rows of a statement.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.start(sql)?;
        let mut answer = Answer::default();
        loop {
            let payload = read_packet(&mut self.stream)?;
            match answer.packet(&payload)? {
                rows::Read::More => {}
                rows::Read::Done(rows) => return Ok(rows),
                rows::Read::Refused(error) => bail!("{}: {}", error.code, error.message()),
            }
        }
    }

    /// The TCP connection beneath.
    pub fn tcp(&self) -> &TcpStream {
        &self.stream.sock
    }
}
