//! Rows of the text protocol, for whoever asks a server by itself.

use super::Malformed;
use super::reader::Reader;

/// NULL stands where a length would.
const NULL: u8 = 0xfb;

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
