//! How the demo shows what it does: commands as a person types them, their real output, and claims that are checked.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use model::Timestamp;
use testkit::program::{self, Said};

/// Where it all is shown.
pub(crate) struct Stage {
    colours: bool,
    broken: Vec<String>,
}

/// Someone at a terminal.
pub(crate) struct Actor {
    pub(crate) name: &'static str,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
}

impl Actor {
    pub(crate) fn shell(&self, command: &str) -> Command {
        let mut shell = program::clean("sh");
        shell.args(["-c", command]).current_dir(&self.folder);
        shell.envs(self.environment.iter().map(|(name, value)| (name, value)));
        shell
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let colours = std::io::stdout().is_terminal() && program::setting("NO_COLOR").is_none();
        Self { colours, broken: Vec::new() }
    }

    pub(crate) fn scene(&self, number: u32, title: &str) {
        println!("\n{}", self.paint("1;36", &format!("── {number}. {title}")));
    }

    pub(crate) fn say(&self, text: &str) {
        println!("{}", self.paint("2", &format!("# {text}")));
    }

    /// Runs what is shown, and shows what it says.
    pub(crate) fn run(&self, actor: &Actor, command: &str) -> Result<Said> {
        self.show(actor, command);
        let said = program::run(&mut actor.shell(command))?;
        for line in said.stdout.lines().chain(said.stderr.lines()) {
            println!("  {}", line.trim_end());
        }
        Ok(said)
    }

    /// The same for a command that goes on while others act.
    pub(crate) fn begin(&self, actor: &Actor, command: &str) -> Result<Beside> {
        self.show(actor, &format!("{command} &"));
        Beside::start(&mut actor.shell(command))
    }

    fn show(&self, actor: &Actor, command: &str) {
        println!(
            "{} {}",
            self.paint("1;32", &format!("{}$", actor.name)),
            self.paint("1", command)
        );
    }

    /// What the demo says is so. Where it is not, the demo fails at its end.
    pub(crate) fn claim(&mut self, text: &str, holds: bool) {
        if holds {
            println!("{} {text}", self.paint("32", "✓"));
        } else {
            println!("{} {text}", self.paint("1;31", "✗ NOT SO:"));
            self.broken.push(text.to_owned());
        }
    }

    pub(crate) fn conclude(self) -> Result<()> {
        if self.broken.is_empty() {
            return Ok(());
        }
        bail!("the demo claimed what is not so:\n  {}", self.broken.join("\n  "));
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A command that goes on while others act. Its end is told with the moment at which it was read.
pub(crate) struct Beside {
    child: Child,
    lines: Receiver<(Timestamp, String)>,
}

const LINES_MAX: usize = 1000;

impl Beside {
    fn start(command: &mut Command) -> Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().context("cannot run sh")?;
        // The command holds the pipe's other end open until it is given something else.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if sender.send((wall_clock(), line)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Shows lines until one holds this text; when that one was read.
    pub(crate) fn read_until(&self, text: &str, within: Duration) -> Result<Timestamp> {
        let deadline = testkit::wait::now() + within;
        loop {
            let left = deadline.saturating_duration_since(testkit::wait::now());
            let Ok((at, line)) = self.lines.recv_timeout(left) else {
                bail!("`{text}` did not come within {within:?}");
            };
            println!("  {line}");
            if line.contains(text) {
                return Ok(at);
            }
        }
    }

    /// Shows the rest; its exit code.
    pub(crate) fn finish(mut self) -> Result<i32> {
        let status = self.child.wait()?;
        while let Ok((_, line)) = self.lines.recv_timeout(Duration::from_secs(1)) {
            println!("  {line}");
        }
        Ok(status.code().unwrap_or(-1))
    }
}

#[expect(clippy::disallowed_methods, reason = "what a person's own clock says is what is measured")]
fn wall_clock() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(now)
}
