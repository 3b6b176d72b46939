//! How a refusal, a cut and a notice are spelled.

use model::{Refusal, SessionId};
use wire::pg::error::{Report, Severity};

/// ErrorResponse FATAL: the code stands before the message, so that people can quote it and programs can match it.
pub(crate) fn refusal(refusal: &Refusal, session: SessionId) -> Vec<u8> {
    let message = refusal.to_string();
    let detail = format!("session {session}");
    Report {
        severity: Severity::Fatal,
        sqlstate: refusal.code.sqlstate,
        message: &message,
        detail: Some(&detail),
        hint: refusal.hint.as_deref(),
    }
    .encode()
}

/// NoticeResponse.
pub(crate) fn notice(text: &str) -> Vec<u8> {
    Report {
        severity: Severity::Notice,
        sqlstate: "00000",
        message: text,
        detail: None,
        hint: None,
    }
    .encode()
}
