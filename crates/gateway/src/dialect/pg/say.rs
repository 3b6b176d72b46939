//! How a refusal, a cut and a notice are spelled.

use model::{Refusal, SessionId, Timestamp};
use wire::pg::error::{Report, Severity};

/// ErrorResponse FATAL: the code stands before the message, so that people can quote it and programs can match it.
pub(crate) fn refusal(refusal: &Refusal, session: SessionId) -> Vec<u8> {
    fatal(refusal, refusal.code.sqlstate, session)
}

/// The end of an OAUTHBEARER exchange: PostgreSQL itself says 28000 there, and 28P01 of passwords only.
pub(super) fn failed_authentication(refusal: &Refusal, session: SessionId) -> Vec<u8> {
    fatal(refusal, "28000", session)
}

fn fatal(refusal: &Refusal, sqlstate: &str, session: SessionId) -> Vec<u8> {
    let message = refusal.to_string();
    let detail = format!("session {session}");
    Report {
        severity: Severity::Fatal,
        sqlstate,
        message: &message,
        detail: Some(&detail),
        hint: refusal.hint.as_deref(),
    }
    .encode()
}

/// NoticeResponse: access ends then.
pub(crate) fn ends_soon(end: Timestamp, now: Timestamp) -> Vec<u8> {
    let minutes = end.since(now).as_secs().div_ceil(60);
    notice(&format!(
        "Portcullis: access ends at {end} ({minutes} min left), and this session with it"
    ))
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
