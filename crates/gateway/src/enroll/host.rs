//! The enrolment's hands: looks at the server, applies a plan, takes it back. Runs on the server's own host and talks to
//! it over the unix socket as the account that the server runs as.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{CLIENT_AUTHORITY_FILE, Change, EnrollInput, Observed, Plan, Step};
use crate::provision::pg::enrolment::{ADMISSION_ERRORS, OBSERVE_DATABASE, OBSERVE_SERVER, RELOAD};

/// What was done, in the data directory, so that it can be taken back.
const JOURNAL_FILE: &str = "portcullis-enrolment.json";

/// Looks at whether the server has read its files again; each look is a connection and takes some 20 ms.
const RELOAD_LOOKS_MAX: u32 = 250;

/// Where the server is on this host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its data directory.
    pub data_directory: PathBuf,
    /// Where its unix socket is.
    pub socket_directory: PathBuf,
    /// The operating system account that it runs as.
    pub os_user: String,
    /// The superuser that this account becomes; the account's own name when absent.
    pub superuser: Option<String>,
}

/// Why the host could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server does not run, or not from this directory.
    #[error("{0} names no port: the server does not run from this directory")]
    NotRunning(PathBuf),
    /// The account cannot come in.
    #[error(
        "the server's own account cannot come in over the unix socket; put the line `local all {superuser} peer` first \
         in pg_hba.conf, reload the server and repeat: {said}"
    )]
    NoWayIn {
        /// The superuser that was asked for.
        superuser: String,
        /// What the server said.
        said: String,
    },
    /// The server refused a statement.
    #[error("database `{database}` refused: {said}")]
    Sql {
        /// In which database.
        database: String,
        /// What it said.
        said: String,
    },
    /// The server cannot read the new admission rules; the former file is back.
    #[error("the server cannot read the new pg_hba.conf ({0}); the former one is back")]
    Admission(String),
    /// The server did not read its files again in time.
    #[error("the server has not read its changed files; look at its log")]
    NotReloaded,
    /// The answer, or the journal, is not what it should be.
    #[error("{what} cannot be read: {source}")]
    Unreadable {
        /// Which.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// One thing that can be taken back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Done {
    File { path: PathBuf, before: Option<String> },
    Sql { database: String, undo: Vec<String> },
}

/// What the server says now; fills [`EnrollInput::observed`].
pub fn observe(host: &Host, maintenance_database: &str) -> Result<Observed, HostError> {
    let answer = host.psql(maintenance_database, OBSERVE_SERVER)?;
    let mut observed: Observed = parse("the server's answer", &answer)?;
    for database in &mut observed.databases {
        let answer = host.psql(&database.name, OBSERVE_DATABASE)?;
        database.schemas = parse("the database's answer", &answer)?;
    }
    observed.hba = read(Path::new(&observed.hba_file))?.unwrap_or_default();
    observed.client_authorities = read(&host.data_directory.join(CLIENT_AUTHORITY_FILE))?;
    let certificate = host.data_directory.join(&observed.ssl_cert_file);
    observed.has_certificate = read(&certificate)?.is_some();
    Ok(observed)
}

/// Applies the plan's steps in order; what was done is in the journal before it is done.
pub fn apply(plan: &Plan, host: &Host) -> Result<(), HostError> {
    apply_steps(&plan.steps, host)
}

/// Applies [`super::offer`]: nobody comes in over the unix socket any more.
pub fn close_local_door(input: &EnrollInput, host: &Host) -> Result<(), HostError> {
    let Some(step) = super::offer(input) else { return Ok(()) };
    let mut journal = host.journal()?;
    host.apply_step(&step, &mut journal)?;
    host.signal_reload()
}

fn apply_steps(steps: &[Step], host: &Host) -> Result<(), HostError> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut journal = host.journal()?;
    for step in steps {
        host.apply_step(step, &mut journal)?;
    }
    host.reload()
}

/// Takes back everything that was applied here, latest first. Nothing happens when nothing was.
pub fn undo(host: &Host) -> Result<(), HostError> {
    let mut journal = host.journal()?;
    while let Some(done) = journal.last() {
        match done {
            Done::File { path, before: Some(before) } => {
                host.write(path, before)?;
                host.signal_reload()?;
                host.wait_for_the_way_in()?;
            }
            Done::File { path, before: None } => remove(path)?,
            Done::Sql { database, undo } => {
                for statement in undo {
                    host.psql(database, &format!("{statement};\n"))?;
                }
            }
        }
        journal.pop();
        host.keep(&journal)?;
    }
    remove(&host.data_directory.join(JOURNAL_FILE))?;
    host.reload()
}

impl Host {
    fn superuser(&self) -> &str {
        self.superuser.as_deref().unwrap_or(&self.os_user)
    }

    fn apply_step(&self, step: &Step, journal: &mut Vec<Done>) -> Result<(), HostError> {
        match &step.change {
            Change::File { path, content } => {
                let path = self.data_directory.join(path);
                let before = read(&path)?;
                // The first state counts, also when the plan is applied again.
                let known = journal.iter().any(
                    |done| matches!(done, Done::File { path: earlier, .. } if *earlier == path),
                );
                if !known {
                    journal.push(Done::File { path: path.clone(), before: before.clone() });
                    self.keep(journal)?;
                }
                self.write(&path, content)?;
                self.check_admission(&path, before.as_deref())
            }
            Change::Sql { database, statements, undo } => {
                journal.push(Done::Sql { database: database.clone(), undo: undo.clone() });
                self.keep(journal)?;
                self.psql(database, &script(statements)).map(|_| ())
            }
        }
    }

