//! As much of MySQL's and MariaDB's lexical structure as is needed to find parameters and files: words, texts, quoted
//! names, comments. It never fails.

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

/// The tokens of a text.
pub(crate) fn tokens(text: &[u8], backslash: Backslash) -> Tokens<'_> {
    Tokens { rest: text, backslash, running: false }
}

/// Iterates over tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
    backslash: Backslash,
    /// Within `/*!`.
    running: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (byte, after) = self.rest.split_first()?;
            let (token, rest) = match (*byte, after) {
                (quote @ (b'\'' | b'"'), _) => {
                    let Some((inside, rest)) = quoted(after, quote, self.backslash) else {
                        self.rest = &[];
                        return None;
                    };
                    (Some(Token::Text(Quoted { inside, quote })), rest)
                }
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
