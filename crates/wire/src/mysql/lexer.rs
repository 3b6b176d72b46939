//! As much of MySQL's and MariaDB's lexical structure as is needed to find parameters, files and literals: words, texts,
//! quoted names, comments. It never fails.

/// Whether a backslash in a text keeps the next character (`NO_BACKSLASH_ESCAPES` is not set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backslash {
    #[default]
    Escapes,
    Plain,
}

/// What is neither white space nor a comment. What is in `/*!` and `/*M!` is run, so it is no comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A key word, a name without quotes, a number.
    Word(&'a [u8]),
    /// `'…'` or `"…"`, which may be a name where `ANSI_QUOTES` is set.
    Text(Quoted<'a>),
    /// A text without an end: the statement was cut, or is none.
    Unended,
    /// `` `…` ``.
    Name,
    /// Any other character.
    Other(u8),
}

/// What stands in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted<'a> {
    inside: &'a [u8],
    quote: u8,
}

/// How many parameters a statement has, as long as the server has not said it.
pub(crate) fn placeholders(text: &[u8], backslash: Backslash) -> usize {
    tokens(text, backslash).filter(|token| *token == Token::Other(b'?')).count()
}

/// The text with `?` for every literal, also for those in comments that are run; names, other comments and parameters
/// stay. What `ANSI_QUOTES` makes a name of goes, too.
pub(crate) fn redact(text: &str, backslash: Backslash) -> String {
    let mut tokens = tokens(text.as_bytes(), backslash);
    let (mut redacted, mut kept) = (String::with_capacity(text.len()), 0);
    while let Some(token) = tokens.next() {
        let literal = match token {
            Token::Text(_) | Token::Unended => true,
            Token::Word(word) => word.first().is_some_and(u8::is_ascii_digit),
            Token::Name | Token::Other(_) => false,
        };
        let end = text.len().saturating_sub(tokens.rest.len());
        if literal {
            redacted.push_str(text.get(kept..tokens.start(text.len())).unwrap_or_default());
            redacted.push('?');
            kept = end;
        }
    }
    redacted.push_str(text.get(kept..).unwrap_or_default());
    redacted
}

/// The tokens of a text.
pub(crate) fn tokens(text: &[u8], backslash: Backslash) -> Tokens<'_> {
    Tokens { rest: text, from: text.len(), backslash, running: false }
}

/// Iterates over tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
    /// Bytes from the beginning of the last token to the end of the text.
    from: usize,
    backslash: Backslash,
    /// Within `/*!`.
    running: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (byte, after) = self.rest.split_first()?;
            self.from = self.rest.len();
            let (token, rest) = match (*byte, after) {
                (quote @ (b'\'' | b'"'), _) => match quoted(after, quote, self.backslash) {
                    Some((inside, rest)) => (Some(Token::Text(Quoted { inside, quote })), rest),
                    None => (Some(Token::Unended), &[][..]),
                },
                (b'`', _) => {
                    let rest = quoted(after, b'`', Backslash::Plain).map(|(_, rest)| rest);
                    (Some(Token::Name), rest.unwrap_or_default())
                }
                (b'#', _) => (None, line(after)),
                (b'-', [b'-', next, ..])
                    if next.is_ascii_whitespace() || next.is_ascii_control() =>
                {
                    (None, line(after))
                }
                (b'-', [b'-']) => (None, &[][..]),
                (b'/', [b'*', b'M', b'!', run @ ..] | [b'*', b'!', run @ ..]) => {
                    self.running = true;
                    (None, version(run))
                }
                (b'/', [b'*', comment @ ..]) => {
                    let end = comment.windows(2).position(|pair| pair == b"*/");
                    let rest = end.and_then(|end| comment.get(end.saturating_add(2)..));
                    (None, rest.unwrap_or_default())
                }
                (b'*', [b'/', rest @ ..]) if self.running => {
                    self.running = false;
                    (None, rest)
                }
                (byte, _) if is_word(byte) => {
                    let length = self.rest.iter().take_while(|byte| is_word(**byte)).count();
                    let (word, rest) = self.rest.split_at_checked(length)?;
                    (Some(Token::Word(word)), rest)
                }
                (byte, _) if byte.is_ascii_whitespace() => (None, after),
                (byte, _) => (Some(Token::Other(byte)), after),
            };
            self.rest = rest;
            if token.is_some() {
                return token;
            }
        }
    }
}

impl Tokens<'_> {
    /// Where in a text of this length the last token begins.
    fn start(&self, length: usize) -> usize {
        length.saturating_sub(self.from)
    }
}

impl Quoted<'_> {
    /// What it stands for.
    pub(crate) fn unquoted(self, backslash: Backslash) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.inside.len());
        let mut rest = self.inside.iter().copied();
        while let Some(byte) = rest.next() {
            match byte {
                byte if byte == self.quote => {
                    // Doubled.
                    rest.next();
                    plain.push(byte);
                }
                b'\\' if backslash == Backslash::Escapes => match rest.next() {
                    // Patterns keep theirs.
                    Some(kept @ (b'%' | b'_')) => plain.extend([b'\\', kept]),
                    Some(letter) => plain.push(escaped(letter)),
                    None => plain.push(byte),
                },
                byte => plain.push(byte),
            }
        }
        plain
    }
}

fn escaped(letter: u8) -> u8 {
    match letter {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// What stands up to the closing quote, and what follows; a quote that is doubled is inside. `None`: it has no end.
fn quoted(text: &[u8], quote: u8, backslash: Backslash) -> Option<(&[u8], &[u8])> {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (*byte, after) {
            (byte, [next, after @ ..]) if byte == quote && *next == quote => after,
            (byte, _) if byte == quote => {
                let inside = text.len().saturating_sub(rest.len());
                return Some((text.get(..inside)?, after));
            }
            (b'\\', _) if backslash == Backslash::Escapes => after.get(1..).unwrap_or_default(),
            _ => after,
        };
    }
    None
}

/// What follows the version in `/*!50000 …`.
fn version(run: &[u8]) -> &[u8] {
    let digits = run.iter().take_while(|byte| byte.is_ascii_digit()).count();
    run.get(digits..).unwrap_or_default()
}

fn line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_literal_is_left_wherever_it_stands() {
        for (text, redacted) in [
            ("select 'secret', name from t where id = 42", "select ?, name from t where id = ?"),
            ("select \"secret\", `se'cret`", "select ?, `se'cret`"),
            (r"select 'a\'secret', b", "select ?, b"),
            ("select 'it''s secret' + 1.5e3", "select ? + ?.?"),
            (
                "/*!50000 set @a = 'secret' */ set @b = x'736563'",
                "/*!50000 set @a = ? */ set @b = x?",
            ),
            ("select 1 --'secret'", "select ? --?"),
            ("select 1 -- it's", "select ? -- it's"),
            ("select 1 # it's\n, 2", "select ? # it's\n, ?"),
            ("select /* it's */ 2", "select /* it's */ ?"),
            ("insert into t1 values (?, 0xff, 'cut", "insert into t1 values (?, ?, ?"),
            ("select _utf8'\u{e9}', n'\u{e9}'", "select _utf8?, n?"),
            ("select '\u{e9}' as \u{e9}", "select ? as \u{e9}"),
            ("", ""),
        ] {
            assert_eq!(redact(text, Backslash::Escapes), redacted, "{text}");
        }
        assert_eq!(redact(r"select 'a\', 'secret'", Backslash::Plain), "select ?, ?");
    }
}
