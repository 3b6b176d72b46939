//! A text made plain before it is parsed: what two lexers could read differently is taken out of it, and what could take
//! the parser long or deep is found first.

use wire::sql::{Kind, Strings, Token, tokens};

/// Parentheses inside of parentheses; the parser's time can double with each.
const DEPTH_MAX: usize = 16;
/// Tokens between two commas, summed over the parentheses around them: an expression's tree is not higher than this.
const CHAIN_MAX: usize = 600;

#[derive(Debug)]
pub(crate) struct Plain {
    /// Comments are spaces, literals are `'0'` and `0`.
    pub(crate) text: String,
    /// Or why it is not given to the parser.
    pub(crate) parseable: Result<(), &'static str>,
    /// What makes the text doubtful.
    pub(crate) because: Vec<&'static str>,
}

pub(crate) fn plain(sql: &str) -> Plain {
    let mut text = String::with_capacity(sql.len().min(4096));
    let mut because = Vec::new();
    let mut height = Height::default();
    for token in tokens(sql, Strings::Standard) {
        match token.kind {
            Kind::Space | Kind::Comment => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
                continue;
            }
            Kind::Text | Kind::DollarText => {
                if !literal(&mut text, &token, &mut because) {
                    continue;
                }
            }
            Kind::Number => text.push('0'),
            Kind::Quoted if token.text.starts_with(['u', 'U']) => {
                because.push("it writes a name with Unicode escapes");
                text.push_str("\"?\"");
            }
            Kind::Word | Kind::Quoted | Kind::Parameter | Kind::Other => text.push_str(token.text),
        }
        height.token(&token);
    }
    Plain { text, parseable: height.verdict(), because }
}

/// Whether it stands by itself: two literals with a line break between them are one.
fn literal(text: &mut String, token: &Token<'_>, because: &mut Vec<&'static str>) -> bool {
    let standard = token.kind == Kind::Text && token.text.starts_with(['\'', 'n', 'N']);
    if standard && token.text.contains('\\') {
        because.push(
            "it has a backslash in a literal, which a setting of the session gives a meaning",
        );
    }
    let open = !token.text.ends_with(['\'', '$']);
    if open {
        because.push("a literal in it does not end");
    }
    let alone = !text.trim_end().ends_with("'0'");
    if alone {
        text.push_str("'0'");
    }
    alone
}

/// How high the parser's tree could become.
#[derive(Default)]
pub(crate) struct Height {
    /// Tokens since the last comma, at each depth around this one.
    around: Vec<usize>,
    here: usize,
    sum: usize,
    highest: usize,
    deepest: usize,
}

impl Height {
    pub(crate) fn token(&mut self, token: &Token<'_>) {
        match token.text {
            "(" | "[" => {
                self.around.push(self.here + 1);
                self.sum += self.here + 1;
                self.here = 0;
                self.deepest = self.deepest.max(self.around.len());
            }
            ")" | "]" => {
                self.here = self.around.pop().unwrap_or_default();
                self.sum = self.sum.saturating_sub(self.here);
            }
            "," => self.here = 0,
            ";" => {
                (self.here, self.sum) = (0, 0);
                self.around.clear();
            }
            _ => self.here += 1,
        }
        self.highest = self.highest.max(self.sum + self.here);
    }

    pub(crate) fn verdict(&self) -> Result<(), &'static str> {
        if self.deepest > DEPTH_MAX {
            return Err("it nests too deep to be parsed");
        }
        if self.highest > CHAIN_MAX {
            return Err("it is too long to be parsed");
        }
        Ok(())
    }
}