    /// The server parses the file as it lies there, before it counts.
    fn check_admission(&self, path: &Path, before: Option<&str>) -> Result<(), HostError> {
        let said = self.psql("postgres", ADMISSION_ERRORS)?;
        if said.is_empty() {
            return Ok(());
        }
        match before {
            Some(before) => self.write(path, before)?,
            None => remove(path)?,
        }
        Err(HostError::Admission(said))
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, HostError> {
        let port = self.port()?.to_string();
        let mut command = self.command("psql");
        command
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .args(["-U", self.superuser(), "-d", database, "-p", &port])
            .arg("-h")
            .arg(&self.socket_directory);
        let output = feed(command, sql)
            .map_err(|source| HostError::File { path: PathBuf::from("psql"), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // psql's exit code for a connection that was not opened or got lost.
        if output.status.code() == Some(2) {
            return Err(HostError::NoWayIn { superuser: self.superuser().to_owned(), said });
        }
        Err(HostError::Sql { database: database.to_owned(), said })
    }

    /// As the server's account: `peer` asks the kernel who is at the other end.
    fn command(&self, program: &str) -> Command {
        let runs_as_it = fs::metadata("/proc/self").map(|me| me.uid()).ok()
            == fs::metadata(&self.data_directory).map(|data| data.uid()).ok();
        let mut command = if runs_as_it {
            Command::new(program)
        } else {
            let mut command = Command::new("runuser");
            command.args(["-u", &self.os_user, "--", program]);
            command
        };
        command.current_dir("/").env("LC_ALL", "C").env("PGOPTIONS", "");
        command
    }

    fn postmaster_line(&self, number: usize) -> Result<String, HostError> {
        let path = self.data_directory.join("postmaster.pid");
        let text = read(&path)?.unwrap_or_default();
        let line = text.lines().nth(number).map(str::trim).filter(|line| !line.is_empty());
        line.map(str::to_owned).ok_or(HostError::NotRunning(path))
    }

    fn port(&self) -> Result<u16, HostError> {
        let line = self.postmaster_line(3)?;
        line.parse().map_err(|_| HostError::NotRunning(self.data_directory.join("postmaster.pid")))
    }

    /// Makes the server read its files, and waits until it has.
    fn reload(&self) -> Result<(), HostError> {
        const WHEN: &str = "SELECT pg_catalog.pg_conf_load_time();\n";
        let before = self.psql("postgres", WHEN)?;
        self.psql("postgres", RELOAD)?;
        for _ in 0..RELOAD_LOOKS_MAX {
            if self.psql("postgres", WHEN)? != before {
                return Ok(());
            }
        }
        Err(HostError::NotReloaded)
    }

    /// The same without a connection.
    fn signal_reload(&self) -> Result<(), HostError> {
        let pid = self.postmaster_line(0)?;
        let mut command = self.command("kill");
        command.args(["-HUP", &pid]);
        let output = feed(command, "")
            .map_err(|source| HostError::File { path: PathBuf::from("kill"), source })?;
        if output.status.success() { Ok(()) } else { Err(HostError::NotReloaded) }
    }

    fn wait_for_the_way_in(&self) -> Result<(), HostError> {
        for _ in 0..RELOAD_LOOKS_MAX {
            match self.psql("postgres", "SELECT 1;\n") {
                Err(HostError::NoWayIn { .. }) => {}
                other => return other.map(|_| ()),
            }
        }
        Err(HostError::NotReloaded)
    }

    fn journal(&self) -> Result<Vec<Done>, HostError> {
        match read(&self.data_directory.join(JOURNAL_FILE))? {
            Some(text) => parse("the enrolment's journal", &text),
            None => Ok(Vec::new()),
        }
    }

    fn keep(&self, journal: &[Done]) -> Result<(), HostError> {
        let path = self.data_directory.join(JOURNAL_FILE);
        let text = serde_json::to_string_pretty(journal)
            .map_err(|source| HostError::Unreadable { what: path.display().to_string(), source })?;
        self.write(&path, &text)
    }

    /// Whole or not at all, with the owner and mode of the file that it replaces, else of the data directory.
    fn write(&self, path: &Path, content: &str) -> Result<(), HostError> {
        let fresh = path.with_extension("portcullis-new");
        let write = || -> io::Result<()> {
            let (owner, mode) = match fs::metadata(path) {
                Ok(file) => (file, None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (fs::metadata(&self.data_directory)?, Some(0o600))
                }
                Err(error) => return Err(error),
            };
            remove_if_there(&fresh)?;
            let mode = mode.unwrap_or_else(|| owner.mode() & 0o7777);
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(mode).open(&fresh)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            chown(&fresh, Some(owner.uid()), Some(owner.gid()))?;
            fs::rename(&fresh, path)?;
            path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
        };
        write().map_err(|source| HostError::File { path: path.to_owned(), source })
    }
}

/// One transaction, but `ALTER SYSTEM` cannot be in one.
fn script(statements: &[String]) -> String {
    let lines = format!("{};\n", statements.join(";\n"));
    if statements.iter().any(|statement| statement.starts_with("ALTER SYSTEM")) {
        lines
    } else {
        format!("BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n{lines}COMMIT;\n")
    }
}

fn feed(mut command: Command, input: &str) -> io::Result<std::process::Output> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output()
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, HostError> {
    serde_json::from_str(text)
        .map_err(|source| HostError::Unreadable { what: what.to_owned(), source })
}

fn read(path: &Path) -> Result<Option<String>, HostError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HostError::File { path: path.to_owned(), source }),
    }
}

fn remove(path: &Path) -> Result<(), HostError> {
    remove_if_there(path).map_err(|source| HostError::File { path: path.to_owned(), source })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
