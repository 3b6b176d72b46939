//! Processes that must not outlive what started them, and processes that must.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A process, told from a later one that got the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: u32,
    /// In clock ticks since the machine's start (`proc(5)`, field 22 of `stat`).
    pub started: String,
}

impl Identity {
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command's name in parentheses and may hold spaces.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let state = fields.first()?;
        if *state == "Z" {
            return None;
        }
        Some(Self { pid, started: (*fields.get(19)?).to_owned() })
    }

    pub fn runs(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Whether it reached it: a process that is gone gets nothing.
    pub fn signal(&self, signal: Signal) -> bool {
        let number = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        number.is_some_and(|pid| self.runs() && kill_process(pid, signal).is_ok())
    }

    /// What it started and what still runs, not what those started.
    pub fn children(&self) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| parent(*pid) == Some(self.pid)).filter_map(Self::of).collect()
    }

    /// As Ctrl-C does.
    pub fn interrupt(&self) -> bool {
        self.signal(Signal::INT)
    }

    /// As an orchestrator or systemd does.
    pub fn terminate(&self) -> bool {
        self.signal(Signal::TERM)
    }

    /// As a crash would.
    pub fn kill(&self) -> bool {
        self.signal(Signal::KILL)
    }

    /// Asks it to stop, and ends it when it does not in time.
    pub fn stop(&self, within: Duration) {
        self.signal(Signal::TERM);
        if wait::try_until(within, || (!self.runs()).then_some(())).is_none() {
            self.signal(Signal::KILL);
            wait::try_until(Duration::from_secs(5), || (!self.runs()).then_some(()));
        }
    }
}

/// Lets this process have as many files and sockets as it may: load generators hold thousands.
pub fn raise_descriptor_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    raised.context("the limit of open files cannot be raised")
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// A program that runs beside us, its output in a file.
#[derive(Debug)]
pub struct Running {
    child: Child,
    identity: Identity,
}

impl Running {
    /// Starts it in a session of its own: a Ctrl-C at the terminal is for us, who then end it in order.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let identity = Identity::of(child.id()).context("it ended at once")?;
        Ok(Self { child, identity })
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How it ended; nothing while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to stop and waits for it.
    pub fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.identity.signal(Signal::TERM);
        match wait::try_until(within, || self.ended()) {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// As a crash would.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.identity.signal(Signal::KILL);
        Ok(self.child.wait()?)
    }
}

/// Ends processes and removes folders when we die without having done so: it holds one end of a pipe whose other end
/// the kernel closes for us.
#[derive(Debug)]
pub struct Reaper {
    shell: Child,
    orders: Option<ChildStdin>,
}

/// Lines of `p PID` and `d FOLDER` are what to end; `done` means that nothing is left to do.
const SCRIPT: &str = r#"
pids= folders=
while read -r what which; do
  case $what in
    p) pids="$pids $which" ;;
    d) folders="$folders $which" ;;
    done) exit 0 ;;
  esac
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
for folder in $folders; do rm -rf -- "$folder"; done
"#;

impl Reaper {
    pub fn start() -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        let orders = shell.stdin.take();
        Ok(Self { shell, orders })
    }

    pub fn process(&mut self, identity: &Identity) -> Result<()> {
        self.tell(&format!("p {}", identity.pid))
    }

    pub fn folder(&mut self, folder: &Path) -> Result<()> {
        self.tell(&format!("d {}", folder.display()))
    }

    fn tell(&mut self, order: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the reaper was dismissed")?;
        writeln!(orders, "{order}").context("the reaper is gone")
    }

    /// Nothing is left to do.
    pub fn dismiss(&mut self) {
        // A reaper that is gone already has nothing to do either.
        drop(self.tell("done"));
        self.orders = None;
        drop(self.shell.wait());
    }
}

/// Opens a file that only we can read, replacing what was there.
pub fn private_file(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    if path.try_exists()? {
        fs::remove_file(path)?;
    }
    let mut options = OpenOptions::new();
    let file = options.create_new(true).write(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot create `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_identity_is_not_a_process_that_got_its_number() {
        let ours = Identity::of(std::process::id()).unwrap();
        assert!(ours.runs());
        let stale = Identity { pid: ours.pid, started: "1".to_owned() };
        assert!(!stale.runs());
        assert!(!stale.signal(Signal::KILL));
    }

    #[test]
    fn the_reaper_ends_what_a_dead_owner_left() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut sleeper = Running::start(Command::new("sleep").arg("600"), &log).unwrap();
        let doomed = folder.path().join("doomed");
        fs::create_dir(&doomed).unwrap();
        let mut reaper = Reaper::start().unwrap();
        reaper.process(sleeper.identity()).unwrap();
        reaper.folder(&doomed).unwrap();
        reaper.orders = None; // what the kernel does when we die
        reaper.shell.wait().unwrap();
        assert!(!doomed.try_exists().unwrap());
        wait::until(Duration::from_secs(5), "its end", || sleeper.ended());
    }

    #[test]
    fn a_dismissed_reaper_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut reaper = Reaper::start().unwrap();
        reaper.folder(folder.path()).unwrap();
        reaper.dismiss();
        assert!(folder.path().try_exists().unwrap());
    }
}
