//! As much of SQL's lexical structure as audit needs: where literals begin and end.
//!
//! The lexer follows PostgreSQL's (`scan.l`) and never fails: what has no end ends with the text, so a literal of a
//! text that was cut is a literal. The tokens of a text, one after the other, are the text.

use std::borrow::Cow;

/// Whether a backslash in a plain `'…'` keeps the next character (`standard_conforming_strings`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strings {
    /// It is a character like any other: the default since PostgreSQL 9.1.
    #[default]
    Standard,
    /// It keeps the next character.
    Backslash,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key word or an identifier without quotes.
    Word,
    /// An identifier in quotes.
    Quoted,
    /// `12`, `1.5e3`, `0xff`.
    Number,
    /// `'…'`, `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`.
    Text,
    /// `$tag$…$tag$`.
    DollarText,
    /// `$1`.
    Parameter,
    /// `-- …` to the end of the line, or `/* … */`, which nests.
    Comment,
    /// White space.
    Space,
    /// Any other character.
    Other,
}

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its characters.
    pub text: &'a str,
}

/// The tokens of a text.
pub fn tokens(text: &str, strings: Strings) -> Tokens<'_> {
    Tokens { rest: text, strings, continued: None }
}

/// Iterates over tokens.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a str,
    strings: Strings,
    /// How the text before was written, which a text that continues it after white space is written in too.
    continued: Option<Strings>,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, length) = self.scan()?;
        let (text, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        if !matches!(kind, Kind::Text | Kind::Space | Kind::Comment) {
            self.continued = None;
        }
        Some(Token { kind, text })
    }
}

