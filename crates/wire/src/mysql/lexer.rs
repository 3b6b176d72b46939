//! MySQL's and MariaDB's lexical structure, as far as parameters, files, names and literals have to be found. It never
//! fails, takes texts in any encoding, and the tokens of a text, one after the other, are the text.
//!
//! What stands in `/*! … */` or `/*M! … */` is code: the opening, with its version, and the closing are tokens of kind
//! [`Kind::Comment`] by themselves, and between them are the tokens of the code. Text in double quotes is a literal, as it
//! is unless `sql_mode` has ANSI_QUOTES, which nobody tells ([`may_end_before`]).

use super::sql::Conditional;
use crate::sql::{Kind, Strings};

/// Whether a backslash in a text keeps the next character (`NO_BACKSLASH_ESCAPES` is not set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backslash {
    #[default]
    Escapes,
    Plain,
}

impl From<Strings> for Backslash {
    fn from(strings: Strings) -> Self {
        match strings {
            Strings::Standard => Self::Plain,
            Strings::Backslash => Self::Escapes,
        }
    }
}

impl From<Backslash> for Strings {
    fn from(backslash: Backslash) -> Self {
        match backslash {
            Backslash::Escapes => Self::Backslash,
            Backslash::Plain => Self::Standard,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a [u8],
}

/// How many parameters a statement has, as long as the server has not said it.
pub(crate) fn placeholders(text: &[u8], backslash: Backslash) -> usize {
    let tokens = tokens(text, backslash, Conditional::Runs);
    tokens.filter(|token| token.kind == Kind::Parameter).count()
}

/// The tokens of a text that are neither white space nor comments.
pub(crate) fn significant(
    text: &[u8],
    backslash: Backslash,
) -> impl Iterator<Item = Token<'_>> + Clone {
    tokens(text, backslash, Conditional::Runs)
        .filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
}

/// The tokens of a text.
pub(crate) fn tokens(text: &[u8], backslash: Backslash, conditional: Conditional) -> Tokens<'_> {
    Tokens { rest: text, backslash, conditional, runs: false, previous: Previous::Other }
}

/// Iterates over tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
    backslash: Backslash,
    conditional: Conditional,
    /// Within a comment that is code.
    runs: bool,
    previous: Previous,
}

/// What stands directly before this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Previous {
    /// A name.
    Name,
    /// A name and a point: another name follows, whatever it begins with.
    Point,
    Other,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, length) = self.scan()?;
        let (text, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        self.previous = match (kind, self.previous) {
            (Kind::Word | Kind::Quoted, _) => Previous::Name,
            (Kind::Other, Previous::Name) if text == b"." => Previous::Point,
            _ => Previous::Other,
        };
        Some(Token { kind, text })
    }
}

impl Tokens<'_> {
    /// Kind and length of the next token.
    fn scan(&mut self) -> Option<(Kind, usize)> {
        let rest = self.rest;
        let (first, after) = rest.split_first()?;
        let second = after.first().copied();
        Some(match *first {
            b'\'' | b'"' => (Kind::Text, quoted(rest, 0, self.backslash)),
            b'n' | b'N' | b'x' | b'X' | b'b' | b'B' if second == Some(b'\'') => {
                (Kind::Text, quoted(rest, 1, self.backslash))
            }
            b'`' => (Kind::Quoted, quoted(rest, 0, Backslash::Plain)),
            b'?' => (Kind::Parameter, 1),
            b'#' => (Kind::Comment, line(rest)),
            b'-' if second == Some(b'-') && begins_comment(after.get(1)) => {
                (Kind::Comment, line(rest))
            }
            b'/' if second == Some(b'*') => (Kind::Comment, self.comment()),
            b'*' if second == Some(b'/') && self.runs => {
                self.runs = false;
                (Kind::Comment, 2)
            }
            b'@' => (Kind::Word, self.variable()),
            byte if self.previous == Previous::Point && is_name(byte) => {
                (Kind::Word, until(rest, |byte| !is_name(byte)))
            }
            b'0'..=b'9' => number_or_name(rest),
            b'.' if second.is_some_and(|byte| byte.is_ascii_digit())
                && self.previous != Previous::Name =>
            {
                (Kind::Number, number(rest))
            }
            byte if is_name(byte) => (Kind::Word, until(rest, |byte| !is_name(byte))),
            byte if is_space(byte) => (Kind::Space, until(rest, |byte| !is_space(byte))),
            _ => (Kind::Other, 1),
        })
    }

    /// Of a comment, or of the opening of one that is code.
    fn comment(&mut self) -> usize {
        let rest = self.rest;
        let Some(length) = opening(rest) else { return closing(rest, 2).unwrap_or(rest.len()) };
        let always = rest.get(..length).is_some_and(always_runs);
        if self.conditional == Conditional::Skipped && !always {
            return skipped(rest);
        }
        self.runs = true;
        length
    }

    /// `@name`, `@'name'`, `@@scope.name`: the point belongs to it.
    fn variable(&self) -> usize {
        let signs = until(self.rest, |byte| byte != b'@');
        let after = self.rest.get(signs..).unwrap_or_default();
        let name = match after.first() {
            Some(b'\'' | b'"') => quoted(after, 0, self.backslash),
            Some(b'`') => quoted(after, 0, Backslash::Plain),
            _ => until(after, |byte| !is_name(byte) && byte != b'.'),
        };
        signs.saturating_add(name)
    }
}

/// Length of what opens a comment that is code, with its version.
pub(crate) fn opening(text: &[u8]) -> Option<usize> {
    let mark: usize = match text {
        [b'/', b'*', b'!', ..] => 3,
        [b'/', b'*', b'M', b'!', ..] => 4,
        _ => return None,
    };
    let digits = until(text.get(mark..)?, |byte| !byte.is_ascii_digit());
    // A version has five digits or six; fewer are code.
    Some(mark.saturating_add(if digits < 5 { 0 } else { digits.min(6) }))
}

