//! What held, what did not, and how long each part took.

use std::time::Duration;

use anyhow::{Result, bail};

use super::runner::Counts;
use crate::shell::Stopwatch;

pub(super) struct Report {
    parts: Vec<Part>,
    started: Stopwatch,
}

struct Part {
    name: &'static str,
    counts: Counts,
    took: Duration,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { parts: Vec::new(), started: Stopwatch::start() }
    }

    /// Something that holds or does not. Whether it did.
    pub(super) fn check(&mut self, name: &'static str, check: impl FnOnce() -> Result<()>) -> bool {
        self.tests(name, || check().map(|()| Counts { passed: 1, failed: 0 }))
    }

    /// Tests that are counted. Whether all passed.
    pub(super) fn tests(
        &mut self,
        name: &'static str,
        tests: impl FnOnce() -> Result<Counts>,
    ) -> bool {
        println!("\n── {name}");
        let stopwatch = Stopwatch::start();
        let counts = match tests() {
            Ok(counts) => counts,
            Err(error) => {
                println!("{name}: {error:#}");
                Counts { passed: 0, failed: 1 }
            }
        };
        self.parts.push(Part { name, counts, took: stopwatch.elapsed() });
        counts.failed == 0
    }

    /// Prints the table, and last the sum alone on a line.
    pub(super) fn conclude(self) -> Result<()> {
        println!("\n{:<22}{:>8}{:>8}{:>10}", "part", "passed", "failed", "seconds");
        let mut sum = Counts { passed: 0, failed: 0 };
        for Part { name, counts, took } in &self.parts {
            let seconds = took.as_secs_f64();
            println!("{name:<22}{:>8}{:>8}{seconds:>10.1}", counts.passed, counts.failed);
            sum.passed += counts.passed;
            sum.failed += counts.failed;
        }
        println!("{:<38}{:>10.1}\n", "whole", self.started.elapsed().as_secs_f64());
        println!("{} passed, {} failed", sum.passed, sum.failed);
        if sum.failed > 0 {
            let failed = self.parts.iter().filter(|part| part.counts.failed > 0);
            let names: Vec<&str> = failed.map(|part| part.name).collect();
            bail!("what failed: {}", names.join(", "));
        }
        Ok(())
    }
}
