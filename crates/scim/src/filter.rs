//! Filters (RFC 7644 §3.4.2.2): which resources, or which of an attribute's values.

use std::cmp::Ordering;

use model::Timestamp;
use serde_json::Value;

use crate::lexer::{Token, tokens};
use crate::path::{Attribute, Path, member};
use crate::{Error, Problem};

/// Longer ones are refused.
pub const FILTER_BYTES_MAX: usize = 4_096;
/// Brackets and `not` inside one another.
const DEPTH_MAX: usize = 16;
/// Attributes whose case counts (RFC 7643 §3.1, §4.1, §8.7.1).
const CASE_EXACT: &[&str] = &["id", "externalId", "value", "$ref", "version", "location"];

/// What is looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Term);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Present(Attribute),
    Compare {
        attribute: Attribute,
        operator: Operator,
        literal: Literal,
    },
    /// One value of an attribute with several that has all of it.
    Any {
        name: String,
        term: Box<Self>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
}

impl Filter {
    /// Reads a filter.
    pub fn read(text: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::new(Problem::InvalidFilter, why);
        if text.len() > FILTER_BYTES_MAX {
            return Err(invalid(format!("the filter has more than {FILTER_BYTES_MAX} bytes")));
        }
        let mut parser = Parser::of(tokens(text).map_err(invalid)?);
        let term = parser.or(0).map_err(invalid)?;
        parser.ended().map_err(invalid)?;
        Ok(Self(term))
    }

    /// Whether a resource, or a value, is looked for.
    pub fn matches(&self, resource: &Value) -> bool {
        self.0.matches(resource)
    }

    /// What a new value must say for the filter to find it, where the filter says no more than that: `type eq "work"`.
    pub(crate) fn example(&self) -> Option<(String, Value)> {
        match &self.0 {
            Term::Compare { attribute, operator: Operator::Equal, literal } => {
                let value = match literal {
                    Literal::Text(text) => text.clone().into(),
                    Literal::Bool(value) => (*value).into(),
                    Literal::Number(_) | Literal::Null => return None,
                };
                attribute.part.is_none().then(|| (attribute.name.clone(), value))
            }
            _ => None,
        }
    }
}

impl Term {
    fn matches(&self, resource: &Value) -> bool {
        match self {
            Self::And(first, second) => first.matches(resource) && second.matches(resource),
            Self::Or(first, second) => first.matches(resource) || second.matches(resource),
            Self::Not(term) => !term.matches(resource),
            Self::Present(attribute) => values(resource, attribute).into_iter().any(is_present),
            Self::Compare { attribute, operator, literal } => {
                let case = CASE_EXACT.iter().any(|exact| {
                    attribute.part.as_ref().unwrap_or(&attribute.name).eq_ignore_ascii_case(exact)
                });
                let found = values(resource, attribute);
                let any =
                    |operator| found.iter().any(|value| compare(value, operator, literal, case));
                match operator {
                    // What is not there is not equal either.
                    Operator::NotEqual => !any(Operator::Equal),
                    Operator::Equal if *literal == Literal::Null => {
                        !found.into_iter().any(is_present)
                    }
                    operator => any(*operator),
                }
            }
            Self::Any { name, term } => match member(resource, name) {
                Some(Value::Array(elements)) => {
                    elements.iter().any(|element| term.matches(element))
                }
                Some(one) => term.matches(one),
                None => false,
            },
        }
    }
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Every value of an attribute; of one with several objects, their `value`s.
fn values<'a>(resource: &'a Value, attribute: &Attribute) -> Vec<&'a Value> {
    let Some(found) = member(resource, &attribute.name) else { return Vec::new() };
    let elements: Vec<&Value> = match found {
        Value::Array(elements) => elements.iter().collect(),
        one => vec![one],
    };
    let of_array = found.is_array();
    elements
        .into_iter()
        .filter_map(|element| match &attribute.part {
            Some(part) => member(element, part),
            None if of_array && element.is_object() => member(element, "value"),
            None => Some(element),
        })
        .collect()
}

