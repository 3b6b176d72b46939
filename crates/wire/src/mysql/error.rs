//! Packets that end things: OK and ERR, to either side. Payloads; [`packet::encode`](super::packet::encode) numbers
//! them.

use super::limits::SERVER_TEXT_BYTES_MAX;
use super::packet::put_lenenc;
use super::reader::Reader;

/// Servers cut messages at this too (`MYSQL_ERRMSG_SIZE`).
pub const TEXT_BYTES_MAX: usize = 512;

/// An ERR packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// The error's number.
    pub code: u16,
    /// Five characters.
    pub sqlstate: &'a str,
    /// The text, cut at [`TEXT_BYTES_MAX`].
    pub message: &'a str,
}

impl Report<'_> {
    /// The payload of an ERR packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = vec![0xff];
        payload.extend_from_slice(&self.code.to_le_bytes());
        payload.push(b'#');
        payload.extend(self.sqlstate.bytes().chain(std::iter::repeat(b'0')).take(5));
        payload.extend_from_slice(cut(self.message).as_bytes());
        payload
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

/// A server's ERR packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServerError<'a> {
    /// The error's number.
    pub code: u16,
    sqlstate: Option<&'a [u8]>,
    message: &'a [u8],
}

/// With these a server tells that it closes the connection: `ER_SERVER_SHUTDOWN`, MariaDB's `ER_CONNECTION_KILLED`,
/// `ER_CLIENT_INTERACTION_TIMEOUT`.
const ENDING: [u16; 3] = [1053, 1927, 4031];

/// MariaDB reports progress in ERR packets with this number.
pub const PROGRESS_CODE: u16 = 0xffff;

impl<'a> ServerError<'a> {
    /// Whether the server says with it that it closes the connection.
    pub fn ends_session(&self) -> bool {
        ENDING.contains(&self.code)
    }

    /// SQLSTATE; `HY000` (general error) when the server gave none that is five letters and digits.
    pub fn sqlstate(&self) -> &'a str {
        self.sqlstate
            .filter(|code| code.iter().all(u8::is_ascii_alphanumeric))
            .and_then(|code| std::str::from_utf8(code).ok())
            .unwrap_or("HY000")
    }

    /// The text, in UTF-8 as far as it is, cut at [`SERVER_TEXT_BYTES_MAX`].
    pub fn message(&self) -> String {
        let message = self.message.get(..SERVER_TEXT_BYTES_MAX).unwrap_or(self.message);
        String::from_utf8_lossy(message).into_owned()
    }
}

impl std::fmt::Debug for ServerError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.sqlstate(), self.message())
    }
}

/// Reads the payload of an ERR packet. A server that says nothing is not an error of ours.
pub fn server_error(payload: &[u8]) -> ServerError<'_> {
    let mut reader = Reader::new("ERR", payload);
    let code = reader.u8().and_then(|_| reader.u16()).unwrap_or_default();
    match reader.rest().split_first_chunk::<6>() {
        Some((&[b'#', ..], message)) => {
            let sqlstate = reader.rest().get(1..6);
            ServerError { code, sqlstate, message }
        }
        Some(_) | None => ServerError { code, sqlstate: None, message: reader.rest() },
    }
}

/// An OK packet of ours: nothing was affected, and nothing is to be told.
pub fn ok(status: u16) -> Vec<u8> {
    let mut payload = vec![0];
    put_lenenc(&mut payload, 0);
    put_lenenc(&mut payload, 0);
    payload.extend_from_slice(&status.to_le_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload
}
