//! Refusals in SCIM's words (RFC 7644 §3.12), each with the stable code that it has everywhere else.

use model::{Code, Refusal, code};
use serde_json::{Value, json};

/// What is wrong, as `scimType` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A filter cannot be understood, or is longer than allowed.
    InvalidFilter,
    /// The request is not what its schema says.
    InvalidSyntax,
    /// A path cannot be understood.
    InvalidPath,
    /// A path names nothing that there is.
    NoTarget,
    /// A value is not one that the attribute takes.
    InvalidValue,
    /// An attribute cannot be changed.
    Mutability,
    /// The name is taken.
    Uniqueness,
    /// More than can be listed or changed at once.
    TooMany,
}

impl Problem {
    fn scim_type(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::Mutability => "mutability",
            Self::Uniqueness => "uniqueness",
            Self::TooMany => "tooMany",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which kind, where SCIM has a word for it.
    pub problem: Option<Problem>,
    /// Code, message and hint.
    pub refusal: Refusal,
}

impl Error {
    /// One of SCIM's own kinds.
    pub fn new(problem: Problem, message: impl Into<String>) -> Self {
        let code: &'static Code = match problem {
            Problem::Uniqueness => &code::CONFLICT,
            Problem::TooMany => &code::TOO_LARGE,
            Problem::InvalidFilter
            | Problem::InvalidSyntax
            | Problem::InvalidPath
            | Problem::NoTarget
            | Problem::InvalidValue
            | Problem::Mutability => &code::INVALID,
        };
        let hint = "docs/guides/scim.md says what is understood";
        Self { problem: Some(problem), refusal: Refusal::new(code, message).hint(hint) }
    }

    /// The status of the answer; SCIM calls everything that is too many a bad request.
    pub fn status(&self) -> u16 {
        match self.problem {
            Some(Problem::Uniqueness) => 409,
            Some(_) => 400,
            None => self.refusal.code.http,
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        let Refusal { code, message, hint } = &self.refusal;
        let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status().to_string(),
            "detail": format!("{}: {message}{hint}", code.id),
        });
        if let (Some(problem), Some(members)) = (self.problem, body.as_object_mut()) {
            members.insert("scimType".to_owned(), problem.scim_type().into());
        }
        body
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self { problem: None, refusal }
    }
}
