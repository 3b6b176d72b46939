//! Running a program and looking at all that it said.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    pub command: String,
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Its standard output, trimmed; an error with all that it said when it did not succeed.
    pub fn expect_success(self) -> Result<String> {
        if self.ok() { Ok(self.stdout.trim_end().to_owned()) } else { bail!("{self}") }
    }

    /// All that it said; an error when it succeeded.
    pub fn expect_failure(self, code: i32) -> Result<Self> {
        if self.code == code { Ok(self) } else { bail!("expected exit code {code}: {self}") }
    }

    /// Both outputs.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    pub fn json(self) -> Result<Value> {
        let text = self.expect_success()?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ended with {}\n{}{}", self.command, self.code, self.stdout, self.stderr)
    }
}

/// Runs it to its end.
pub fn run(command: &mut Command) -> Result<Said> {
    feed(command, "")
}

/// Runs it to its end with this on its standard input.
pub fn feed(command: &mut Command, input: &str) -> Result<Said> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let mut stdin = child.stdin.take().context("its input was not piped")?;
    let input = input.as_bytes().to_vec();
    // Beside the reading: neither side may wait for the other to empty its pipe. A program that does not read its input
    // closes it; that is no failure.
    let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output()?;
    if writer.join().is_err() {
        bail!("the input of `{shown}` could not be written");
    }
    Ok(Said {
        command: shown,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Variables that would lead a program elsewhere than to the stack under test.
const FOREIGN: &[&str] = &["AZURE_", "PORTCULLIS_", "PG", "MYSQL_", "MARIADB_", "SSL_CERT_FILE"];

/// A command without what the caller's environment would tell it about other installations.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    forget_others(&mut command);
    command
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .env_remove("LANGUAGE")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Takes away what the caller's environment would tell about other installations.
pub fn forget_others(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if FOREIGN.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

/// The binary under test: the one that was built for this run, never one that merely lies around.
pub fn binary() -> Result<PathBuf> {
    let path = setting("PORTCULLIS_BIN")
        .context("PORTCULLIS_BIN names no binary; `cargo xtask test` builds one and sets it")?;
    let path = Path::new(&path).canonicalize().with_context(|| format!("no binary at `{path}`"))?;
    Ok(path)
}

/// An environment variable, when it is set to something.
#[expect(clippy::disallowed_methods, reason = "tests are told by their environment what to test")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
