//! Where literals, names and comments begin and end in MySQL's and MariaDB's SQL, and the text without its literals. The
//! tokens of a text, one after the other, are the text: also the opening and the closing of a comment whose content is run,
//! which are comments by themselves.

use super::lexer;
use crate::sql::{Kind, Strings, Token};

/// What becomes of comments that not every server runs: those for MariaDB only, and those with a version that servers in
/// use differ about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// They are code as the others are.
    Runs,
    /// They are comments, each of them one token.
    Skipped,
}

/// The tokens of a text.
pub fn tokens(text: &str, strings: Strings, conditional: Conditional) -> Tokens<'_> {
    Tokens { rest: text, tokens: lexer::tokens(text.as_bytes(), strings.into(), conditional) }
}

/// Iterates over tokens.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a str,
    tokens: lexer::Tokens<'a>,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let lexer::Token { kind, text } = self.tokens.next()?;
        // Tokens end where characters do: all that ends one is ASCII.
        let (text, rest) = self.rest.split_at_checked(text.len()).unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(Token { kind, text })
    }
}

/// Whether this token opens a comment whose content is run by some servers at least.
pub fn opens_code(token: &Token<'_>) -> bool {
    token.kind == Kind::Comment && (token.text.starts_with("/*!") || token.text.starts_with("/*M!"))
}

/// Whether every server runs what the comment holds that this token opens: none that is in use is older, and MariaDB
/// passes over what is meant for MySQL 5.7 and later.
pub fn always_runs(token: &Token<'_>) -> bool {
    lexer::always_runs(token.text.as_bytes())
}

/// The text with `?` for every literal, also for those in comments that are run; names, other comments and parameters
/// stay. What `ANSI_QUOTES` makes a name of goes, too. The session's protocol does not tell of that mode: a backslash before
/// a quote in double quotes means nothing in a name, so that what stands behind may be read in two ways, and goes as a
/// whole. So does everything behind a comment that only some servers run and that ends elsewhere for those that do not.
pub fn redact(text: &str, strings: Strings) -> String {
    let mut redacted = String::with_capacity(text.len());
    // Of such a comment: where its content begins in what is redacted, and where it ends as a comment.
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0_usize;
    for token in tokens(text, strings, Conditional::Runs) {
        if opens_code(&token) && !always_runs(&token) && open.is_none() {
            let length = text.get(at..).map_or(0, |rest| lexer::skipped(rest.as_bytes()));
            let begin = redacted.len().saturating_add(token.text.len());
            open = Some((begin, at.saturating_add(length)));
        }
        if strings == Strings::Backslash && lexer::may_end_before(token.text.as_bytes()) {
            let from = open.map_or(redacted.len(), |(begin, _)| begin);
            return cut(redacted, from);
        }
        at = at.saturating_add(token.text.len());
        if token.kind == Kind::Comment && token.text == "*/" {
            if let Some((begin, end)) = open
                && at != end
            {
                return cut(redacted, begin);
            }
            open = None;
        }
        match token.kind {
            Kind::Number | Kind::Text | Kind::DollarText => redacted.push('?'),
            Kind::Word if token.text.starts_with(|c: char| c.is_ascii_digit()) => {
                redacted.push('?');
            }
            // A variable's name, or whom an account may come from; it is written as literals are.
            Kind::Word if token.text.starts_with('@') && token.text.contains(['\'', '"']) => {
                redacted.push_str("@?");
            }
            Kind::Word
            | Kind::Quoted
            | Kind::Parameter
            | Kind::Comment
            | Kind::Space
            | Kind::Other => redacted.push_str(token.text),
        }
    }
    match open {
        Some((begin, end)) if end != at => cut(redacted, begin),
        _ => redacted,
    }
}

/// What opens the comment stays: whoever reads the rest sees that it is doubtful.
fn cut(mut redacted: String, at: usize) -> String {
    redacted.truncate(at);
    redacted.push_str(if redacted.ends_with(' ') { "?" } else { " ?" });
    redacted
}
