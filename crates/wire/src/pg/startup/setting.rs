//! Settings (GUCs) that a client gives at start-up, and which of them the gateway lets through.
//!
//! The rule: a setting goes to the server unchanged unless it would (a) make the session somebody else, (b) hide
//! statements from the server's own log or from its statistics, (c) load code, or (d) lift a protection of data. Most of
//! these need superuser inside the server anyway; they are refused here so that a member of an administrative role
//! cannot give them in a place that is not a statement and so is not audited as one. As statements they stay what they
//! are: recorded, and judged by the server.

use thiserror::Error;

/// What becomes of a start-up parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `user`, `database`, `options`, `replication`: the protocol's own.
    Protocol,
    /// `_pq_.…`: a protocol extension; none is known, so it is negotiated away and not sent on.
    Extension,
    /// A setting that may not be given at start-up, and why.
    Denied(&'static str),
    /// Any other setting.
    Passed,
}

const IDENTITY: &str = "it would change whose rights the session has";
const HIDES: &str = "it would hide statements from the server's log or statistics";
const LOADS: &str = "it would load code into the server";
const PROTECTS: &str = "it would lift a protection of the data";

/// Exact names, lower case.
const DENIED: [(&str, &str); 13] = [
    ("role", IDENTITY),
    ("session_authorization", IDENTITY),
    ("is_superuser", IDENTITY),
    ("row_security", PROTECTS),
    ("session_replication_role", PROTECTS),
    ("allow_system_table_mods", PROTECTS),
    ("ignore_system_indexes", PROTECTS),
    ("ignore_checksum_failure", PROTECTS),
    ("zero_damaged_pages", PROTECTS),
    ("event_triggers", PROTECTS),
    ("track_activities", HIDES),
    ("dynamic_library_path", LOADS),
    ("jit_provider", LOADS),
];

/// Names that begin so, lower case.
const DENIED_PREFIXES: [(&str, &str); 4] = [
    ("log_", HIDES),
    ("pgaudit.", HIDES),
    ("auto_explain.", HIDES),
    ("pg_stat_statements.", HIDES),
];

/// Names that end so, lower case.
const DENIED_SUFFIXES: [(&str, &str); 1] = [("_preload_libraries", LOADS)];

/// Says what becomes of a start-up parameter or of a name inside `options`. Names fold as PostgreSQL folds them.
pub fn class(name: &str) -> Class {
    let name = folded(name);
    if ["user", "database", "options", "replication"].contains(&name.as_str()) {
        return Class::Protocol;
    }
    if name.starts_with("_pq_.") {
        return Class::Extension;
    }
    let exact = DENIED.iter().find(|(denied, _)| name == *denied);
    let prefix = || DENIED_PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    let suffix = || DENIED_SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix));
    match exact.or_else(prefix).or_else(suffix) {
        Some((_, why)) => Class::Denied(why),
        None => Class::Passed,
    }
}

/// PostgreSQL compares names of settings without regard to case and, on its command line, takes `-` for `_`.
pub(crate) fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// A setting inside `options`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Why start-up parameters are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// A setting of the deny list.
    #[error("start-up option `{name}` is not allowed through the gateway: {why}")]
    Setting {
        /// Its name as given.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// A server switch other than `-c name=value` and `--name=value`.
    #[error(
        "`{argument}` in `options` is not allowed through the gateway: only `-c name=value` and `--name=value` are"
    )]
    Switch {
        /// The argument.
        argument: String,
    },
}

/// Takes `options` apart as PostgreSQL does: arguments end at white space, a backslash keeps the character after it.
pub fn options(text: &str) -> Result<Vec<Setting>, Denied> {
    let mut settings = Vec::new();
    let mut arguments = split(text).into_iter();
    while let Some(argument) = arguments.next() {
        let assignment = if argument == "-c" {
            arguments.next()
        } else {
            argument.strip_prefix("--").or_else(|| argument.strip_prefix("-c")).map(str::to_owned)
        };
        let setting = assignment.as_deref().and_then(|assignment| assignment.split_once('='));
        match setting {
            Some((name, value)) if !name.is_empty() => {
                settings.push(Setting { name: name.replace('-', "_"), value: value.to_owned() });
            }
            Some(_) | None => return Err(Denied::Switch { argument }),
        }
    }
    Ok(settings)
}

/// `pg_split_opts`.
fn split(text: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        // C's isspace in the C locale: a vertical tab counts, other Unicode space does not.
        if matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') {
            arguments.extend(current.take());
            continue;
        }
        let argument = current.get_or_insert_default();
        if character == '\\' {
            argument.extend(characters.next());
        } else {
            argument.push(character);
        }
    }
    arguments.extend(current);
    arguments
}

/// `parse_bool`: `on`, `off`, `1`, `0` and any beginning of `true`, `false`, `yes`, `no`.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str| !value.is_empty() && word.starts_with(value.as_str());
    match value.as_str() {
        "on" | "1" => Some(true),
        "off" | "of" | "0" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}
