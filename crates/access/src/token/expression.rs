//! Flexible federated identity credentials: `claims['sub'] matches 'repo:contoso/*' and claims['ref_protected'] eq 'true'`.
//! Microsoft's grammar of language version 1: terms joined by `and`, single spaces, no `or` and no `not`. `matches` knows
//! `?` (one character) and `*` (any run) and holds for the whole claim. In a literal, a quote is written twice.

use serde_json::{Map, Value};

/// A longer expression is refused unread.
pub(super) const EXPRESSION_BYTES_MAX: usize = 600;

/// More terms are refused.
const TERMS_MAX: usize = 20;

/// Each `*` may cost one pass over the claim.
const STARS_MAX: usize = 10;

/// An expression that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    claim: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Eq(String),
    Matches(String),
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than [`EXPRESSION_BYTES_MAX`].
    #[error("it has more than {EXPRESSION_BYTES_MAX} bytes")]
    TooLong,
    /// Not what the grammar has at this place.
    #[error("at byte {at}, {expected} is expected")]
    Unexpected {
        /// Where, from 0.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// More than the bound.
    #[error("it has more than {TERMS_MAX} terms")]
    TooManyTerms,
    /// More than the bound.
    #[error("a pattern has more than {STARS_MAX} stars")]
    TooManyStars,
    /// A pattern of nothing but wildcards lets everyone in whom the issuer knows.
    #[error("a pattern of wildcards only matches everything")]
    MatchesAll,
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ExpressionError::TooLong);
        }
        let mut reader = Reader { text, at: 0 };
        let mut terms = vec![reader.term()?];
        while !reader.rest().is_empty() {
            reader.skip(" and ", "` and ` or the end")?;
            if terms.len() == TERMS_MAX {
                return Err(ExpressionError::TooManyTerms);
            }
            terms.push(reader.term()?);
        }
        Ok(Self { terms })
    }

    /// Whether every term holds. A claim that is not there, or is neither text, number nor truth value, holds none.
    pub fn holds(&self, claims: &Map<String, Value>) -> bool {
        self.terms.iter().all(|Term { claim, test }| {
            let value = match claims.get(claim) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Bool(value)) => value.to_string(),
                Some(Value::Number(number)) => number.to_string(),
                Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => return false,
            };
            match test {
                Test::Eq(literal) => value == *literal,
                Test::Matches(pattern) => matches(pattern, &value),
            }
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, token: &str, expected: &'static str) -> Result<(), ExpressionError> {
        if !self.rest().starts_with(token) {
            return Err(ExpressionError::Unexpected { at: self.at, expected });
        }
        self.at += token.len();
        Ok(())
    }

    fn term(&mut self) -> Result<Term, ExpressionError> {
        self.skip("claims[", "`claims['`")?;
        let claim = self.literal()?;
        self.skip("] ", "`] `")?;
        let matching = self.rest().starts_with("matches ");
        if matching {
            self.skip("matches ", "`matches `")?;
        } else {
            self.skip("eq ", "`eq ` or `matches `")?;
        }
        let literal = self.literal()?;
        let test = if matching { Test::Matches(pattern(literal)?) } else { Test::Eq(literal) };
        Ok(Term { claim, test })
    }

    /// `'…'`, with `''` for a quote.
    fn literal(&mut self) -> Result<String, ExpressionError> {
        self.skip("'", "a text in single quotes")?;
        let mut literal = String::new();
        loop {
            let Some(end) = self.rest().find('\'') else {
                let at = self.text.len();
                return Err(ExpressionError::Unexpected { at, expected: "a closing quote" });
            };
            literal.push_str(self.rest().get(..end).unwrap_or_default());
            self.at += end + 1;
            if !self.rest().starts_with('\'') {
                return Ok(literal);
            }
            literal.push('\'');
            self.at += 1;
        }
    }
}

fn pattern(literal: String) -> Result<String, ExpressionError> {
    if literal.chars().filter(|c| *c == '*').count() > STARS_MAX {
        return Err(ExpressionError::TooManyStars);
    }
    if literal.contains('*') && literal.chars().all(|c| matches!(c, '*' | '?')) {
        return Err(ExpressionError::MatchesAll);
    }
    Ok(literal)
}

