//! The demo and the stacks: programs of the test kit, which this builds and runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::newest_mysql;
use crate::packages::{self, For};
use crate::shell::{self, Stopwatch};

pub(crate) fn demo(rest: &[&str]) -> Result<()> {
    if !matches!(rest, [] | ["--keep"]) {
        bail!("usage: cargo xtask demo [--keep]");
    }
    packages::ensure(For::Demo)?;
    run_kit("demo", rest)
}

pub(crate) fn up(rest: &[&str]) -> Result<()> {
    packages::ensure(For::Demo)?;
    run_kit("up", rest)
}

/// With the test kit that `up` has built, whatever has become of the sources since.
pub(crate) fn down(rest: &[&str]) -> Result<()> {
    let kit = match build::kept(Profile::Stack, build::STACK) {
        Some(kit) => kit,
        None => build::programs(Profile::Stack, &[build::STACK])?.swap_remove(0),
    };
    shell::run(Command::new(kit).arg("down").args(rest))
}

pub(crate) fn bench(rest: &[&str]) -> Result<()> {
    packages::ensure(For::Bench)?;
    let programs = build_loudly(Profile::Release, &[build::PORTCULLIS, build::BENCH])?;
    let [portcullis, bench] = programs.as_slice() else { bail!("nothing was built") };
    shell::run(Command::new(bench).args(rest).env("PORTCULLIS_BIN", portcullis))
}

/// What an append to the audit log takes.
pub(crate) fn append() -> Result<()> {
    let programs = build_loudly(Profile::Release, &[build::BENCH])?;
    let [bench] = programs.as_slice() else { bail!("nothing was built") };
    shell::run(Command::new(bench).arg("audit"))
}

/// Clients, with `--mysql` those of MySQL's and MariaDB's, or with `--suites` drivers' own suites, with the program as the
/// tests run it.
pub(crate) fn conformance(rest: &[&str]) -> Result<()> {
    match rest {
        ["--newest"] => return newest(),
        ["--newest-mysql"] => return newest_mysql(),
        ["--azure-cli"] => return azure_cli(),
        _ => {}
    }
    let (what, page, names) = match rest {
        ["--suites", names @ ..] => ("suites", "drivers.md", names),
        ["--mysql", names @ ..] => ("mysql", "clients-mysql.md", names),
        names => ("pg", "clients.md", names),
    };
    packages::ensure(For::Conformance)?;
    let programs = build::programs(Profile::Dev, &[build::PORTCULLIS, build::CONFORMANCE])?;
    let [portcullis, conformance] = programs.as_slice() else { bail!("nothing was built") };
    let pages = shell::checkout().join("docs/conformance");
    std::fs::create_dir_all(&pages)?;
    let mut command = Command::new(conformance);
    command.arg(what).args(names).arg("--cache").arg(shell::target().join("conformance"));
    command.arg("--page").arg(pages.join(page)).env("PORTCULLIS_BIN", portcullis);
    shell::run(&mut command)
}

/// The newest protocol, in front of a PostgreSQL that speaks it.
fn newest() -> Result<()> {
    packages::ensure(For::Conformance)?;
    let programs = build::programs(Profile::Dev, &[build::PORTCULLIS, build::CONFORMANCE])?;
    let [portcullis, conformance] = programs.as_slice() else { bail!("nothing was built") };
    let mut command = Command::new(conformance);
    command.args(["newest", "--cache"]).arg(shell::target().join("conformance"));
    shell::run(command.env("PORTCULLIS_BIN", portcullis))
}

/// MySQL's own programs.
fn newest_mysql() -> Result<()> {
    packages::ensure(For::Conformance)?;
    let prepared = newest_mysql::prepare()?;
    // The stories that are told on PostgreSQL and MariaDB, on MySQL.
    let package = ["test", "--locked", "--package", "gateway", "--features", "newest-mysql"];
    let mut tests = shell::cargo(package);
    tests.args(["--test", "database", "--", "mysql"]).env("PORTCULLIS_MYSQL", &prepared);
    shell::run(&mut tests)?;
    let programs = build::programs(Profile::Dev, &[build::PORTCULLIS, build::CONFORMANCE])?;
    let [portcullis, conformance] = programs.as_slice() else { bail!("nothing was built") };
    let mut command = Command::new(conformance);
    command.args(["newest-mysql", "--programs"]).arg(&prepared);
    command.arg("--cache").arg(shell::target().join("conformance"));
    shell::run(command.env("PORTCULLIS_BIN", portcullis))
}