/// MySQL 5.7.0.
const MYSQL_ONLY: u32 = 50_700;

/// Whether every server runs what this opens: none that is in use is older than the version that it says, and MariaDB
/// passes over what is meant for MySQL 5.7 and later.
pub(crate) fn always_runs(opening: &[u8]) -> bool {
    let Some(version) = opening.strip_prefix(b"/*!") else { return false };
    let version = std::str::from_utf8(version).unwrap_or_default();
    version.is_empty() || version.parse::<u32>().is_ok_and(|version| version < MYSQL_ONLY)
}

/// What a literal stands for; `None` where it has no end, or is none in quotes alone.
pub(crate) fn unquoted(literal: &[u8], backslash: Backslash) -> Option<Vec<u8>> {
    let (quote @ (b'\'' | b'"'), mut rest) = literal.split_first()? else { return None };
    let mut plain = Vec::with_capacity(rest.len());
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match (byte, after) {
            (byte, [next, after @ ..]) if byte == quote && next == quote => {
                plain.push(*byte);
                rest = after;
            }
            (byte, _) if byte == quote => return Some(plain),
            (b'\\', [kept, after @ ..]) if backslash == Backslash::Escapes => {
                // Patterns keep theirs.
                if matches!(kept, b'%' | b'_') {
                    plain.push(b'\\');
                }
                plain.push(escaped(*kept));
                rest = after;
            }
            (byte, _) => plain.push(*byte),
        }
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

/// Bytes of names in any encoding: those beyond ASCII belong to a letter.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Two hyphens alone are two signs.
fn begins_comment(third: Option<&u8>) -> bool {
    third.is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
}

/// Length up to the first byte that fits.
fn until(text: &[u8], fits: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| fits(*byte)).unwrap_or(text.len())
}

fn line(text: &[u8]) -> usize {
    until(text, |byte| byte == b'\n')
}

/// Length of something in quotes, the quote being behind so many bytes; a doubled quote does not end it.
fn quoted(text: &[u8], before: usize, backslash: Backslash) -> usize {
    let Some((quote, mut rest)) = text.get(before..).and_then(<[u8]>::split_first) else {
        return text.len();
    };
    while let Some((byte, after)) = rest.split_first() {
        rest = match after {
            [next, after @ ..] if byte == quote && next == quote => after,
            _ if byte == quote => return text.len().saturating_sub(after.len()),
            _ if *byte == b'\\' && backslash == Backslash::Escapes => {
                after.get(1..).unwrap_or_default()
            }
            _ => after,
        };
    }
    text.len()
}

/// Whether this is something in double quotes that ends earlier where it is a name (ANSI_QUOTES), in which a backslash means
/// nothing.
pub(crate) fn may_end_before(token: &[u8]) -> bool {
    let signs = until(token, |byte| byte != b'@');
    let quoted_text = token.get(signs..).unwrap_or_default();
    quoted_text.first() == Some(&b'"')
        && quoted(quoted_text, 0, Backslash::Plain) < quoted_text.len()
}

/// Where the comment ends that is open at this place.
fn closing(text: &[u8], from: usize) -> Option<usize> {
    let end = text.get(from..)?.windows(2).position(|pair| pair == b"*/")?;
    Some(from.saturating_add(end).saturating_add(2))
}

/// Length of a comment that a server passes over because of its version: others may stand in it.
pub(crate) fn skipped(text: &[u8]) -> usize {
    let mut at = opening(text).unwrap_or(2);
    loop {
        let Some(end) = closing(text, at) else { return text.len() };
        let between = text.get(at..end).unwrap_or_default();
        let Some(inner) = between.windows(2).position(|pair| pair == b"/*") else { return end };
        // What follows the inner one's end.
        let Some(after) = closing(text, at.saturating_add(inner).saturating_add(2)) else {
            return text.len();
        };
        at = after;
    }
}

/// Digits begin a name where other characters of names follow, unless they are a number as a whole.
fn number_or_name(text: &[u8]) -> (Kind, usize) {
    let name = until(text, |byte| !is_name(byte));
    let word = text.get(..name).unwrap_or_default();
    let digits = until(text, |byte| !byte.is_ascii_digit());
    let hexadecimal = |prefix: &[u8], is: fn(&u8) -> bool| {
        word.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.iter().all(is))
    };
    let power = |after: &[u8]| match after {
        [b'e' | b'E', b'+' | b'-', digit, ..] | [b'e' | b'E', digit, ..] => digit.is_ascii_digit(),
        _ => false,
    };
    if hexadecimal(b"0x", u8::is_ascii_hexdigit) || hexadecimal(b"0b", |b| matches!(b, b'0' | b'1'))
    {
        (Kind::Number, name)
    } else if name == digits || text.get(digits..).is_some_and(power) {
        (Kind::Number, number(text))
    } else {
        (Kind::Word, name)
    }
}

/// `12`, `1.5`, `.5e-3`.
fn number(text: &[u8]) -> usize {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        from.saturating_add(until(rest, |byte| !byte.is_ascii_digit()))
    };
    let mut end = digits(0);
    if text.get(end) == Some(&b'.') {
        end = digits(end.saturating_add(1));
    }
    let signed = match text.get(end..).unwrap_or_default() {
        [b'e' | b'E', b'+' | b'-', digit, ..] if digit.is_ascii_digit() => 2,
        [b'e' | b'E', digit, ..] if digit.is_ascii_digit() => 1,
        _ => return end,
    };
    digits(end.saturating_add(signed))
}
