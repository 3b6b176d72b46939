//! What became of a statement.

use super::pending::Run;
use super::relations::Relations;

/// What became of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The statement's number.
    pub number: u64,
    /// What the caller gave with the message that ran it.
    pub mark: u64,
    /// Command tags as the server sent them, one for each statement of a Query.
    pub tags: Vec<String>,
    /// Rows that the tags speak of, all together; of a statement that was suspended or failed, the rows sent.
    pub rows: u64,
    /// Tables that its rows come from, as their descriptions said.
    pub relations: Relations,
    /// The error, when there was one.
    pub error: Option<ServerError>,
    /// Anything else that is to be said.
    pub note: Option<Note>,
}

impl Outcome {
    pub(super) fn of(run: Run, note: Note) -> Self {
        let Run { number, mark } = run;
        let relations = Relations::default();
        Self { number, mark, tags: Vec::new(), rows: 0, relations, error: None, note: Some(note) }
    }
}

/// An error as the server reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// SQLSTATE.
    pub sqlstate: String,
    /// Primary message.
    pub message: String,
}

/// What neither a tag nor an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The portal has more rows; another Execute may read on.
    Suspended,
    /// The server did not run it, because something before it in the same unit failed.
    Skipped,
    /// It had ended well, but the commit of its unit failed: it has no effect.
    CommitFailed,
    /// The session ended before the server said.
    Unknown,
}

impl Note {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Skipped => "skipped",
            Self::CommitFailed => "commit failed",
            Self::Unknown => "unknown",
        }
    }
}
