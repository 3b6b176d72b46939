//! Running tests through nextest where it is installed, through plain `cargo test` elsewhere, and counting them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// How many tests passed and failed.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

/// Whether tests may start servers.
#[derive(Clone, Copy)]
pub(super) enum Servers<'a> {
    With { portcullis: &'a Path },
    Without,
}

/// Unit and property tests of every crate.
pub(super) fn unit(servers: Servers<'_>) -> Result<Counts> {
    let mut command = runner(&["--workspace", "--exclude", "e2e"]);
    match servers {
        Servers::With { portcullis } => {
            command.env("PORTCULLIS_BIN", portcullis);
        }
        Servers::Without => {
            command.args(["--exclude", "testkit", "--exclude", "bench", "--lib", "--bins"]);
        }
    }
    counted(&mut command)
}

/// Examples in the documentation; nextest does not run them.
pub(super) fn documentation() -> Result<Counts> {
    counted(&mut shell::cargo(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]))
}

/// User stories against the real binary.
pub(super) fn end_to_end(portcullis: &Path, stack: &Path) -> Result<Counts> {
    let mut command = runner(&["--package", "e2e"]);
    command.env("PORTCULLIS_BIN", portcullis).env("PORTCULLIS_STACK", stack);
    counted(&mut command)
}

fn runner(selection: &[&str]) -> Command {
    let nextest = shell::output(&mut shell::cargo(["nextest", "--version"])).is_ok();
    let mut command = if nextest {
        shell::cargo(["nextest", "run", "--profile", "ci", "--no-tests", "pass"])
    } else {
        shell::cargo(["test", "--no-fail-fast"])
    };
    command.arg("--locked").args(selection).env("INSTA_UPDATE", "no");
    command
}

/// Shows what it prints and adds up what it says at the end of each run.
fn counted(command: &mut Command) -> Result<Counts> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .context("cannot run the tests")?;
    // The command holds the pipe's other end open until it is given something else.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut counts = Counts { passed: 0, failed: 0 };
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if let Some(more) = counts_in(&line) {
            counts.passed += more.passed;
            counts.failed += more.failed;
        }
    }
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        // It did not come to its tests, or something beside them went wrong.
        counts.failed = 1;
    }
    Ok(counts)
}

/// `test result: ok. 3 passed; 0 failed; …` or `Summary [ 0.1s] 3 tests run: 2 passed, 1 failed, …`. nextest repeats,
/// indented, what a failed test printed; that is counted already.
fn counts_in(line: &str) -> Option<Counts> {
    let told = line.strip_prefix("test result: ").or_else(|| {
        let summary = line.trim_start().strip_prefix("Summary [")?;
        summary.split_once("run: ").map(|(_, told)| told)
    })?;
    let count = |what: &str| {
        let words: Vec<&str> = told.split([' ', ',', ';', '.']).filter(|w| !w.is_empty()).collect();
        words
            .windows(2)
            .filter_map(|pair| match pair {
                [number, word] if *word == what => number.parse::<u64>().ok(),
                _ => None,
            })
            .sum::<u64>()
    };
    Some(Counts { passed: count("passed"), failed: count("failed") + count("timed") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_are_counted() {
        for (line, expected) in [
            ("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", (3, 0)),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.1s", (3, 2)),
            ("     Summary [   0.013s] 3 tests run: 3 passed (1 slow), 0 skipped", (3, 0)),
            (
                "     Summary [  10.1s] 4 tests run: 2 passed, 1 failed, 1 timed out, 0 skipped",
                (2, 2),
            ),
        ] {
            let counts = counts_in(line).unwrap();
            assert_eq!((counts.passed, counts.failed), expected, "{line}");
        }
        assert!(counts_in("test access::decide ... ok").is_none());
        assert!(counts_in("    test result: FAILED. 0 passed; 1 failed; 0 ignored").is_none());
    }
}
