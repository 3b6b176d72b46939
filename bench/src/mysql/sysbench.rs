//! sysbench's own scripts, a long read, and what they measured.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testkit::program;

use super::ways::Way;
use crate::measured::{Measured, Report, Window};

/// Rows of the table, so that a full read is a million of them.
pub(crate) const ROWS: u32 = 1_000_000;

/// One of sysbench's scripts at so many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) threads: u32,
}

pub(crate) const SCRIPTS: [&str; 3] = ["oltp_point_select", "oltp_read_only", "oltp_read_write"];

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} at once", self.name, self.threads)
    }
}

/// What a turn measured: statements in a second, and the time that one transaction in a hundred exceeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) queries: Measured,
    /// Milliseconds.
    pub(crate) p99: f64,
}

/// Makes the table.
pub(crate) fn prepare(naked: &Way) -> Result<()> {
    let mut command = naked.sysbench("oltp_common");
    command.args([&format!("--table_size={ROWS}"), "prepare"]);
    program::run(&mut command)?.expect_success()?;
    Ok(())
}

impl Script {
    /// One turn of so many seconds, after one that warms up.
    pub(crate) fn run(self, way: &Way, seconds: u32) -> Result<Turn> {
        self.measured(way, seconds).with_context(|| format!("{self}, {}", way.name))
    }

    fn measured(self, way: &Way, seconds: u32) -> Result<Turn> {
        let mut command = way.sysbench(self.name);
        command
            .arg(format!("--table_size={ROWS}"))
            .arg(format!("--threads={}", self.threads))
            .arg(format!("--time={}", seconds + 2))
            .args(["--report-interval=1", "--percentile=99", "--mysql-ignore-errors=1213", "run"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("no output of sysbench's")?;
        let (mut said, mut window, mut tails) = (String::new(), Window::default(), Vec::new());
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            match report(&line) {
                Some((report, p99)) => {
                    window.add(report, way.processor()?);
                    tails.push(p99);
                }
                None => said.extend([line.as_str(), "\n"]),
            }
        }
        let ended = child.wait_with_output()?;
        ensure!(
            ended.status.success(),
            "sysbench failed:\n{said}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let queries = window.measured().with_context(|| format!("too few reports:\n{said}"))?;
        // As with the rates, the first second is warm-up.
        let warm = tails.get(1..).unwrap_or_default();
        let p99 = warm.iter().sum::<f64>() / f64::from(u32::try_from(warm.len())?);
        Ok(Turn { queries, p99 })
    }
}

/// `[ 2s ] thds: 8 tps: 515.98 qps: 8255.61 (r/w/o: …) lat (ms,99%): 21.11 err/s: 0.00 reconn/s: 0.00`
fn report(line: &str) -> Option<(Report, f64)> {
    let (at, rest) = line.strip_prefix("[ ")?.split_once("s ]")?;
    let after = |name: &str| -> Option<f64> {
        let (_, value) = rest.split_once(name)?;
        value.split_whitespace().next()?.parse().ok()
    };
    let rate = after(" qps: ")?;
    Some((Report { at: at.parse().ok()?, rate }, after("(ms,99%): ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_anything_else_is_not() {
        let line = "[ 2s ] thds: 8 tps: 515.98 qps: 8255.61 (r/w/o: 7223.66/0.00/1031.95) \
                    lat (ms,99%): 21.11 err/s: 0.00 reconn/s: 0.00";
        assert_eq!(report(line), Some((Report { at: 2.0, rate: 8255.61 }, 21.11)));
        assert_eq!(report("Threads started!"), None);
    }
}
