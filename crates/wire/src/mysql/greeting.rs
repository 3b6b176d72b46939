//! The server's first packet: the greeting, version 10.

use super::Malformed;
use super::capabilities::Capabilities;
use super::packet::put_cstring;
use super::reader::Reader;

/// The first byte of a greeting that is understood.
const VERSION: u8 = 10;

/// What every server's scramble has: `SCRAMBLE_LENGTH`.
pub const SCRAMBLE_BYTES: usize = 20;

/// A greeting, without what it says of the scramble's length, which follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The server's version as it says it. Clients decide by it what they may use, so it is passed on unchanged
    /// (MariaDB's `5.5.5-` in front included).
    pub version: String,
    /// What `KILL` takes.
    pub connection_id: u32,
    /// The challenge to the first authentication plugin: 8 to 255 bytes; every server sends [`SCRAMBLE_BYTES`].
    pub scramble: Vec<u8>,
    /// What the server offers.
    pub capabilities: Capabilities,
    /// The collation of before the handshake response.
    pub collation: u8,
    /// Status flags.
    pub status: u16,
    /// The authentication plugin that the server begins with.
    pub plugin: String,
}

/// Bytes of the scramble in front of the capabilities.
const FIRST_BYTES: usize = 8;

impl Greeting {
    /// Reads the payload of a server's first packet. One that begins with 0xff is an ERR packet
    /// ([`error::server_error`](super::error::server_error)) without SQLSTATE: too many connections, or a host that
    /// is blocked.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("greeting", payload);
        if reader.u8()? != VERSION {
            return Err(reader.malformed("its version is not 10"));
        }
        let version = reader.cstring()?;
        let connection_id = reader.u32()?;
        let mut scramble = reader.take(FIRST_BYTES)?.to_vec();
        reader.take(1)?;
        let low = reader.u16()?;
        let collation = reader.u8()?;
        let status = reader.u16()?;
        let high = reader.u16()?;
        let length = usize::from(reader.u8()?);
        reader.take(6)?;
        let extended = reader.u32()?;
        let classic = u32::from(low) | (u32::from(high) << 16);
        let capabilities = Capabilities::from_halves(classic, extended);
        if !capabilities.contains(Capabilities::PLUGIN_AUTH) {
            return Err(reader.malformed("the server knows no authentication plugins"));
        }
        // At least 12 bytes and a NUL, whatever the length says.
        let rest = reader.take(length.saturating_sub(FIRST_BYTES).max(13))?;
        let rest =
            rest.strip_suffix(&[0]).ok_or_else(|| reader.malformed("a scramble has no end"))?;
        scramble.extend_from_slice(rest);
        let plugin = text(reader.last_cstring(), &reader)?;
        let version = text(version, &reader)?;
        Ok(Self { version, connection_id, scramble, capabilities, collation, status, plugin })
    }

    /// The payload of the greeting that a client is sent.
    pub fn encode(&self) -> Vec<u8> {
        let [a, b, c, d] = self.capabilities.classic();
        let length = u8::try_from(self.scramble.len()).unwrap_or(u8::MAX).saturating_add(1);
        let mut payload = vec![VERSION];
        put_cstring(&mut payload, self.version.as_bytes());
        payload.extend_from_slice(&self.connection_id.to_le_bytes());
        let (first, rest) = self.scramble.split_at_checked(FIRST_BYTES).unwrap_or_default();
        payload.extend_from_slice(first);
        payload.extend_from_slice(&[0, a, b, self.collation]);
        payload.extend_from_slice(&self.status.to_le_bytes());
        payload.extend_from_slice(&[c, d, length, 0, 0, 0, 0, 0, 0]);
        payload.extend_from_slice(&self.capabilities.extended());
        payload.extend_from_slice(rest);
        payload.push(0);
        put_cstring(&mut payload, self.plugin.as_bytes());
        payload
    }
}

fn text(bytes: &[u8], reader: &Reader<'_>) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| reader.malformed("a name is not UTF-8"))?;
    Ok(text.to_owned())
}

/// A scramble out of random bytes: none is NUL or `$`, and none has the eighth bit.
#[must_use]
pub fn scramble(random: [u8; SCRAMBLE_BYTES]) -> [u8; SCRAMBLE_BYTES] {
    random.map(|byte| match byte & 0x7f {
        0 | b'$' => b'a' | (byte >> 7),
        other => other,
    })
}
