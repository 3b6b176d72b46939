//! What a command changes of the session once the server has said OK: what it prepared, the character set of texts,
//! and the default database. Sessions that track their state are told by the server too.

use super::{Encoding, Note, Pending, Tracker};
use crate::mysql::frontend::{Body, Execute, Request};
use crate::mysql::lexer::Backslash;
use crate::mysql::local_infile;
use crate::mysql::statements::LAST;
use crate::part::Part;
use crate::sql::{self, Kind, Strings};

/// What follows from an OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// A statement is prepared; an error means that it is not.
    Prepares,
    /// What was prepared last is executed, perhaps before anyone knows whether it could be prepared.
    ExecutesLast,
    /// The session begins anew.
    Resets,
    /// Texts are in another character set.
    CharacterSet(String),
    /// Another database is the default.
    Database(Vec<u8>),
    /// These files of the client's may be asked for.
    Loads(Vec<Vec<u8>>),
}

/// No text that is longer is looked at: those that are meant have some words.
const TEXT_BYTES_MAX: usize = 256;

impl Effect {
    /// `files`: how texts are quoted, where a client's files may be asked for.
    pub(super) fn of(request: &Request<'_>, files: Option<Backslash>) -> Self {
        match (&request.body, request.command.code) {
            (Body::Query(query), _) => {
                of_text(&query.text).or_else(|| loads(&query.text, files?)).unwrap_or(Self::None)
            }
            (Body::Prepare(_), _) => Self::Prepares,
            (Body::Execute(Execute { statement: LAST, .. }), _) => Self::ExecutesLast,
            (Body::Database(name), 0x02) => Self::Database(name.to_vec()),
            (_, 0x1f) => Self::Resets,
            _ => Self::None,
        }
    }
}

fn loads(text: &Part<'_>, backslash: Backslash) -> Option<Effect> {
    let files = local_infile::files(text.start, backslash);
    (!files.is_empty()).then_some(Effect::Loads(files))
}

/// `USE name`, `SET NAMES name`, `SET CHARACTER SET name`, `SET [SESSION] character_set_client = name`, perhaps in the
/// comment that dumps put them in.
fn of_text(text: &Part<'_>) -> Option<Effect> {
    let start = text.start.trim_ascii_start();
    let start = start.strip_prefix(b"/*!").map_or(start, |run| {
        let digits = run.iter().take_while(|byte| byte.is_ascii_digit()).count();
        run.get(digits..).unwrap_or_default().trim_ascii_start()
    });
    let verb = start.first_chunk::<4>()?.map(|byte| byte.to_ascii_lowercase());
    if start.len() > TEXT_BYTES_MAX || !matches!(&verb, b"use " | b"use`" | b"set ") {
        return None;
    }
    let text = String::from_utf8_lossy(start);
    if verb.starts_with(b"use") {
        let name = text.get(3..)?.trim_matches(|c: char| c.is_whitespace() || "`;".contains(c));
        return Some(Effect::Database(name.as_bytes().to_vec()));
    }
    let words: Vec<_> = sql::tokens(&text, Strings::Standard)
        .filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
        .map(|token| token.text.to_ascii_lowercase())
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["set", "names" | "charset", name, ..]
        | ["set", "character", "set", name, ..]
        | ["set", "character_set_client", "=", name, ..]
        | ["set", "session" | "local", "character_set_client", "=", name, ..] => {
            let name = name.trim_matches(['\'', '"', '`']);
            let known = *words.last()? != "default" && name.starts_with(char::is_alphanumeric);
            Some(Effect::CharacterSet(if known { name } else { "unknown" }.to_owned()))
        }
        _ => None,
    }
}

/// `ER_UNKNOWN_STMT_HANDLER`.
const UNKNOWN_STATEMENT: u16 = 1243;

impl Tracker {
    /// The answer to the oldest command is over, and it went well.
    pub(super) fn answered(&mut self, note: Option<Note>) {
        let Some(front) = self.pending.pop_front() else {
            self.mismatch();
            return;
        };
        let progress = std::mem::take(&mut self.progress);
        let told = std::mem::take(&mut self.character_set_told);
        let Pending { run, effect, .. } = front;
        match effect {
            Effect::None | Effect::Prepares | Effect::ExecutesLast | Effect::Loads(_) => {}
            Effect::Resets => self.statements.clear(),
            // The server's own word counts for more.
            Effect::CharacterSet(_) if told => {}
            Effect::CharacterSet(name) => self.character_set(&name),
            Effect::Database(name) => self.database_is(&name),
        }
        if let Some(run) = run {
            self.outcomes.push_back(progress.of(run, note));
        }
    }

    pub(super) fn error(&mut self, error: &super::ErrorPacket<'_>, rows: u64) {
        // Unasked: the session ends.
        let Some(front) = self.pending.pop_front() else { return };
        let mut progress = std::mem::take(&mut self.progress);
        let rows = rows.saturating_sub(self.rows_before);
        progress.rows = progress.rows.saturating_add(rows);
        self.character_set_told = false;
        let error = super::ServerError {
            code: error.code,
            sqlstate: error.sqlstate().to_owned(),
            message: error.message(),
        };
        let cause = self.not_prepared.take();
        progress.error = match front.effect {
            Effect::Prepares => {
                self.statements.refused();
                self.not_prepared = Some(error);
                return;
            }
            // What could not be prepared cannot be executed either; why is what counts.
            Effect::ExecutesLast if error.code == UNKNOWN_STATEMENT && cause.is_some() => cause,
            _ => Some(error),
        };
        if let Some(run) = front.run {
            self.outcomes.push_back(progress.of(run, None));
        }
    }

    pub(super) fn character_set(&mut self, name: &str) {
        self.encoding = Encoding::of_character_set(name);
    }

    pub(super) fn database_is(&mut self, name: &[u8]) {
        self.database = Some(String::from_utf8_lossy(name).into_owned());
    }

    pub(super) fn mismatch(&mut self) {
        self.mismatches = self.mismatches.saturating_add(1);
    }

    /// The session is over: what has no outcome gets one.
    pub fn finish(&mut self) {
        while let Some(front) = self.pending.pop_front() {
            let progress = std::mem::take(&mut self.progress);
            if let Some(run) = front.run {
                self.outcomes.push_back(progress.of(run, Some(Note::Unknown)));
            }
        }
    }
}
