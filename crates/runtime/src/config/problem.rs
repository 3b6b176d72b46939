//! What is wrong with a YAML text, in our words.

use model::suggest;
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

/// One line, with the nearest known name where one was mistyped.
pub(super) fn describe(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("field", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("value", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
        other => DefaultMessageFormatter.format_message(other).into_owned(),
    }
}

fn unknown(what: &str, given: &str, expected: &[&'static str]) -> String {
    if let Some(known) = suggest::nearest(given, expected.iter().copied()) {
        return format!("`{given}` is not a {what} here; did you mean `{known}`?");
    }
    let known: Vec<String> = expected.iter().map(|name| format!("`{name}`")).collect();
    format!("`{given}` is not a {what} here; known are {}", known.join(", "))
}
