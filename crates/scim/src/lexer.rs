//! The words of filters and paths (RFC 7644 §3.4.2.2, Figure 1).

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// An attribute, an operator, `true`: letters and what may stand in a name.
    Word(String),
    /// A JSON string.
    Text(String),
    Number(f64),
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    /// A path that goes on behind a bracket: `.value`.
    Dot(String),
}

/// The words of a text, or what stands in the way.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let single = match first {
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            '[' => Some(Token::OpenBracket),
            ']' => Some(Token::CloseBracket),
            _ => None,
        };
        let (token, length) = match (single, first) {
            (Some(token), _) => (Some(token), first.len_utf8()),
            (None, c) if c.is_ascii_whitespace() => (None, c.len_utf8()),
            (None, '"') => string(rest)?,
            (None, '-' | '0'..='9') => number(rest)?,
            (None, '.') => {
                let name = word(rest.get(1..).unwrap_or_default())?;
                let length = name.len() + 1;
                (Some(Token::Dot(name.to_owned())), length)
            }
            (None, _) => {
                let name = word(rest)?;
                (Some(Token::Word(name.to_owned())), name.len())
            }
        };
        tokens.extend(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(tokens)
}

/// Letters, digits and what stands in names of attributes and in the URNs before them.
fn word(text: &str) -> Result<&str, String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || "_-$:.".contains(c);
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    match text.get(..end) {
        Some(word) if !word.is_empty() => Ok(word),
        _ => {
            let found = text.chars().next().map_or("the end".to_owned(), |c| format!("`{c}`"));
            Err(format!("{found} stands where a name should"))
        }
    }
}

/// Escapes are JSON's, so JSON's own reader takes them.
fn string(text: &str) -> Result<(Option<Token>, usize), String> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let literal = text.get(..=at).unwrap_or_default();
                let read = serde_json::from_str(literal);
                let read = read.map_err(|_| format!("{literal} is not a text of JSON's"))?;
                return Ok((Some(Token::Text(read)), at + 1));
            }
            _ => {}
        }
    }
    Err("a text does not end".to_owned())
}

fn number(text: &str) -> Result<(Option<Token>, usize), String> {
    let inside = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    let literal = text.get(..end).unwrap_or_default();
    let read = literal.parse::<f64>().map_err(|_| format!("`{literal}` is not a number"))?;
    Ok((Some(Token::Number(read)), end))
}
