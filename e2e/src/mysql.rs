//! MySQL's protocol by hand, for what no client does.

use std::io::{self, Read};
use std::net::TcpStream;

/// CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH, CLIENT_PLUGIN_AUTH_LENENC.
const CAPABILITIES: u32 = 1 | (1 << 9) | (1 << 15) | (1 << 19) | (1 << 21);

/// The payload of the next packet.
pub fn read_packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
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