/// azure-cli as it is.
fn azure_cli() -> Result<()> {
    packages::ensure(For::Conformance)?;
    let programs = build::programs(Profile::Dev, &[build::PORTCULLIS, build::CONFORMANCE])?;
    let [portcullis, conformance] = programs.as_slice() else { bail!("nothing was built") };
    let mut command = Command::new(conformance);
    command.args(["azure-cli", "--cache"]).arg(shell::target().join("conformance"));
    shell::run(command.env("PORTCULLIS_BIN", portcullis))
}

/// What others notice of hostile clients.
pub(crate) fn hostility() -> Result<()> {
    packages::ensure(For::Demo)?;
    let programs = build_loudly(Profile::Release, &[build::PORTCULLIS, build::HOSTILITY])?;
    let [portcullis, hostility] = programs.as_slice() else { bail!("nothing was built") };
    shell::run(Command::new(hostility).env("PORTCULLIS_BIN", portcullis))
}

fn run_kit(command: &str, rest: &[&str]) -> Result<()> {
    let programs = build_loudly(Profile::Stack, &[build::PORTCULLIS, build::STACK])?;
    let [portcullis, kit] = programs.as_slice() else { bail!("nothing was built") };
    shell::run(Command::new(kit).arg(command).args(rest).env("PORTCULLIS_BIN", portcullis))
}

fn build_loudly(profile: Profile, wanted: &[(&str, &str)]) -> Result<Vec<PathBuf>> {
    println!("Building with optimisation (minutes the first time, seconds afterwards) …");
    let stopwatch = Stopwatch::start();
    let programs = build::programs(profile, wanted)?;
    println!("Built in {:.1} s.", stopwatch.elapsed().as_secs_f64());
    Ok(programs)
}

/// What to do with the reference pages.
#[derive(Clone, Copy)]
pub(crate) enum Docs {
    Write,
    Check,
}

/// `docs/reference`, made from the code.
pub(crate) fn docs(what: Docs) -> Result<()> {
    let programs = build::programs(Profile::Dev, &[build::PORTCULLIS])?;
    let [portcullis] = programs.as_slice() else { bail!("nothing was built") };
    match what {
        Docs::Write => write_reference(portcullis),
        Docs::Check => check_reference(portcullis),
    }
}

pub(crate) fn write_reference(portcullis: &Path) -> Result<()> {
    reference(portcullis, &shell::checkout().join("docs/reference"))
}

/// Compares what the code would write now with what the checkout holds.
pub(crate) fn check_reference(portcullis: &Path) -> Result<()> {
    let fresh = std::env::temp_dir().join(format!("portcullis-reference-{}", std::process::id()));
    reference(portcullis, &fresh)?;
    let kept = shell::checkout().join("docs/reference");
    let verdict = compare(&fresh, &kept);
    std::fs::remove_dir_all(&fresh)?;
    verdict
}

fn reference(portcullis: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    shell::run(Command::new(portcullis).args(["docs", "--to"]).arg(folder))
}

fn compare(fresh: &Path, kept: &Path) -> Result<()> {
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(fresh).context("no reference was written")? {
        let name = entry?.file_name();
        let now = std::fs::read(fresh.join(&name))?;
        if std::fs::read(kept.join(&name)).ok() != Some(now) {
            stale.push(name.to_string_lossy().into_owned());
        }
    }
    if !stale.is_empty() {
        stale.sort();
        bail!(
            "out of date in docs/reference: {}; `cargo xtask docs` writes them",
            stale.join(", ")
        );
    }
    Ok(())
}