fn compare(value: &Value, operator: Operator, literal: &Literal, case: bool) -> bool {
    match (value, literal) {
        (Value::String(text), Literal::Text(wanted)) => {
            if let (Some(at), Some(than)) = (instant(text), instant(wanted)) {
                return ordered(operator, at.cmp(&than)).unwrap_or(text == wanted);
            }
            let folded = |text: &str| if case { text.to_owned() } else { text.to_lowercase() };
            let (text, wanted) = (folded(text), folded(wanted));
            match operator {
                Operator::Contains => text.contains(&wanted),
                Operator::StartsWith => text.starts_with(&wanted),
                Operator::EndsWith => text.ends_with(&wanted),
                operator => ordered(operator, text.cmp(&wanted)).unwrap_or(false),
            }
        }
        (Value::Number(number), Literal::Number(wanted)) => {
            let order = number.as_f64().and_then(|number| number.partial_cmp(wanted));
            order.and_then(|order| ordered(operator, order)).unwrap_or(false)
        }
        (Value::Bool(value), Literal::Bool(wanted)) => {
            operator == Operator::Equal && value == wanted
        }
        // Some directories write `"True"`.
        (Value::Bool(value), Literal::Text(wanted)) => {
            operator == Operator::Equal && wanted.eq_ignore_ascii_case(&value.to_string())
        }
        _ => false,
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn ordered(operator: Operator, order: Ordering) -> Option<bool> {
    match operator {
        Operator::Equal => Some(order.is_eq()),
        Operator::NotEqual => Some(order.is_ne()),
        Operator::Greater => Some(order.is_gt()),
        Operator::GreaterOrEqual => Some(order.is_ge()),
        Operator::Less => Some(order.is_lt()),
        Operator::LessOrEqual => Some(order.is_le()),
        Operator::Contains | Operator::StartsWith | Operator::EndsWith => None,
    }
}

/// Reads what the lexer made. Bounded by [`DEPTH_MAX`].
pub(crate) struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    pub(crate) fn of(tokens: Vec<Token>) -> Self {
        Self { tokens: tokens.into_iter().peekable() }
    }

    /// A path of a PATCH operation, to its end.
    pub(crate) fn path(mut self) -> Result<Path, String> {
        let Attribute { name, mut part } = self.attribute()?;
        let mut selected = None;
        if self.tokens.next_if_eq(&Token::OpenBracket).is_some() {
            if part.is_some() {
                return Err("a filter stands behind a part of an attribute".to_owned());
            }
            selected = Some(Filter(self.or(1)?));
            self.expect(&Token::CloseBracket, "`]`")?;
            if let Some(Token::Dot(behind)) = self.tokens.peek() {
                part = Some(behind.clone());
                self.tokens.next();
            }
        }
        self.ended()?;
        Ok(Path { name, selected, part })
    }

    fn ended(&mut self) -> Result<(), String> {
        match self.tokens.next() {
            None => Ok(()),
            Some(token) => Err(format!("{} stands where the end should", shown(&token))),
        }
    }

    fn attribute(&mut self) -> Result<Attribute, String> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Attribute::read(&word),
            Some(token) => Err(format!("{} stands where an attribute should", shown(&token))),
            None => Err("an attribute is missing at the end".to_owned()),
        }
    }

    fn expect(&mut self, wanted: &Token, name: &str) -> Result<(), String> {
        match self.tokens.next_if_eq(wanted) {
            Some(_) => Ok(()),
            None => Err(format!("{name} is missing")),
        }
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let is = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.tokens.next_if(is).is_some()
    }

    /// `or` binds least, then `and`, then `not`.
    fn or(&mut self, depth: usize) -> Result<Term, String> {
        let mut term = self.and(depth)?;
        while self.keyword("or") {
            term = Term::Or(Box::new(term), Box::new(self.and(depth)?));
        }
        Ok(term)
    }

    fn and(&mut self, depth: usize) -> Result<Term, String> {
        let mut term = self.one(depth)?;
        while self.keyword("and") {
            term = Term::And(Box::new(term), Box::new(self.one(depth)?));
        }
        Ok(term)
    }

    fn one(&mut self, depth: usize) -> Result<Term, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it nests more than {DEPTH_MAX} deep"));
        }
        if self.keyword("not") {
            self.expect(&Token::Open, "`(` behind `not`")?;
            let term = self.or(depth + 1)?;
            self.expect(&Token::Close, "`)`")?;
            return Ok(Term::Not(Box::new(term)));
        }
        if self.tokens.next_if_eq(&Token::Open).is_some() {
            let term = self.or(depth + 1)?;
            self.expect(&Token::Close, "`)`")?;
            return Ok(term);
        }
        let attribute = self.attribute()?;
        if self.tokens.next_if_eq(&Token::OpenBracket).is_some() {
            if attribute.part.is_some() {
                return Err("a filter stands behind a part of an attribute".to_owned());
            }
            let term = Box::new(self.or(depth + 1)?);
            self.expect(&Token::CloseBracket, "`]`")?;
            return Ok(Term::Any { name: attribute.name, term });
        }
        if self.keyword("pr") {
            return Ok(Term::Present(attribute));
        }
        let operator = self.operator()?;
        let literal = self.literal()?;
        Ok(Term::Compare { attribute, operator, literal })
    }

    fn operator(&mut self) -> Result<Operator, String> {
        const KNOWN: &[(&str, Operator)] = &[
            ("eq", Operator::Equal),
            ("ne", Operator::NotEqual),
            ("co", Operator::Contains),
            ("sw", Operator::StartsWith),
            ("ew", Operator::EndsWith),
            ("gt", Operator::Greater),
            ("ge", Operator::GreaterOrEqual),
            ("lt", Operator::Less),
            ("le", Operator::LessOrEqual),
        ];
        match self.tokens.next() {
            Some(Token::Word(word)) => {
                let known = KNOWN.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
                known.map(|(_, operator)| *operator).ok_or(format!("`{word}` is not an operator"))
            }
            Some(token) => Err(format!("{} stands where an operator should", shown(&token))),
            None => Err("an operator is missing at the end".to_owned()),
        }
    }

    fn literal(&mut self) -> Result<Literal, String> {
        match self.tokens.next() {
            Some(Token::Text(text)) => Ok(Literal::Text(text)),
            Some(Token::Number(number)) => Ok(Literal::Number(number)),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Ok(Literal::Bool(true)),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => {
                Ok(Literal::Bool(false))
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => Ok(Literal::Null),
            Some(token) => Err(format!("{} is not a value", shown(&token))),
            None => Err("a value is missing at the end".to_owned()),
        }
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("`{word}`"),
        Token::Text(_) => "a text".to_owned(),
        Token::Number(number) => format!("`{number}`"),
        Token::Open => "`(`".to_owned(),
        Token::Close => "`)`".to_owned(),
        Token::OpenBracket => "`[`".to_owned(),
        Token::CloseBracket => "`]`".to_owned(),
        Token::Dot(name) => format!("`.{name}`"),
    }
}