impl Tokens<'_> {
    /// Kind and length of the next token; a length is always at a character's end.
    fn scan(&mut self) -> Option<(Kind, usize)> {
        let rest = self.rest;
        let first = rest.chars().next()?;
        let second = rest.chars().nth(1);
        Some(match first {
            '\'' => {
                let how = self.continued.unwrap_or(self.strings);
                self.text(how, 1)
            }
            'e' | 'E' if second == Some('\'') => self.text(Strings::Backslash, 2),
            'b' | 'B' | 'x' | 'X' if second == Some('\'') => self.text(Strings::Standard, 2),
            // N'…' is a plain text with a type before it, so it follows the setting.
            'n' | 'N' if second == Some('\'') => self.text(self.strings, 2),
            'u' | 'U' if second == Some('&') && rest.chars().nth(2) == Some('\'') => {
                self.text(Strings::Standard, 3)
            }
            'u' | 'U' if second == Some('&') && rest.chars().nth(2) == Some('"') => {
                (Kind::Quoted, quoted(rest, 3, '"', Strings::Standard))
            }
            '"' => (Kind::Quoted, quoted(rest, 1, '"', Strings::Standard)),
            '$' => dollar(rest),
            '-' if second == Some('-') => (Kind::Comment, until(rest, |c| c == '\n' || c == '\r')),
            '/' if second == Some('*') => (Kind::Comment, block_comment(rest)),
            '0'..='9' => (Kind::Number, number(rest)),
            '.' if second == Some('.') => (Kind::Other, 2),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => (Kind::Number, number(rest)),
            c if is_word_start(c) => (Kind::Word, until(rest, |c| !is_word(c))),
            c if is_space(c) => (Kind::Space, until(rest, |c| !is_space(c))),
            c => (Kind::Other, c.len_utf8()),
        })
    }

    fn text(&mut self, how: Strings, opening: usize) -> (Kind, usize) {
        self.continued = Some(how);
        (Kind::Text, quoted(self.rest, opening, '\'', how))
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_word(c: char) -> bool {
    is_word_start(c) || c.is_ascii_digit() || c == '$'
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Length up to the first character that fits.
fn until(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(fits).unwrap_or(text.len())
}

/// Length of something in quotes, of which the first `opening` bytes are known; a doubled quote does not end it.
fn quoted(text: &str, opening: usize, quote: char, how: Strings) -> usize {
    let mut characters = text.char_indices().skip(opening).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && how == Strings::Backslash {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at.saturating_add(quote.len_utf8());
        }
    }
    text.len()
}

/// `$1`, `$tag$…$tag$`, or a lone `$`.
fn dollar(text: &str) -> (Kind, usize) {
    let after = text.strip_prefix('$').unwrap_or_default();
    if after.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = until(after, |c| !c.is_ascii_digit());
        return (Kind::Parameter, digits.saturating_add(1));
    }
    let tag_length = until(after, |c| !(is_word(c) && c != '$'));
    let delimiter = text.get(..tag_length.saturating_add(2)).filter(|tag| tag.ends_with('$'));
    let Some(delimiter) = delimiter else { return (Kind::Other, 1) };
    let body = text.get(delimiter.len()..).unwrap_or_default();
    let length = body.find(delimiter).map_or(text.len(), |end| {
        end.saturating_add(delimiter.len()).saturating_add(delimiter.len())
    });
    (Kind::DollarText, length)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        match (character, next) {
            ('/', Some('*')) => {
                depth = depth.saturating_add(1);
                characters.next();
            }
            ('*', Some('/')) => {
                depth = depth.saturating_sub(1);
                characters.next();
                if depth == 0 {
                    return at.saturating_add(2);
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Digits, letters (`0xff`, `1e5`) and `_`; a point and a sign where a number can have one.
fn number(text: &str) -> usize {
    let mut previous = '0';
    let mut exponent = false;
    let mut point = false;
    for (at, character) in text.char_indices() {
        let belongs = match character {
            '.' => {
                !point && !exponent && !text.get(at..).is_some_and(|rest| rest.starts_with(".."))
            }
            '+' | '-' => exponent && matches!(previous, 'e' | 'E'),
            c => c.is_ascii_alphanumeric() || c == '_',
        };
        if !belongs {
            return at;
        }
        let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
        exponent |= matches!(character, 'e' | 'E') && !hexadecimal;
        point |= character == '.';
        previous = character;
    }
    text.len()
}

/// The text with `?` for every literal; key words, names, parameters and comments stay.
pub fn redact(text: &str, strings: Strings) -> String {
    tokens(text, strings)
        .map(|token| match token.kind {
            Kind::Number | Kind::Text | Kind::DollarText => "?",
            Kind::Word
            | Kind::Quoted
            | Kind::Parameter
            | Kind::Comment
            | Kind::Space
            | Kind::Other => token.text,
        })
        .collect()
}

/// Names that the text gives to `DEALLOCATE [PREPARE] name`, in order, as the server folds them; not `ALL`.
pub fn deallocated(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut significant = tokens(text, Strings::Standard)
        .filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
        .peekable();
    while let Some(token) = significant.next() {
        if token.kind != Kind::Word || !token.text.eq_ignore_ascii_case("deallocate") {
            continue;
        }
        // `DEALLOCATE prepare` drops the statement called `prepare`.
        if let Some(prepare) = significant.next_if(|next| next.text.eq_ignore_ascii_case("prepare"))
            && !significant
                .peek()
                .is_some_and(|next| matches!(next.kind, Kind::Word | Kind::Quoted))
        {
            names.push(prepare.text.to_ascii_lowercase());
            continue;
        }
        if let Some(name) = significant.peek().and_then(identifier) {
            names.push(name);
        }
    }
    names
}

fn identifier(token: &Token<'_>) -> Option<String> {
    match token.kind {
        Kind::Word if token.text.eq_ignore_ascii_case("all") => None,
        Kind::Word => Some(token.text.to_ascii_lowercase()),
        Kind::Quoted => unquote(token.text).map(Cow::into_owned),
        Kind::Number
        | Kind::Text
        | Kind::DollarText
        | Kind::Parameter
        | Kind::Comment
        | Kind::Space
        | Kind::Other => None,
    }
}

fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(if inner.contains('"') { Cow::Owned(inner.replace("\"\"", "\"")) } else { inner.into() })
}
