//! Names picked out of a text that was not parsed: more than there are rather than fewer.

use wire::sql::{Kind, Strings, Token, tokens};

use crate::Analysis;
use crate::name::{Name, cut};

/// Names stand behind these words.
const READING: &[&str] = &["from", "join", "using", "table", "only", "copy", "lock"];
const WRITING: &[&str] = &["into", "update", "truncate", "from", "table", "only", "copy", "merge"];
/// Words that stand between those and a name, or that are no name.
const BETWEEN: &[&str] = &["only", "table", "if", "not", "exists", "lateral"];
const NO_NAME: &[&str] =
    &["select", "values", "set", "with", "stdin", "stdout", "program", "nowait", "of", "distinct"];

/// `why` it was not parsed.
pub(crate) fn names(text: &str, why: impl Into<String>) -> Analysis {
    let mut analysis = Analysis::default();
    let significant = tokens(text, Strings::Standard).filter(|token| token.kind != Kind::Space);
    let tokens: Vec<Token<'_>> = significant.collect();
    let writes = tokens.iter().any(|token| {
        [
            "delete", "update", "insert", "truncate", "copy", "merge", "alter", "drop", "create",
            "do", "execute", "call",
        ]
        .iter()
        .any(|word| token.text.eq_ignore_ascii_case(word))
    });
    for (at, token) in tokens.iter().enumerate() {
        let is = |words: &[&str]| words.iter().any(|word| token.text.eq_ignore_ascii_case(word));
        if token.kind != Kind::Word || !(is(READING) || is(WRITING)) {
            continue;
        }
        let rest = tokens.get(at + 1..).unwrap_or_default();
        for name in listed(rest) {
            if is(READING) {
                analysis.read(name.clone());
            }
            if writes && is(WRITING) {
                analysis.write(name);
            }
        }
    }
    analysis.because(format!(
        "{}: its names were picked out of it, and may be too many or too few",
        why.into()
    ));
    analysis
}

/// The names of `a, b.c, …`.
fn listed(mut tokens: &[Token<'_>]) -> Vec<Name> {
    let mut names = Vec::new();
    loop {
        while let [first, rest @ ..] = tokens
            && BETWEEN.iter().any(|word| first.text.eq_ignore_ascii_case(word))
        {
            tokens = rest;
        }
        let Some((name, rest)) = named(tokens) else { return names };
        names.push(name);
        match rest {
            [comma, rest @ ..] if comma.text == "," => tokens = rest,
            _ => return names,
        }
    }
}

fn named<'a, 'b>(tokens: &'a [Token<'b>]) -> Option<(Name, &'a [Token<'b>])> {
    let (first, mut rest) = tokens.split_first()?;
    let mut parts = vec![part(first)?];
    while let [dot, next, after @ ..] = rest
        && dot.text == "."
    {
        parts.push(part(next)?);
        rest = after;
    }
    let name = parts.pop()?;
    Some((Name { schema: parts.pop(), name }, rest))
}

fn part(token: &Token<'_>) -> Option<String> {
    match token.kind {
        Kind::Word if NO_NAME.iter().any(|word| token.text.eq_ignore_ascii_case(word)) => None,
        Kind::Word => Some(cut(token.text.to_ascii_lowercase())),
        Kind::Quoted => {
            let inner = token.text.strip_prefix('"')?.strip_suffix('"')?;
            Some(cut(inner.replace("\"\"", "\"")))
        }
        Kind::Number
        | Kind::Text
        | Kind::DollarText
        | Kind::Parameter
        | Kind::Comment
        | Kind::Space
        | Kind::Other => None,
    }
}
