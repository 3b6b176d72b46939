//! What strangers say of themselves, as far as it is kept: no log and no record is filled with it.

use model::NAME_BYTES_MAX;

/// A text that nobody has proved, cut to [`NAME_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed(String);

impl Claimed {
    /// As much of it as is kept, in whole characters.
    pub(crate) fn cut(text: &str) -> Self {
        let end = text.floor_char_boundary(NAME_BYTES_MAX);
        Self(text.get(..end).unwrap_or_default().to_owned())
    }

    /// The same of bytes; those that are no UTF-8 are replaced.
    pub(crate) fn cut_bytes(bytes: &[u8]) -> Self {
        Self::cut(&String::from_utf8_lossy(bytes))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Claimed> for String {
    fn from(claimed: Claimed) -> Self {
        claimed.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_cut_in_whole_characters_and_kept_when_it_is_short() {
        for (said, kept) in [
            ("ada@example.com".to_owned(), "ada@example.com".to_owned()),
            ("n".repeat(256), "n".repeat(256)),
            ("n".repeat(81_919), "n".repeat(256)),
            (format!("n{}", "é".repeat(200)), format!("n{}", "é".repeat(127))),
        ] {
            assert_eq!(Claimed::cut(&said).as_str(), kept);
            assert_eq!(Claimed::cut_bytes(said.as_bytes()).as_str(), kept);
        }
        // Each of these becomes three bytes.
        assert_eq!(Claimed::cut_bytes(&[0xff; 256]).as_str(), "\u{fffd}".repeat(85));
    }
}
