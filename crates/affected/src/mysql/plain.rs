//! A text of MySQL's or MariaDB's made plain before it is parsed: comments are white space, literals are `'0'` and `0`, and
//! what stands in comments that servers run is code.

use wire::mysql::sql::{Conditional, always_runs, opens_code, tokens};
use wire::sql::{Kind, Strings, Token};

use crate::plain::{Height, Plain};

/// With what every server runs, and with what only some do; and, where there is such, without it.
pub(crate) fn plain(sql: &str, strings: Strings) -> (Plain, Option<Plain>) {
    let mut writer = Writer::new(strings);
    let mut unclear = false;
    for token in tokens(sql, strings, Conditional::Runs) {
        unclear |= opens_code(&token) && !always_runs(&token);
        writer.token(&token);
    }
    let mut whole = writer.finish();
    if !unclear {
        return (whole, None);
    }
    whole.because.push("it has a comment that only some servers run");
    let mut writer = Writer::new(strings);
    tokens(sql, strings, Conditional::Skipped).for_each(|token| writer.token(&token));
    (whole, Some(writer.finish()))
}

/// Functions that are the server's own only where their parenthesis follows without a space, unless `sql_mode` has
/// IGNORE_SPACE; else they are one's own. In order.
const TOUCHING: &[&str] = &[
    "adddate",
    "bit_and",
    "bit_or",
    "bit_xor",
    "cast",
    "count",
    "curdate",
    "curtime",
    "date_add",
    "date_sub",
    "extract",
    "group_concat",
    "json_arrayagg",
    "json_objectagg",
    "max",
    "mid",
    "min",
    "now",
    "position",
    "session_user",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "subdate",
    "substr",
    "substring",
    "sum",
    "sysdate",
    "system_user",
    "trim",
    "trim_oracle",
    "var_pop",
    "var_samp",
    "variance",
];

const SPACED: &str =
    "a function in it has a space before its parenthesis, which makes it one's own by default";

struct Writer {
    strings: Strings,
    text: String,
    because: Vec<&'static str>,
    height: Height,
    /// The last token was one of [`TOUCHING`], and white space followed.
    touching: Option<bool>,
}

impl Writer {
    fn new(strings: Strings) -> Self {
        let (text, because, height) = (String::new(), Vec::new(), Height::default());
        Self { strings, text, because, height, touching: None }
    }

    fn token(&mut self, token: &Token<'_>) {
        match token.kind {
            Kind::Space | Kind::Comment => {
                if !self.text.ends_with(' ') {
                    self.text.push(' ');
                }
                self.touching = self.touching.map(|_| true);
                return;
            }
            Kind::Text | Kind::DollarText => {
                if !self.literal(token) {
                    return;
                }
            }
            Kind::Number => self.text.push('0'),
            Kind::Word => self.word(token),
            Kind::Quoted | Kind::Parameter => self.text.push_str(token.text),
            // `:=` assigns as `=` does.
            Kind::Other if token.text == ":" => return,
            Kind::Other => self.text.push_str(token.text),
        }
        if token.text == "(" && self.touching == Some(true) {
            self.because.push(SPACED);
        }
        let lower = token.text.to_ascii_lowercase();
        let touches = token.kind == Kind::Word && TOUCHING.binary_search(&lower.as_str()).is_ok();
        self.touching = touches.then_some(false);
        self.height.token(token);
    }

    fn word(&mut self, token: &Token<'_>) {
        let text = token.text;
        if text.starts_with("@@") {
            self.text.push_str(text);
        } else if text.starts_with('@') {
            self.text.push_str("@v");
        } else if text.starts_with(|c: char| c.is_ascii_digit()) {
            // The parser would take its digits for a number.
            self.text.extend(["`", text, "`"]);
        } else {
            self.text.push_str(text);
        }
    }

    /// Whether it stands by itself: literals behind one another are one.
    fn literal(&mut self, token: &Token<'_>) -> bool {
        let text = token.text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let quote = text.chars().next().unwrap_or_default();
        let closed = text.len() > 1 && text.ends_with(quote);
        if !closed {
            self.because.push("a literal in it does not end");
        }
        // A name, if `sql_mode` has ANSI_QUOTES: then a backslash keeps nothing.
        if quote == '"' && self.strings == Strings::Backslash && keeps_a_quote(text) {
            self.because.push(
                "it has a backslash before a quote in double quotes, which a setting of the session gives a meaning",
            );
        }
        let alone = !self.text.trim_end().ends_with("'0'");
        if alone {
            self.text.push_str("'0'");
        }
        alone
    }

    fn finish(self) -> Plain {
        let Self { text, mut because, height, .. } = self;
        because.dedup();
        Plain { text, parseable: height.verdict(), because }
    }
}

/// Whether the literal ends elsewhere when a backslash is a character like any other.
fn keeps_a_quote(text: &str) -> bool {
    let other = tokens(text, Strings::Standard, Conditional::Runs).next();
    other.is_none_or(|other| other.text.len() != text.len())
}
