//! What a client answers to the greeting: SSLRequest, then, inside TLS, its handshake response.

use super::Malformed;
use super::capabilities::Capabilities;
use super::packet::{put_cstring, put_lenenc, put_lenenc_bytes};
use super::reader::Reader;

/// The part that SSLRequest and the handshake response have in common.
const FIXED_BYTES: usize = 32;

/// A client's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First<'a> {
    /// It begins TLS: what follows these bytes is its ClientHello, which it sends without waiting. Sequence numbers go
    /// on inside.
    SslRequest(Capabilities),
    /// It goes on in plain text. The token that may be in it is exposed.
    Response(HandshakeResponse<'a>),
    /// It speaks the protocol of before 4.1.
    Old,
}

/// A handshake response of protocol 4.1. Its `Debug` shows no authentication data.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeResponse<'a> {
    /// What the client claims.
    pub capabilities: Capabilities,
    /// `max_allowed_packet` of the client.
    pub packet_bytes_max: u32,
    /// The collation that the session begins with.
    pub collation: u8,
    /// The user.
    pub user: &'a [u8],
    /// The answer to the greeting's scramble by `plugin`.
    pub authentication: &'a [u8],
    /// The database, when it names one.
    pub database: Option<&'a [u8]>,
    /// The plugin that the client chose.
    pub plugin: Option<&'a [u8]>,
    /// What it says about itself.
    pub attributes: Attributes<'a>,
    /// Level of zstd compression, when it wants any.
    pub zstd_level: Option<u8>,
}

impl std::fmt::Debug for HandshakeResponse<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandshakeResponse")
            .field("capabilities", &self.capabilities)
            .field("user", &format_args!("{}", self.user.escape_ascii()))
            .finish_non_exhaustive()
    }
}

/// Connection attributes: names and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Walks them once, so that later walks cannot fail.
    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("connection attributes", body);
        while !reader.is_at_end() {
            reader.lenenc_bytes()?;
            reader.lenenc_bytes()?;
        }
        Ok(Self(body))
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut reader = Reader::new("connection attributes", self.0);
        std::iter::from_fn(move || Some((reader.lenenc_bytes().ok()?, reader.lenenc_bytes().ok()?)))
    }

    /// The value of one: `program_name`, `_client_name`, `_pid`, …
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(candidate, _)| *candidate == name.as_bytes()).map(|(_, value)| value)
    }
}

/// Reads the payload of a client's first packet, which came in plain text.
pub fn first(payload: &[u8]) -> Result<First<'_>, Malformed> {
    let mut reader = Reader::new("handshake response", payload);
    let low = Capabilities::from_bits(u64::from(reader.u16()?));
    if !low.contains(Capabilities::PROTOCOL_41) {
        return Ok(First::Old);
    }
    if payload.len() != FIXED_BYTES {
        return response(payload).map(First::Response);
    }
    let fixed = fixed(&mut Reader::new("SSLRequest", payload))?;
    if !fixed.capabilities.contains(Capabilities::SSL) {
        return Err(reader.malformed("it ends early"));
    }
    Ok(First::SslRequest(fixed.capabilities))
}

struct Fixed {
    capabilities: Capabilities,
    packet_bytes_max: u32,
    collation: u8,
}

fn fixed(reader: &mut Reader<'_>) -> Result<Fixed, Malformed> {
    let classic = reader.u32()?;
    let packet_bytes_max = reader.u32()?;
    let collation = reader.u8()?;
    reader.take(19)?;
    let capabilities = Capabilities::from_halves(classic, reader.u32()?);
    Ok(Fixed { capabilities, packet_bytes_max, collation })
}