/// The whole value, from its first character to its last. Steps are bounded by pattern × value: where a run does not
/// fit, only the last star takes one character more.
fn matches(pattern: &str, value: &str) -> bool {
    let (mut pattern, mut value) = (pattern.chars(), value.chars());
    // What is left of both at the last star, which took nothing so far.
    let mut last_star = None;
    loop {
        let mut next = value.clone();
        match (pattern.next(), next.next()) {
            (Some('*'), _) => last_star = Some((pattern.clone(), value.clone())),
            (Some('?'), Some(_)) => value = next,
            (Some(wanted), Some(found)) if wanted == found => value = next,
            (None, None) => return true,
            (Some(_) | None, Some(_)) | (Some(_), None) => {
                let Some((after_star, mut taken)) = last_star.take() else { return false };
                if taken.next().is_none() {
                    return false;
                }
                last_star = Some((after_star.clone(), taken.clone()));
                (pattern, value) = (after_star, taken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn holds(expression: &str, claims: &Value) -> bool {
        Expression::parse(expression).unwrap().holds(claims.as_object().unwrap())
    }

    #[test]
    fn a_workflow_of_one_repository_passes_and_no_other() {
        let main = json!({"sub": "repo:contoso/app:ref:refs/heads/main", "ref_protected": true});
        for (expression, expected) in [
            ("claims['sub'] eq 'repo:contoso/app:ref:refs/heads/main'", true),
            ("claims['sub'] eq 'repo:contoso/app:ref:refs/heads/mai'", false),
            ("claims['sub'] eq 'repo:Contoso/app:ref:refs/heads/main'", false),
            ("claims['sub'] matches 'repo:contoso/app:ref:refs/heads/*'", true),
            ("claims['sub'] matches 'repo:contoso/*'", true),
            ("claims['sub'] matches 'repo:contoso/app'", false), // anchored at the end
            ("claims['sub'] matches 'contoso/*'", false),        // anchored at the start
            ("claims['sub'] matches '*heads/m??n'", true),
            ("claims['sub'] matches '*heads/m???n'", false),
            ("claims['sub'] matches '*a*a*a*'", true),
            ("claims['sub'] matches '*a*a*a*a*'", false),
            ("claims['ref_protected'] eq 'true' and claims['sub'] matches 'repo:contoso/*'", true),
            ("claims['ref_protected'] eq 'true' and claims['sub'] matches 'repo:fab/*'", false),
            ("claims['none'] eq ''", false),
        ] {
            assert_eq!(holds(expression, &main), expected, "{expression}");
        }
        assert!(holds("claims['n'] eq 'it''s'", &json!({"n": "it's"})));
        assert!(!holds("claims['n'] matches 'a*'", &json!({"n": ["a"]})));
        assert!(holds("claims['n'] matches '?'", &json!({"n": "ä"})));
    }

    #[test]
    fn what_is_not_the_grammar_is_refused_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("claims[sub] eq 'a'", 7),
            ("claims['sub']  eq 'a'", 14),
            ("claims['sub'] ne 'a'", 14),
            ("claims['sub'] eq 'a' or claims['sub'] eq 'b'", 20),
            ("claims['sub'] eq 'a' and ", 25),
            ("claims['sub'] eq 'a", 19),
            ("claims['sub'] eq 'a' ", 20),
            ("not claims['sub'] eq 'a'", 0),
        ] {
            let error = Expression::parse(text).unwrap_err();
            assert!(
                matches!(error, ExpressionError::Unexpected { at: place, .. } if place == at),
                "{text}: {error}"
            );
        }
        let many = |times: usize| vec!["claims['a'] eq 'b'"; times].join(" and ");
        assert_eq!(Expression::parse(&many(21)), Err(ExpressionError::TooManyTerms));
        assert!(Expression::parse(&many(20)).is_ok());
        let stars = format!("claims['a'] matches 'a{}'", "*".repeat(11));
        assert_eq!(Expression::parse(&stars), Err(ExpressionError::TooManyStars));
        for all in ["*", "**", "*?"] {
            let text = format!("claims['a'] matches '{all}'");
            assert_eq!(Expression::parse(&text), Err(ExpressionError::MatchesAll));
        }
        assert_eq!(Expression::parse(&"x".repeat(601)), Err(ExpressionError::TooLong));
    }

    /// The definition, by trying everything.
    fn slowly(pattern: &[char], value: &[char]) -> bool {
        match pattern.split_first() {
            None => value.is_empty(),
            Some(('*', rest)) => (0..=value.len()).any(|taken| slowly(rest, &value[taken..])),
            Some((wanted, rest)) => value.split_first().is_some_and(|(found, left)| {
                (*wanted == '?' || wanted == found) && slowly(rest, left)
            }),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_trying_everything_says(pattern in "[ab*?]{0,8}", value in "[abc]{0,8}") {
            let (p, v): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
            prop_assert_eq!(matches(&pattern, &value), slowly(&p, &v));
        }

        #[test]
        fn any_text_is_an_expression_or_an_error(text in "\\PC{0,80}") {
            let _expression = Expression::parse(&text);
        }

        #[test]
        fn any_literal_survives_its_quotes(name in "\\PC{1,20}", value in "\\PC{0,40}") {
            let quoted = |text: &str| text.replace('\'', "''");
            let text = format!("claims['{}'] eq '{}'", quoted(&name), quoted(&value));
            let claims = json!({ name: value });
            prop_assert!(holds(&text, &claims));
        }
    }
}
