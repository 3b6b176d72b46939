//! What a command says when it cannot do its work: what happened, why, what next; and the exit code that goes with it.

use std::fmt;
use std::process::ExitCode;

use model::{Code, Refusal, code};

/// Exit codes. Scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed.
    Failed = 1,
    /// The command line is not right.
    Usage = 2,
    /// The rules do not allow it.
    Refused = 3,
    /// Nobody is signed in, or the sign-in did not succeed.
    NotSignedIn = 4,
    /// The installation cannot be reached.
    Unreachable = 5,
    /// The doctor found something.
    Found = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What was tried.
    pub what: String,
    /// Why it did not succeed.
    pub why: String,
    /// What to do next.
    pub next: Option<String>,
}

impl Failure {
    /// Something failed.
    pub(crate) fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, what: what.into(), why: why.to_string(), next: None }
    }

    /// The server, or a rule that both sides know, refused.
    pub(crate) fn refused(what: impl Into<String>, refusal: &Refusal) -> Self {
        Self {
            exit: exit_of(refusal.code),
            what: what.into(),
            why: refusal.to_string(),
            next: refusal.hint.clone(),
        }
    }

    /// The same with another exit code.
    #[must_use]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The same with what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// `portcullis: what`, then why, then what next; further lines are indented.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "portcullis: {}", self.what)?;
        write!(f, "  why:  {}", self.why.trim_end().replace('\n', "\n        "))?;
        if let Some(next) = &self.next {
            write!(f, "\n  next: {}", next.trim_end().replace('\n', "\n        "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

fn exit_of(code: &Code) -> Exit {
    if code.http == 401 {
        return Exit::NotSignedIn;
    }
    let not_a_rule = [&code::NOT_FOUND, &code::INVALID, &code::TOO_LARGE, &code::RATE_LIMITED];
    if code.http >= 500 || not_a_rule.iter().any(|known| known.id == code.id) {
        return Exit::Failed;
    }
    Exit::Refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_why_and_what_next() {
        let refusal = Refusal::new(
            &code::NOT_ELIGIBLE,
            "`dev@example.com` is not eligible for `orders-admins`",
        );
        let failure = Failure::refused("cannot request `orders-admins`", &refusal);
        insta::assert_snapshot!(failure, @r"
        portcullis: cannot request `orders-admins`
          why:  PC2010: `dev@example.com` is not eligible for `orders-admins`
          next: ask an owner for an eligibility
        ");
        assert_eq!(failure.exit, Exit::Refused);
    }

    #[test]
    fn exit_codes_tell_rules_from_failures() {
        for (code, exit) in [
            (&code::UNAUTHENTICATED, Exit::NotSignedIn),
            (&code::SIGN_IN_FAILED, Exit::NotSignedIn),
            (&code::FORBIDDEN, Exit::Refused),
            (&code::JUSTIFICATION_REQUIRED, Exit::Refused),
            (&code::NOT_FOUND, Exit::Failed),
            (&code::INVALID, Exit::Failed),
            (&code::STORE_UNAVAILABLE, Exit::Failed),
        ] {
            assert_eq!(exit_of(code), exit, "{}", code.id);
        }
    }
}