/// Reads the payload of a handshake response.
pub fn response(payload: &[u8]) -> Result<HandshakeResponse<'_>, Malformed> {
    let mut reader = Reader::new("handshake response", payload);
    let Fixed { capabilities, packet_bytes_max, collation } = fixed(&mut reader)?;
    let has = |flag| capabilities.contains(flag);
    if !has(Capabilities::PROTOCOL_41) {
        return Err(reader.malformed("it is of the protocol of before 4.1"));
    }
    let user = reader.cstring()?;
    let authentication = if has(Capabilities::PLUGIN_AUTH_LENENC) {
        reader.lenenc_bytes()?
    } else if has(Capabilities::SECURE_CONNECTION) {
        let length = reader.u8()?;
        reader.take(usize::from(length))?
    } else {
        reader.cstring()?
    };
    let database = has(Capabilities::CONNECT_WITH_DB).then(|| reader.last_cstring());
    let database = database.filter(|name| !name.is_empty());
    let plugin = has(Capabilities::PLUGIN_AUTH).then(|| reader.last_cstring());
    let attributes = if has(Capabilities::CONNECT_ATTRS) && !reader.is_at_end() {
        Attributes::parse(reader.lenenc_bytes()?)?
    } else {
        Attributes::default()
    };
    // Its last byte, when there is one; clients that claim the flag do not all send it.
    let zstd = has(Capabilities::ZSTD_COMPRESSION) && !reader.is_at_end();
    let zstd_level = if zstd { Some(reader.u8()?) } else { None };
    // What follows is not looked at: servers do not either.
    Ok(HandshakeResponse {
        capabilities,
        packet_bytes_max,
        collation,
        user,
        authentication,
        database,
        plugin: plugin.filter(|name| !name.is_empty()),
        attributes,
        zstd_level,
    })
}

impl HandshakeResponse<'_> {
    /// The payload of the SSLRequest that goes before it.
    pub fn ssl_request(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(FIXED_BYTES);
        self.put_fixed(&mut payload);
        payload
    }

    fn put_fixed(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.capabilities.classic());
        payload.extend_from_slice(&self.packet_bytes_max.to_le_bytes());
        payload.push(self.collation);
        payload.extend_from_slice(&[0; 19]);
        payload.extend_from_slice(&self.capabilities.extended());
    }

    /// The payload, to the server. What the flags do not announce is left out; `None` when the authentication data are
    /// longer than the flags allow.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let has = |flag| self.capabilities.contains(flag);
        let mut payload = Vec::with_capacity(FIXED_BYTES.saturating_add(self.authentication.len()));
        self.put_fixed(&mut payload);
        put_cstring(&mut payload, self.user);
        if has(Capabilities::PLUGIN_AUTH_LENENC) {
            put_lenenc_bytes(&mut payload, self.authentication);
        } else if has(Capabilities::SECURE_CONNECTION) {
            payload.push(u8::try_from(self.authentication.len()).ok()?);
            payload.extend_from_slice(self.authentication);
        } else {
            put_cstring(&mut payload, self.authentication);
        }
        if has(Capabilities::CONNECT_WITH_DB) {
            put_cstring(&mut payload, self.database.unwrap_or_default());
        }
        if has(Capabilities::PLUGIN_AUTH) {
            put_cstring(&mut payload, self.plugin.unwrap_or_default());
        }
        if has(Capabilities::CONNECT_ATTRS) {
            put_lenenc(&mut payload, u64::try_from(self.attributes.0.len()).ok()?);
            payload.extend_from_slice(self.attributes.0);
        }
        if has(Capabilities::ZSTD_COMPRESSION) {
            payload.extend(self.zstd_level);
        }
        Some(payload)
    }
}

/// The bytes of connection attributes, for [`Attributes`] of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAttributes(Vec<u8>);

impl OwnAttributes {
    /// One after the other.
    pub fn new<'a>(attributes: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut bytes = Vec::new();
        for (name, value) in attributes {
            put_lenenc_bytes(&mut bytes, name);
            put_lenenc_bytes(&mut bytes, value);
        }
        Self(bytes)
    }

    /// As a handshake response has them.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes(&self.0)
    }
}
