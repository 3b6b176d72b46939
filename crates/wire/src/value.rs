//! Texts and bind values as people read them, whichever protocol brought them.

use crate::part::Part;

/// The encoding that a client's texts are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, or not known yet.
    #[default]
    Utf8,
    /// ISO 8859-1.
    Latin1,
    /// Another.
    Other {
        /// As the protocol names it.
        name: String,
        /// Its characters; texts in one that is not known here are kept as bytes, unless they are plain ASCII.
        characters: Option<&'static encoding_rs::Encoding>,
    },
}

impl Encoding {
    /// Its name, when it is not UTF-8.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Utf8 => None,
            Self::Latin1 => Some("LATIN1"),
            Self::Other { name, .. } => Some(name),
        }
    }

    /// The text in UTF-8, when it can be read as such. Of a beginning, a last character that is cut in two is left out.
    pub fn decode(&self, part: &Part<'_>) -> Option<String> {
        let bytes = part.start;
        match self {
            Self::Latin1 => Some(bytes.iter().copied().map(char::from).collect()),
            Self::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => Some(text.to_owned()),
                Err(error) if error.error_len().is_none() && !part.is_whole() => {
                    let valid = bytes.get(..error.valid_up_to())?;
                    Some(String::from_utf8_lossy(valid).into_owned())
                }
                Err(_) => None,
            },
            Self::Other { .. } if bytes.is_ascii() => {
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            Self::Other { characters, .. } => readable((*characters)?, part),
        }
    }

    /// The text in UTF-8, or its bytes as `\x…`.
    pub(crate) fn text(&self, part: &Part<'_>) -> String {
        self.decode(part).unwrap_or_else(|| format!("\\x{}", hex(part.start)))
    }
}

/// Bytes of the longest character, less one: so many may be left over where a text was cut.
const CUT_BYTES_MAX: usize = 3;

fn readable(characters: &'static encoding_rs::Encoding, part: &Part<'_>) -> Option<String> {
    let cut = if part.is_whole() { 0 } else { CUT_BYTES_MAX };
    (0..=cut.min(part.start.len())).find_map(|left_out| {
        let bytes = part.start.get(..part.start.len().checked_sub(left_out)?)?;
        characters.decode_without_bom_handling_and_without_replacement(bytes).map(Into::into)
    })
}

/// A statement's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql {
    /// In UTF-8, or as `\x…` when it could not be read; perhaps only its beginning.
    pub text: String,
    /// Bytes of the whole, when `text` is only its beginning.
    pub bytes: Option<u64>,
    /// SHA-256 of the whole, when `text` is only its beginning.
    pub sha256: Option<[u8; 32]>,
    /// The client's encoding, when not UTF-8.
    pub encoding: Option<String>,
}

impl Sql {
    /// Of a text in this encoding; at most `bytes_max` bytes of it.
    pub(crate) fn of(text: Part<'_>, encoding: &Encoding, bytes_max: usize) -> Self {
        let text = text.cut(bytes_max);
        Self {
            text: encoding.text(&text),
            bytes: text.sha256.map(|_| text.length),
            sha256: text.sha256,
            encoding: encoding.name().map(str::to_owned),
        }
    }

    /// Of something that has no text.
    pub(crate) fn note(text: String) -> Self {
        Self { text, bytes: None, sha256: None, encoding: None }
    }
}

/// A bind value for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// SQL NULL.
    Null,
    /// Sent as text, or in a binary form that is known.
    Text(String),
    /// Any other, as hex.
    Binary(String),
    /// Its beginning; it was longer than what is kept.
    Truncated {
        /// The beginning, as text or hex.
        start: String,
        /// Bytes in all.
        bytes: u64,
        /// SHA-256 of all.
        sha256: [u8; 32],
    },
}

/// Hexadecimal digits, lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).flatten().collect()
}

/// As databases write it: no `.0`, PostgreSQL's words for what is no number.
pub(crate) fn float(number: f64, shortest: &str) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        shortest.strip_suffix(".0").unwrap_or(shortest).to_owned()
    }
}
