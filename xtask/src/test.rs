//! What must hold before a change is taken, part by part, with the wall time of each.

mod report;
mod runner;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::packages::{self, For};
use crate::{deny, shell, stack, tidy};
use report::Report;

/// How much of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Without what starts servers.
    Quick,
}

/// Everything, in the order in which a breach is cheapest to find. A part that fails does not stop the next.
pub(crate) fn run(extent: Extent) -> Result<()> {
    let mut report = Report::new();
    checks(&mut report);
    match extent {
        Extent::Quick => {
            report.tests("unit tests", || runner::unit(runner::Servers::Without));
        }
        Extent::Whole => {
            if report.check("packages", || packages::ensure(For::Tests)) {
                with_servers(&mut report);
            }
        }
    }
    report.conclude()
}

/// Stories that the whole run tells in brief, at full length.
#[derive(Clone, Copy)]
pub(crate) enum Long<'a> {
    /// `kill -9`, so often.
    Kills { rounds: &'a str },
    /// Every write and sync of a day fails once.
    FailingDisk { fault: &'a str },
}

pub(crate) fn long(story: Long<'_>) -> Result<()> {
    let (name, setting, value) = match story {
        Long::Kills { rounds } => {
            ("kill_minus_nine_loses_nothing", "PORTCULLIS_KILL_ROUNDS", rounds)
        }
        Long::FailingDisk { fault } => {
            ("whichever_write_or_sync_fails", "PORTCULLIS_FAILING_DISK", fault)
        }
    };
    packages::ensure(For::Tests)?;
    let programs = build::programs(Profile::Dev, &[build::PORTCULLIS])?;
    let [portcullis] = programs.as_slice() else { anyhow::bail!("nothing was built") };
    let words =
        ["test", "--locked", "--package", "e2e", "--test", "e2e", name, "--", "--nocapture"];
    shell::run(shell::cargo(words).env("PORTCULLIS_BIN", portcullis).env(setting, value))
}

/// What needs no running program.
pub(crate) fn lint() -> Result<()> {
    let mut report = Report::new();
    checks(&mut report);
    report.conclude()
}

fn checks(report: &mut Report) {
    report.check("formatting", || shell::run(&mut shell::cargo(["fmt", "--all", "--check"])));
    report.check("tidy", tidy::run);
    report.check("dependency policy", deny::run);
    report.check("clippy", || {
        let driver = shell::checkout().join(".cargo/clippy");
        let arguments = ["check", "--workspace", "--all-targets", "--locked", "--quiet"];
        shell::run(shell::cargo(arguments).env("RUSTC_WORKSPACE_WRAPPER", driver))
    });
    report.check("documentation", || {
        let arguments = ["doc", "--workspace", "--no-deps", "--locked", "--quiet"];
        shell::run(shell::cargo(arguments).env("RUSTDOCFLAGS", "-D warnings"))
    });
}

fn with_servers(report: &mut Report) {
    let mut programs = Vec::new();
    let built = report.check("build", || {
        programs = build::programs(Profile::Dev, &[build::PORTCULLIS, build::STACK])?;
        Ok(())
    });
    let [portcullis, kit] = programs.as_slice() else { return };
    if !built {
        return;
    }
    report.check("reference", || stack::check_reference(portcullis));
    report.tests("unit tests", || runner::unit(runner::Servers::With { portcullis }));
    report.tests("documentation tests", runner::documentation);
    report.tests("end to end", || {
        let shared = SharedStack::start(kit.clone(), portcullis)?;
        runner::end_to_end(portcullis, &shared.directory)
    });
    report.check("demo", || {
        shell::run(Command::new(kit).arg("demo").env("PORTCULLIS_BIN", portcullis))
    });
}

/// The stack that end-to-end tests share when they do not disturb one another.
struct SharedStack {
    kit: PathBuf,
    directory: PathBuf,
}

impl SharedStack {
    fn start(kit: PathBuf, portcullis: &PathBuf) -> Result<Self> {
        let name = format!("portcullis-e2e-{}", std::process::id());
        let shared = Self { kit, directory: std::env::temp_dir().join(name) };
        let arguments = ["--ordinary", "--fsync", "off", "--dir"];
        shell::run(
            Command::new(&shared.kit)
                .arg("up")
                .args(arguments)
                .arg(&shared.directory)
                .env("PORTCULLIS_BIN", portcullis),
        )
        .context("the shared stack does not start")?;
        Ok(shared)
    }
}

impl Drop for SharedStack {
    fn drop(&mut self) {
        let mut down = Command::new(&self.kit);
        if let Err(error) = shell::run(down.arg("down").arg("--dir").arg(&self.directory)) {
            println!("the shared stack stays behind: {error:#}");
        }
    }
}

/// Takes the present output as what snapshots expect.
pub(crate) fn bless() -> Result<()> {
    packages::ensure(For::Tests)?;
    let programs = build::programs(Profile::Dev, &[build::PORTCULLIS])?;
    let [portcullis] = programs.as_slice() else { anyhow::bail!("nothing was built") };
    stack::write_reference(portcullis)?;
    shell::run(
        shell::cargo(["test", "--workspace", "--locked", "--no-fail-fast"])
            .env("INSTA_UPDATE", "always")
            .env("PORTCULLIS_BIN", portcullis),
    )
}
