//! PROXY protocol version 2, from balancers whose addresses are listed: whose connection it really is. Sans-I/O.
//! <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt> §2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Signature, version and command, family, length.
pub const HEADER_BYTES: usize = 16;
/// More than the two addresses and any extension in use; the field itself could say 65,535.
const BODY_BYTES_MAX: u16 = 4096;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed first part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    command: Command,
    family: u8,
    /// How many bytes follow; at most 4,096.
    pub body_bytes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

/// The bytes are not the header that a listed balancer must send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No signature.
    #[error("no PROXY protocol v2 header came first")]
    Signature,
    /// Neither `LOCAL` nor `PROXY` of version 2.
    #[error("PROXY protocol version and command {0:#04x} are not supported")]
    Command(u8),
    /// Too long.
    #[error("PROXY protocol header of {0} bytes is too long")]
    Length(u16),
    /// Not TCP over IPv4 or IPv6, or shorter than its addresses.
    #[error("PROXY protocol family {0:#04x} carries no usable address")]
    Address(u8),
}

/// Reads the fixed part.
pub fn header(bytes: [u8; HEADER_BYTES]) -> Result<Header, Malformed> {
    let [signature @ .., version_command, family, high, low] = bytes;
    if signature != SIGNATURE {
        return Err(Malformed::Signature);
    }
    let command = match version_command {
        0x20 => Command::Local,
        0x21 => Command::Proxy,
        other => return Err(Malformed::Command(other)),
    };
    let body_bytes = u16::from_be_bytes([high, low]);
    if body_bytes > BODY_BYTES_MAX {
        return Err(Malformed::Length(body_bytes));
    }
    Ok(Header { command, family, body_bytes })
}

/// Whose connection it is; absent for the balancer's own health check (`LOCAL`).
pub fn source(header: Header, body: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    if header.command == Command::Local {
        return Ok(None);
    }
    // Source address, destination address, source port, destination port.
    let address = match header.family {
        0x11 if body.len() >= 12 => {
            body.first_chunk().map(|octets| IpAddr::V4(Ipv4Addr::from_octets(*octets)))
        }
        0x21 if body.len() >= 36 => {
            body.first_chunk().map(|octets| IpAddr::V6(Ipv6Addr::from_octets(*octets)))
        }
        _ => None,
    };
    address.map(|address| Some(address.to_canonical())).ok_or(Malformed::Address(header.family))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(version_command: u8, family: u8, body_bytes: u16) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..12].copy_from_slice(&SIGNATURE);
        (bytes[12], bytes[13]) = (version_command, family);
        bytes[14..].copy_from_slice(&body_bytes.to_be_bytes());
        bytes
    }

    #[test]
    fn the_source_is_the_first_address_of_the_header() {
        let v4 = header(bytes(0x21, 0x11, 12)).unwrap();
        let body = [192, 0, 2, 7, 10, 0, 0, 1, 0x15, 0x38, 0x15, 0x38];
        assert_eq!(source(v4, &body), Ok(Some("192.0.2.7".parse().unwrap())));
        let v6 = header(bytes(0x21, 0x21, 36)).unwrap();
        let mut body = [0; 36];
        body[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(source(v6, &body), Ok(Some("2001:db8::7".parse().unwrap())));
        let local = header(bytes(0x20, 0x00, 0)).unwrap();
        assert_eq!(source(local, &[]), Ok(None));
    }

    #[test]
    fn whatever_is_not_such_a_header_is_refused() {
        assert_eq!(header([0; HEADER_BYTES]), Err(Malformed::Signature));
        assert_eq!(header(bytes(0x11, 0x11, 12)), Err(Malformed::Command(0x11)));
        assert_eq!(header(bytes(0x21, 0x11, 4097)), Err(Malformed::Length(4097)));
        for (family, length) in [(0x11, 11), (0x21, 35), (0x00, 0), (0x12, 12), (0x31, 216)] {
            let header = header(bytes(0x21, family, length)).unwrap();
            assert_eq!(
                source(header, &vec![1; usize::from(length)]),
                Err(Malformed::Address(family))
            );
        }
    }
}
