//! What a command changes of the session once the server has said OK: what it prepared, the character set of texts,
//! and the default database. Sessions that track their state are told by the server too.

use super::{Encoding, Note, Pending, Told, Tracker};
use crate::mysql::frontend::{Body, Execute, Request};
use crate::mysql::lexer::{self, Backslash, significant};
use crate::mysql::local_infile;
use crate::mysql::sql::Conditional;
use crate::mysql::statements::{LAST, Statements};
use crate::part::Part;
use crate::sql::Kind;

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
    let text = text.start;
    if text.len() > TEXT_BYTES_MAX || has_doubtful_comment(text) {
        return None;
    }
    let tokens = || significant(text, Backslash::Escapes);
    if !tokens().next().is_some_and(|first| is(first.text, "use") || is(first.text, "set")) {
        return None;
    }
    let words: Vec<_> =
        tokens().map(|token| String::from_utf8_lossy(token.text).to_ascii_lowercase()).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["use", _, rest @ ..] if rest.iter().all(|sign| *sign == ";") => {
            tokens().nth(1).and_then(|name| used(name.kind, name.text)).map(Effect::Database)
        }
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

/// The name that `USE` is given.
fn used(kind: Kind, name: &[u8]) -> Option<Vec<u8>> {
    match kind {
        Kind::Word => Some(name.to_vec()),
        Kind::Quoted => {
            let name = name.strip_prefix(b"`")?.strip_suffix(b"`")?;
            // Doubled ones stand for one.
            let mut quotes = 0_usize;
            let kept = name.iter().filter(|byte| {
                quotes = if **byte == b'`' { quotes.saturating_add(1) } else { 0 };
                quotes.is_multiple_of(2)
            });
            Some(kept.copied().collect())
        }
        _ => None,
    }
}

fn has_doubtful_comment(text: &[u8]) -> bool {
    text.contains(&b'!')
        && lexer::tokens(text, Backslash::Escapes, Conditional::Runs).any(|token| {
            lexer::opening(token.text) == Some(token.text.len()) && !lexer::always_runs(token.text)
        })
}

fn is(word: &[u8], other: &str) -> bool {
    word.eq_ignore_ascii_case(other.as_bytes())
}

/// Whether the default database may be another afterwards, although the text does not say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unseen {
    No,
    /// Unless the server tells of one.
    UnlessTold,
    /// Even where the server tells of one: another may follow.
    Always,
}

/// USE among other statements, or run by what SQL prepared; and a database that is dropped is no longer the default.
/// Servers tell of it, unless that is turned off.
pub(super) fn unseen(request: &Request<'_>, effect: &Effect, statements: &Statements) -> Unseen {
    if matches!(effect, Effect::Database(_)) {
        return Unseen::No;
    }
    match &request.body {
        Body::Query(query) => unseen_in(query.text, statements.backslash),
        Body::Execute(execute) => {
            statements.text(execute.statement).map_or(Unseen::UnlessTold, |prepared| {
                unseen_in(prepared.text.part(), prepared.backslash)
            })
        }
        Body::Database(_) if request.command.code == 0x06 => Unseen::UnlessTold,
        _ => Unseen::No,
    }
}

fn unseen_in(text: Part<'_>, backslash: Backslash) -> Unseen {
    let start = text.start.trim_ascii_start();
    let verb = start.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let verb = start.get(..verb).unwrap_or_default();
    let hidden = start.starts_with(b"/*") || start.starts_with(b"-") || start.starts_with(b"#");
    // Most texts are one statement that begins with what it does.
    if !hidden && !start.contains(&b';') && !VERBS.iter().any(|one| is(verb, one)) {
        return Unseen::No;
    }
    let (mut unseen, mut statements, mut executes) = (!text.is_whole(), 0_usize, false);
    let mut tokens = significant(start, backslash).peekable();
    let mut begins = true;
    let mut anywhere = false;
    while let Some(token) = tokens.next() {
        if token.text == b";" {
            begins = true;
            continue;
        }
        if begins {
            statements = statements.saturating_add(1);
        }
        if (begins || anywhere) && token.kind == Kind::Word {
            let next = tokens.peek().map(|next| next.text).unwrap_or_default();
            executes |= is(token.text, "execute");
            unseen |= is(token.text, "use")
                || is(token.text, "execute")
                || is(token.text, "drop") && (is(next, "database") || is(next, "schema"));
            // `SET STATEMENT … FOR`, which another statement follows.
            anywhere |= is(token.text, "set") && is(next, "statement");
        }
        begins = false;
    }
    match (unseen, executes && statements > 1) {
        (false, _) => Unseen::No,
        (true, false) => Unseen::UnlessTold,
        (true, true) => Unseen::Always,
    }
}

/// With which a statement may begin that changes the default database.
const VERBS: &[&str] = &["use", "execute", "drop", "set"];

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
        let told = std::mem::take(&mut self.told);
        let Pending { run, effect, unseen, .. } = front;
        self.database_after(unseen, told);
        match effect {
            Effect::None | Effect::Prepares | Effect::ExecutesLast | Effect::Loads(_) => {}
            Effect::Resets => self.statements.clear(),
            // The server's own word counts for more.
            Effect::CharacterSet(_) if told.character_set => {}
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
        let told = std::mem::take(&mut self.told);
        self.database_after(front.unseen, told);
        let mut progress = std::mem::take(&mut self.progress);
        let rows = rows.saturating_sub(self.rows_before);
        progress.rows = progress.rows.saturating_add(rows);
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
        let name = String::from_utf8_lossy(name);
        if self.database_doubtful || self.database.as_deref() != Some(&name) {
            self.statements.another_database();
            self.database = Some(name.into_owned());
        }
        self.database_doubtful = false;
    }

    fn database_after(&mut self, unseen: Unseen, told: Told) {
        self.database_doubtful |= match unseen {
            Unseen::No => false,
            Unseen::UnlessTold => !told.database,
            Unseen::Always => true,
        };
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
