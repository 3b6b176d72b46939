//! Names picked out of a text that was not parsed: more than there are rather than fewer.

use wire::sql::{Kind, Token};

use crate::name::{Name, cut};
use crate::{Analysis, Engine};

/// Names stand behind these words.
const READING: &[&str] = &["from", "join", "using", "table", "only", "copy", "lock"];
const WRITING: &[&str] = &["into", "update", "truncate", "from", "table", "only", "copy", "merge"];
/// Words that stand between those and a name, or that are no name.
const BETWEEN: &[&str] = &[
    "only",
    "table",
    "if",
    "not",
    "exists",
    "lateral",
    "ignore",
    "quick",
    "low_priority",
    "high_priority",
    "delayed",
];
const NO_NAME: &[&str] =
    &["select", "values", "set", "with", "stdin", "stdout", "program", "nowait", "of", "distinct"];

/// `why` it was not parsed.
pub(crate) fn names(tokens: &[Token<'_>], engine: Engine, why: impl Into<String>) -> Analysis {
    let mut analysis = Analysis::default();
    let significant = tokens.iter().filter(|token| token.kind != Kind::Space);
    let tokens: Vec<Token<'_>> = significant.copied().collect();
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
        for name in listed(rest, engine) {
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
fn listed(mut tokens: &[Token<'_>], engine: Engine) -> Vec<Name> {
    let mut names = Vec::new();
    loop {
        while let [first, rest @ ..] = tokens
            && BETWEEN.iter().any(|word| first.text.eq_ignore_ascii_case(word))
        {
            tokens = rest;
        }
        let Some((name, rest)) = named(tokens, engine) else { return names };
        names.push(name);
        match rest {
            [comma, rest @ ..] if comma.text == "," => tokens = rest,
            _ => return names,
        }
    }
}

/// `name`, `schema.name`, …
pub(crate) fn named<'a, 'b>(
    tokens: &'a [Token<'b>],
    engine: Engine,
) -> Option<(Name, &'a [Token<'b>])> {
    let (first, mut rest) = tokens.split_first()?;
    let mut parts = vec![part(first, engine)?];
    while let [dot, next, after @ ..] = rest
        && dot.text == "."
    {
        parts.push(part(next, engine)?);
        rest = after;
    }
    let name = parts.pop()?;
    Some((Name { schema: parts.pop(), name }, rest))
}

fn part(token: &Token<'_>, engine: Engine) -> Option<String> {
    match (engine, token.kind) {
        (_, Kind::Word) if NO_NAME.iter().any(|word| token.text.eq_ignore_ascii_case(word)) => None,
        (Engine::PostgreSql, Kind::Word) => Some(cut(token.text.to_ascii_lowercase())),
        (Engine::MySql, Kind::Word) => {
            (!token.text.starts_with('@')).then(|| token.text.to_owned())
        }
        (Engine::PostgreSql, Kind::Quoted) => unquoted(token.text, '"').map(cut),
        (Engine::MySql, Kind::Quoted) => unquoted(token.text, '`'),
        (
            _,
            Kind::Number
            | Kind::Text
            | Kind::DollarText
            | Kind::Parameter
            | Kind::Comment
            | Kind::Space
            | Kind::Other,
        ) => None,
    }
}

fn unquoted(text: &str, quote: char) -> Option<String> {
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
}
