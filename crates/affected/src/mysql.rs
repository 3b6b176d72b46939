//! Statements of MySQL's and MariaDB's: cut apart, those that the parser does not know understood by hand, and what it
//! would stumble over taken out of the others.

pub(crate) mod builtin;
mod own;
pub(crate) mod plain;
mod rewrite;

use wire::sql::{Kind, Token};

use crate::scan::{self, named};
use crate::walk::{self, NO_NAME, NOT_PARSED};
use crate::{Analysis, Engine};

/// A token that is not white space, and whether white space was before it.
#[derive(Clone, Copy, Debug)]
struct Sign<'a> {
    token: Token<'a>,
    spaced: bool,
}

/// Statements of a text that was made plain, one after the other.
#[derive(Default)]
struct Run {
    analysis: Analysis,
    /// The default database, once the text itself says which.
    database: Option<String>,
}

/// Of a text that was made plain.
pub(crate) fn statements(text: &str) -> Analysis {
    let tokens = Engine::MySql.tokens(text);
    let signs = significant(&tokens);
    let mut run = Run::default();
    let mut rest = signs.as_slice();
    while !rest.is_empty() {
        let end = end(rest);
        let (statement, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        run.statement(statement);
        rest = after.get(1..).unwrap_or_default();
        if rest.iter().any(|sign| !sign.is(";")) && own::changes_reading(statement) {
            run.analysis.because("it changes how the server reads the rest of its text");
        }
    }
    run.analysis
}

fn significant<'a>(tokens: &[Token<'a>]) -> Vec<Sign<'a>> {
    let mut spaced = false;
    let mut signs = Vec::new();
    for token in tokens {
        if token.kind == Kind::Space {
            spaced = true;
            continue;
        }
        signs.push(Sign { token: *token, spaced });
        spaced = false;
    }
    signs
}

/// Where the first statement ends. What a routine consists of is part of its definition, and so is what follows it.
fn end(signs: &[Sign<'_>]) -> usize {
    if is_compound(signs) {
        return signs.len();
    }
    signs.iter().position(|sign| sign.is(";")).unwrap_or(signs.len())
}

/// How far into a definition its kind may stand: behind the definer.
const KIND_WITHIN: usize = 16;

fn is_compound(signs: &[Sign<'_>]) -> bool {
    let kind = || {
        signs.iter().take_while(|sign| !sign.is(";")).take(KIND_WITHIN).any(|sign| {
            ["trigger", "procedure", "function", "event", "package"]
                .iter()
                .any(|kind| sign.is(kind))
        })
    };
    match signs {
        [first, ..] if first.is("create") || first.is("alter") => kind(),
        [begin, not, ..] if begin.is("begin") && not.is("not") => true,
        [first, ..] => ["if", "case", "loop", "while", "repeat", "for", "declare"]
            .iter()
            .any(|word| first.is(word)),
        [] => false,
    }
}

impl Sign<'_> {
    /// A word in any case, or a sign.
    fn is(&self, text: &str) -> bool {
        matches!(self.token.kind, Kind::Word | Kind::Other)
            && self.token.text.eq_ignore_ascii_case(text)
    }

    fn is_any(&self, of: &[&str]) -> bool {
        of.iter().any(|text| self.is(text))
    }
}

fn tokens<'a>(signs: &[Sign<'a>]) -> Vec<Token<'a>> {
    signs.iter().map(|sign| sign.token).collect()
}

/// As a text again.
fn text(signs: &[Sign<'_>]) -> String {
    let mut text = String::new();
    for Sign { token, spaced } in signs {
        if *spaced {
            text.push(' ');
        }
        text.push_str(token.text);
    }
    text
}

impl Run {
    fn take(&mut self, analysis: Analysis) {
        self.analysis.take(analysis, self.database.as_deref());
    }

    /// As the parser has it.
    fn parsed(&mut self, signs: &[Sign<'_>]) {
        let rewritten = rewrite::rewritten(signs);
        let analysis = walk::mysql(&text(&rewritten)).unwrap_or_else(|why| scanned(signs, why));
        self.take(analysis);
    }

    fn scanned(&mut self, signs: &[Sign<'_>]) {
        self.take(scanned(signs, NOT_PARSED));
    }

    /// The names of `a, b.c`, behind each of which other words may stand.
    fn listed(&mut self, signs: &[Sign<'_>], take: fn(&mut Analysis, crate::Name)) {
        let mut depth = 0_usize;
        let mut expected = true;
        let mut analysis = Analysis::default();
        let tokens = tokens(signs);
        for (at, sign) in signs.iter().enumerate() {
            if expected {
                match tokens.get(at..).and_then(|rest| named(rest, Engine::MySql)) {
                    Some((name, _)) => take(&mut analysis, name),
                    None => analysis.because(NO_NAME),
                }
            }
            expected = false;
            match sign.token.text {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                "," => expected = depth == 0,
                _ => {}
            }
        }
        self.take(analysis);
    }
}

fn scanned(signs: &[Sign<'_>], why: &str) -> Analysis {
    scan::names(&tokens(signs), Engine::MySql, why)
}
