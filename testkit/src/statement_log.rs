//! The server's own statement log, and its comparison with the audit log by a program that shares no code with us.

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::stack::Stack;
use crate::{program, wait};

const FOLDER: &str = "statement-log";
const WITHIN: Duration = Duration::from_secs(30);
/// A superuser who comes in around the gateway, for comparison.
pub const AROUND: &str = "around";
/// Whose statements the gateway does not see: the server's own superuser, that one, and the gateway's own user.
const NOT_OURS: [&str; 3] = ["postgres", AROUND, "portcullis_provisioner"];

/// Settings with which the server logs every message that runs something, one JSON object a line.
pub fn settings() -> Vec<(String, String)> {
    [
        ("logging_collector", "on"),
        ("log_destination", "jsonlog"),
        ("log_directory", FOLDER),
        ("log_filename", "server"),
        ("log_rotation_age", "0"),
        ("log_rotation_size", "0"),
        ("log_error_verbosity", "verbose"),
        ("log_statement", "all"),
        ("log_min_duration_statement", "0"),
        ("log_replication_commands", "on"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Whether both logs agree, and what the comparison printed.
#[derive(Clone, Debug)]
pub struct Agreement {
    pub agrees: bool,
    pub printed: String,
}

/// Compares them, when every session has ended and both logs are written.
pub fn compare(stack: &Stack, audit_log: &Path) -> Result<Agreement> {
    let server_log = written(stack)?;
    wait_for_ends(audit_log)?;
    let mut command = program::clean("python3");
    command.arg(script()).arg("--server-log").arg(server_log).arg("--audit-log").arg(audit_log);
    for user in NOT_OURS {
        command.args(["--except-user", user]);
    }
    let said = program::run(&mut command)?;
    match said.code {
        0 | 1 => Ok(Agreement { agrees: said.ok(), printed: said.stdout.trim_end().to_owned() }),
        _ => bail!("{said}"),
    }
}

/// Until every session that was opened has ended, by the audit log.
pub fn wait_for_ends(audit_log: &Path) -> Result<()> {
    wait::try_until(WITHIN, || all_ended(audit_log).ok().filter(|ended| *ended))
        .context("a session has no end in the audit log")
        .map(drop)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/completeness/compare.py")
}

/// The log, up to a statement of now: the collector writes lines in the order in which it gets them.
fn written(stack: &Stack) -> Result<PathBuf> {
    let log = stack.postgres.data_directory().join(FOLDER).join("server.json");
    let length = fs::metadata(&log).context("the server does not log its statements")?.len();
    let marker = format!("the log up to byte {length}");
    stack.postgres.psql("postgres", &format!("select '{marker}'"))?;
    let seen = || {
        let mut file = fs::File::open(&log).ok()?;
        file.seek(std::io::SeekFrom::Start(length)).ok()?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).ok()?;
        String::from_utf8_lossy(&tail).contains(&marker).then_some(())
    };
    wait::try_until(WITHIN, seen).context("the server's log does not get on")?;
    Ok(log)
}

fn all_ended(audit_log: &Path) -> Result<bool> {
    let (mut opened, mut ended) = (0_usize, 0_usize);
    for segment in segments(audit_log)? {
        let text = fs::read_to_string(segment)?;
        opened += text.matches("\"type\":\"sessionOpened\"").count();
        ended += text.matches("\"type\":\"sessionEnded\"").count();
    }
    ensure!(opened > 0, "no session was opened");
    Ok(opened == ended)
}

fn segments(audit_log: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(audit_log)?.flatten().map(|entry| entry.path());
    let numbered = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "log")
            && path
                .file_stem()
                .is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let mut segments: Vec<_> = listed.filter(numbered).collect();
    segments.sort();
    Ok(segments)
}

/// A copy of the log without one record in the middle: of a statement that ran, and of its outcome.
pub fn without_one_statement(audit_log: &Path) -> Result<tempfile::TempDir> {
    let copy = tempfile::Builder::new().prefix("portcullis-audit-").tempdir()?;
    let segments = segments(audit_log)?;
    let texts = segments.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
    let ran: Vec<&str> =
        lines.iter().filter(|line| line.contains("\"type\":\"statement\"")).copied().collect();
    let removed = *ran.get(ran.len() / 2).context("the log holds no statement")?;
    let key = key(removed)?;
    let of_it = |line: &str| {
        line.contains("\"type\":\"statement") && self::key(line).is_ok_and(|it| it == key)
    };
    for (segment, text) in segments.iter().zip(&texts) {
        let kept = text.lines().filter(|line| !of_it(line));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        let name = segment.file_name().context("a segment without a name")?;
        fs::write(copy.path().join(name), kept)?;
    }
    Ok(copy)
}

/// Session and number of a statement's record, or of its outcome's.
fn key(line: &str) -> Result<(String, String)> {
    let (_, json) = line.split_once(' ').context("a line without a hash")?;
    let event: serde_json::Value = serde_json::from_str(json)?;
    let part = |name: &str| event.get(name).map(ToString::to_string);
    Ok((part("session").context("no session")?, part("number").context("no number")?))
}
