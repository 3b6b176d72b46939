//! The answer to one query of our own, read whole: text rows, in memory. For the gateway's own questions; what a client
//! asks is never held so.

use super::Malformed;
use super::error::{ServerError, server_error};
use super::reader::Reader;

/// Columns of one answer: the server's own limit (`MAX_FIELDS`).
const COLUMNS_MAX: u64 = 4096;

/// NULL stands where a length would.
const NULL: u8 = 0xfb;

/// A row: values as text, or NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// The payload of a query's packet.
pub fn query(text: &str) -> Vec<u8> {
    let mut payload = vec![0x03];
    payload.extend_from_slice(text.as_bytes());
    payload
}

/// The payload of a packet that asks whether the server is still there.
pub const PING: &[u8] = &[0x0e];

/// How far an answer has been read, packet by packet. Holds where the end of the columns is not told apart
/// (`CLIENT_DEPRECATE_EOF`).
#[derive(Debug, Default)]
pub struct Answer {
    state: State,
    rows: Vec<Row>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Begins,
    Columns {
        left: u64,
        count: u64,
    },
    Rows {
        count: u64,
    },
}

/// What a packet brought.
#[derive(Debug)]
pub enum Read<'a> {
    /// More follow.
    More,
    /// It is complete.
    Done(Vec<Row>),
    /// The server refused.
    Refused(ServerError<'a>),
}

impl Answer {
    /// Takes the payload of the next packet.
    pub fn packet<'a>(&mut self, payload: &'a [u8]) -> Result<Read<'a>, Malformed> {
        if payload.first() == Some(&0xff) {
            return Ok(Read::Refused(server_error(payload)));
        }
        match &mut self.state {
            State::Begins => self.begin(payload),
            State::Columns { left, count } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.state = State::Rows { count: *count };
                }
                Ok(Read::More)
            }
            // A row whose first value is that long begins so too, but is never that short.
            State::Rows { .. } if payload.first() == Some(&0xfe) && payload.len() < 0xff_ffff => {
                Ok(Read::Done(std::mem::take(&mut self.rows)))
            }
            State::Rows { count } => {
                let values = text_row(payload)?;
                if u64::try_from(values.len()) != Ok(*count) {
                    return Err(Reader::new("row", payload).malformed("it has other columns"));
                }
                self.rows.push(values.into_iter().map(|value| value.map(<[u8]>::to_vec)).collect());
                Ok(Read::More)
            }
        }
    }

    fn begin(&mut self, payload: &[u8]) -> Result<Read<'static>, Malformed> {
        let mut reader = Reader::new("answer", payload);
        match payload.first() {
            Some(0x00) => return Ok(Read::Done(Vec::new())),
            Some(&NULL) => return Err(reader.malformed("it asks for a file")),
            Some(_) | None => {}
        }
        let count = reader.lenenc()?;
        if count > COLUMNS_MAX {
            return Err(reader.malformed("it has more than 4,096 columns"));
        }
        self.state = State::Columns { left: count, count };
        Ok(Read::More)
    }
}

/// The values of one row, in order; `None` is NULL.
pub fn text_row(payload: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new("row", payload);
    let mut values = Vec::new();
    while let Some(first) = reader.rest().first() {
        if *first == NULL {
            reader.u8()?;
            values.push(None);
        } else {
            values.push(Some(reader.lenenc_bytes()?));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_and_a_row_that_ends_early_is_none() {
        let row = text_row(b"\x01a\xfb\x00\xfc\x02\x00bc").unwrap();
        let expected: Vec<Option<&[u8]>> = vec![Some(b"a"), None, Some(b""), Some(b"bc")];
        assert_eq!(row, expected);
        assert!(text_row(b"\x05abc").is_err());
        assert!(text_row(b"\xff").is_err());
    }
}
