//! What is run on each route: pgbench's own read-only script, connecting, and a long stream.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use testkit::{program, wait};

use crate::measured::{Measured, Report, Window, spent};
use crate::pg::route::Route;

/// Rows of `pgbench_accounts` for each unit of pgbench's scale.
const ROWS_PER_SCALE: u32 = 100_000;
/// A million rows.
const SCALE: u32 = 10;

/// How pgbench sends its statements (`-M`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Simple,
    Extended,
    Prepared,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Simple, Self::Extended, Self::Prepared];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// `pgbench -S`.
    Select { protocol: Protocol, clients: u32 },
    /// The same with a new connection for every transaction (`-C`).
    Connect { clients: u32 },
    /// `COPY` of a million rows to the client.
    Stream,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Select { protocol, clients } => {
                write!(f, "-S, {}, {clients} at once", protocol.name())
            }
            Self::Connect { clients } => write!(f, "a connection each, {clients} at once"),
            Self::Stream => f.write_str("COPY of 1,000,000 rows"),
        }
    }
}

impl Workload {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Select { .. } | Self::Connect { .. } => "tps",
            Self::Stream => "MB/s",
        }
    }

    /// One turn of so many seconds, after one that warms up.
    pub(crate) fn run(self, route: &Route, seconds: u32) -> Result<Measured> {
        match self {
            Self::Select { protocol, clients } => {
                pgbench((route, clients), &["-M", protocol.name()], seconds)
            }
            Self::Connect { clients } => pgbench((route, clients), &["-C"], seconds),
            Self::Stream => stream(route),
        }
        .with_context(|| format!("{self}, {}", route.name))
    }
}

/// Makes pgbench's tables.
pub(crate) fn prepare(route: &Route) -> Result<()> {
    let scale = SCALE.to_string();
    let mut command = route.client("pgbench");
    program::run(command.args(["-i", "-q", "-s", &scale]))?.expect_success()?;
    Ok(())
}

/// Counts from pgbench's first report to its last: what it takes to connect is in neither rate nor processor time.
fn pgbench((route, clients): (&Route, u32), options: &[&str], seconds: u32) -> Result<Measured> {
    let mut command = route.client("pgbench");
    command.args(["-n", "-S", "-P", "1", "-T", &(seconds + 1).to_string()]).args(options);
    command.args(["-c", &clients.to_string(), "-j", &clients.min(2).to_string()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("no output of pgbench's")?;
    let (mut said, mut window) = (String::new(), Window::default());
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        match report(&line) {
            Some(report) => window.add(report, route.processor()?),
            None => said.extend([line.as_str(), "\n"]),
        }
    }
    ensure!(child.wait()?.success(), "pgbench failed:\n{said}");
    window.measured().with_context(|| format!("too few reports of pgbench's:\n{said}"))
}

/// `progress: 2.0 s, 31415.9 tps, lat 0.032 ms stddev 0.007, 0 failed`
fn report(line: &str) -> Option<Report> {
    let mut parts = line.strip_prefix("progress: ")?.split(", ");
    let at = parts.next()?.strip_suffix(" s")?.parse().ok()?;
    let rate = parts.next()?.strip_suffix(" tps")?.parse().ok()?;
    Some(Report { at, rate })
}

fn stream(route: &Route) -> Result<Measured> {
    let mut command = route.client("psql");
    command.args(["-X", "-q", "-c", "copy pgbench_accounts to stdout"]);
    let before = route.processor()?;
    let started = wait::now();
    let counted = count(&mut command)?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(counted.rows == u64::from(SCALE * ROWS_PER_SCALE), "{} rows came", counted.rows);
    let megabytes = counted.megabytes;
    let processor = spent(before, route.processor()?).map(|spent| spent / megabytes);
    Ok(Measured { rate: megabytes / seconds, processor })
}

#[derive(Default)]
struct Counted {
    rows: u64,
    megabytes: f64,
}

fn count(command: &mut Command) -> Result<Counted> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no output of psql's")?;
    let counted = count_lines(stdout)?;
    ensure!(child.wait()?.success(), "psql failed");
    Ok(counted)
}

fn count_lines(mut stdout: ChildStdout) -> Result<Counted> {
    let mut counted = Counted::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = stdout.read(&mut buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        if read.is_empty() {
            return Ok(counted);
        }
        let lines = read.split(|byte| *byte == b'\n').skip(1).count();
        counted.rows += u64::try_from(lines)?;
        counted.megabytes += f64::from(u32::try_from(length)?) / 1e6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_anything_else_is_not() {
        let line = "progress: 2.0 s, 31415.9 tps, lat 0.032 ms stddev 0.007, 0 failed";
        assert_eq!(report(line), Some(Report { at: 2.0, rate: 31_415.9 }));
        assert_eq!(report("pgbench: error: connection failed"), None);
    }
}
