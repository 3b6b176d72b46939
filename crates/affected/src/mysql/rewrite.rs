//! What the parser would stumble over, taken out of a statement where it names no table.

use wire::sql::{Kind, Token};

use super::Sign;

const PRIORITIES: &[&str] = &["low_priority", "high_priority", "quick", "ignore", "delayed"];

/// The statement as the parser can read it.
pub(super) fn rewritten<'a>(signs: &[Sign<'a>]) -> Vec<Sign<'a>> {
    let signs = without_into(signs);
    let signs = without_locks(&signs);
    match signs.first() {
        Some(first) if first.is("update") => joined(without_priorities(signs)),
        Some(first) if first.is("delete") => without_stars(without_priorities(signs)),
        _ => signs,
    }
}

/// Behind the verb.
fn without_priorities(signs: Vec<Sign<'_>>) -> Vec<Sign<'_>> {
    let priorities = signs.iter().skip(1).take_while(|sign| sign.is_any(PRIORITIES)).count();
    let kept = |(at, sign)| (at == 0 || at > priorities).then_some(sign);
    signs.into_iter().enumerate().filter_map(kept).collect()
}

/// `UPDATE a, b SET`: a comma joins as JOIN does.
fn joined(mut signs: Vec<Sign<'_>>) -> Vec<Sign<'_>> {
    const JOIN: Sign<'_> = Sign { token: Token { kind: Kind::Word, text: "JOIN" }, spaced: true };
    let mut depth = 0_usize;
    for sign in &mut signs {
        match sign.token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => *sign = JOIN,
            _ if depth == 0 && sign.is("set") => break,
            _ => {}
        }
    }
    // What followed a comma directly would continue the word.
    let mut after_join = false;
    for sign in &mut signs {
        sign.spaced |= after_join;
        after_join = sign.token.text == "JOIN";
    }
    signs
}

/// `DELETE a.*, b.* FROM`, `DELETE FROM a.* USING`.
fn without_stars(mut signs: Vec<Sign<'_>>) -> Vec<Sign<'_>> {
    let last = signs.iter().rposition(|sign| sign.is_any(&["from", "using"])).unwrap_or(0);
    let ends =
        |sign: Option<&Sign<'_>>| sign.is_some_and(|sign| sign.is_any(&[",", "from", "using"]));
    let mut at = 0;
    let mut limit = last;
    while at < limit {
        let star = signs.get(at).is_some_and(|sign| sign.is("."))
            && signs.get(at + 1).is_some_and(|sign| sign.is("*"))
            && ends(signs.get(at + 2));
        if star {
            signs.drain(at..at + 2);
            limit = limit.saturating_sub(2);
        } else {
            at += 1;
        }
    }
    signs
}

/// `LOCK IN SHARE MODE`, and how long locks are waited for.
fn without_locks<'a>(signs: &[Sign<'a>]) -> Vec<Sign<'a>> {
    let mut kept = Vec::with_capacity(signs.len());
    let mut rest = signs;
    while let [first, after @ ..] = rest {
        rest = match after {
            [within, share, mode, after @ ..]
                if first.is("lock") && within.is("in") && share.is("share") && mode.is("mode") =>
            {
                after
            }
            [number, after @ ..] if first.is("wait") && number.token.kind == Kind::Number => after,
            _ => {
                kept.push(*first);
                after
            }
        };
    }
    kept
}

/// `INTO OUTFILE '…' …`, `INTO DUMPFILE '…'`, `INTO @variable, …`: where the rows go is no table.
fn without_into<'a>(signs: &[Sign<'a>]) -> Vec<Sign<'a>> {
    let mut kept = Vec::with_capacity(signs.len());
    let mut rest = signs;
    while let [first, after @ ..] = rest {
        rest = match after {
            [file, after @ ..] if first.is("into") && file.is_any(&["outfile", "dumpfile"]) => {
                behind_file(after)
            }
            [variable, ..] if first.is("into") && is_variable(variable) => behind_variables(after),
            _ => {
                kept.push(*first);
                after
            }
        };
    }
    kept
}

fn is_variable(sign: &Sign<'_>) -> bool {
    sign.token.kind == Kind::Word && sign.token.text.starts_with('@')
}

fn behind_variables<'a, 'b>(mut signs: &'b [Sign<'a>]) -> &'b [Sign<'a>] {
    while let [variable, rest @ ..] = signs
        && is_variable(variable)
    {
        match rest {
            [comma, next, ..] if comma.is(",") && is_variable(next) => {
                signs = rest.get(1..).unwrap_or_default();
            }
            _ => return rest,
        }
    }
    signs
}

/// Words of how the file is written.
const OF_FILE: &[&str] = &[
    "character",
    "set",
    "charset",
    "fields",
    "columns",
    "lines",
    "terminated",
    "enclosed",
    "optionally",
    "escaped",
    "starting",
    "by",
];

fn behind_file<'a, 'b>(signs: &'b [Sign<'a>]) -> &'b [Sign<'a>] {
    let mut named_next = false;
    let length = signs.iter().take_while(|sign| {
        let belongs = sign.is_any(OF_FILE) || sign.token.kind == Kind::Text || named_next;
        named_next = sign.is_any(&["set", "charset"]);
        belongs
    });
    let length = length.count();
    signs.get(length..).unwrap_or_default()
}
