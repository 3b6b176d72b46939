//! How many parameters a statement has, as long as the server has not said it: the question marks that are in neither a
//! text, a quoted name nor a comment.

/// Whether a backslash in a text keeps the next character (`NO_BACKSLASH_ESCAPES` is not set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backslash {
    #[default]
    Escapes,
    Plain,
}

pub(crate) fn placeholders(text: &[u8], backslash: Backslash) -> usize {
    let (mut rest, mut count) = (text, 0_usize);
    while let Some((byte, after)) = rest.split_first() {
        rest = match (*byte, after) {
            (b'?', _) => {
                count = count.saturating_add(1);
                after
            }
            (b'\'' | b'"', _) => quoted(after, *byte, backslash),
            (b'`', _) => quoted(after, b'`', Backslash::Plain),
            (b'#', _) => line(after),
            (b'-', [b'-', next, ..]) if next.is_ascii_whitespace() || next.is_ascii_control() => {
                line(after)
            }
            (b'-', [b'-']) => &[],
            // What is in `/*!` and `/*M!` is run.
            (b'/', [b'*', b'!', ..] | [b'*', b'M', b'!', ..]) => after,
            (b'/', [b'*', comment @ ..]) => {
                let end = comment.windows(2).position(|pair| pair == b"*/");
                end.and_then(|end| comment.get(end.saturating_add(2)..)).unwrap_or_default()
            }
            _ => after,
        };
    }
    count
}

/// What follows a quoted text. A quote that is doubled begins another right behind, which is the same.
fn quoted(text: &[u8], quote: u8, backslash: Backslash) -> &[u8] {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match *byte {
            byte if byte == quote => return after,
            b'\\' if backslash == Backslash::Escapes => after.get(1..).unwrap_or_default(),
            _ => after,
        };
    }
    rest
}

fn line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}
