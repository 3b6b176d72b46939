//! The operating system user that throw-away servers run as.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::program;

/// An operating system user.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Present when we are root and have to change to it.
    change_to: Option<Ids>,
}

#[derive(Clone, Copy, Debug)]
struct Ids {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The user that the distribution's package made for its server when we are root, ourselves otherwise. Such a user
    /// cannot read root's files, and so not the gateway's.
    pub fn of_package(user: &str) -> Result<Self> {
        let uid = rustix::process::geteuid();
        let users = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        if uid.is_root() {
            let entry = find(&users, |entry| entry.first() == Some(&user));
            let (name, ids) =
                entry.with_context(|| format!("no user `{user}`; install the package"))?;
            return Ok(Self { name, change_to: Some(ids) });
        }
        let wanted = uid.as_raw().to_string();
        let entry = find(&users, |entry| entry.get(2) == Some(&wanted.as_str()));
        let (name, _) = entry.context("the current user is not in /etc/passwd")?;
        Ok(Self { name, change_to: None })
    }

    /// A command that runs as this user, in a directory that it may enter.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match self.change_to {
            Some(Ids { uid, gid }) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={uid}"))
                    .arg(format!("--regid={gid}"))
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir("/").env("LC_ALL", "C");
        program::forget_others(&mut command);
        command
    }

    /// Starts a server of the family of MySQL as this user, by this configuration file. Beside us, not below us: it may
    /// outlive us, and a Ctrl-C at the terminal is not for it.
    pub(crate) fn start_beside(&self, daemon: &Path, configuration: &Path) -> Result<()> {
        let daemon = self.command(daemon);
        let mut command = Command::new("sh");
        command
            .args(["-c", "\"$@\" &", "sh"])
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .arg(format!("--defaults-file={}", configuration.display()))
            .current_dir("/")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let status = command.status().context("cannot run sh")?;
        ensure!(status.success(), "the database server cannot be started");
        Ok(())
    }

    /// Makes a directory and all below it this user's, closed to others.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        let about = fs::symlink_metadata(path)?;
        if let Some(Ids { uid, gid }) = self.change_to {
            chown(path, Some(uid), Some(gid))?;
        }
        // A program stays one.
        let mode = if about.is_dir() { 0o700 } else { 0o600 | (about.mode() & 0o100) };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if about.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

fn find(users: &str, wanted: impl Fn(&[&str]) -> bool) -> Option<(String, Ids)> {
    users.lines().find_map(|line| {
        let entry: Vec<&str> = line.split(':').collect();
        let ids = Ids { uid: entry.get(2)?.parse().ok()?, gid: entry.get(3)?.parse().ok()? };
        wanted(&entry).then(|| entry.first().map(|name| ((*name).to_owned(), ids)))?
    })
}
