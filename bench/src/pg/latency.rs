//! What a proxy adds to the time of a transaction, as pgbench's own log has it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use testkit::program;

use crate::Extent;
use crate::pg::route::Route;
use crate::pg::stacks::Ways;
use crate::pg::workload::Protocol;
use crate::statistics::{Spread, in_turns, percentile, sorted};

const CLIENTS: [u32; 2] = [1, 8];

pub(crate) fn run(extent: Extent) -> Result<()> {
    let ways = Ways::start()?;
    println!(
        "{:<25}{:<5}{:>10}{:>27}{:>27}{:>25}",
        "", "", "naked", "pgbouncer adds", "Portcullis adds", "Portcullis/pgbouncer"
    );
    for clients in CLIENTS {
        for protocol in Protocol::ALL {
            compare((protocol, clients), &ways.routes, extent)?;
        }
    }
    println!(
        "
Microseconds of a transaction of `pgbench -S`. What a proxy adds is its percentile less the naked server's in the same
round; the last column is of the whole time, the server's share in it."
    );
    Ok(())
}

fn compare(
    (protocol, clients): (Protocol, u32),
    routes: &[Route; 3],
    extent: Extent,
) -> Result<()> {
    let [naked, pgbouncer, portcullis] = in_turns(extent.rounds, routes, |route| {
        transactions(route, (protocol, clients), extent.seconds)
    })?;
    for (name, hundredths) in [("p50", 50), ("p99", 99)] {
        let figure = |times: &Vec<f64>| percentile(times, hundredths);
        let added = |route: &[Vec<f64>]| {
            let rounds = route.iter().zip(&naked);
            let added = rounds.map(|(route, naked)| figure(route) - figure(naked));
            Spread::of(added).in_units(" µs", 0)
        };
        println!(
            "{:<25}{name:<5}{:>7.0} µs{:>27}{:>27}{:>25}",
            format!("-S, {}, {clients} at once", protocol.name()),
            Spread::of(naked.iter().map(figure)).median,
            added(&pgbouncer),
            added(&portcullis),
            Spread::of_ratios((&portcullis, &pgbouncer), figure).to_string(),
        );
    }
    Ok(())
}

/// Times of transactions in microseconds, in order of length, without those of the first second.
fn transactions(
    route: &Route,
    (protocol, clients): (Protocol, u32),
    seconds: u32,
) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let mut command = route.client("pgbench");
    command.args(["-n", "-S", "-M", protocol.name(), "-T", &(seconds + 1).to_string()]);
    command.args(["-c", &clients.to_string(), "-j", &clients.min(2).to_string(), "-l"]);
    command.arg("--log-prefix").arg(folder.path().join("log"));
    program::run(&mut command)?.expect_success()?;
    read(folder.path())
}

/// Each thread of pgbench's writes a file of its own.
fn read(folder: &Path) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        for line in text.lines() {
            all.push(Logged::parse(line).with_context(|| format!("not as pgbench says: {line}"))?);
        }
    }
    let first = all.iter().map(|logged| logged.ended_us).min().context("no transactions")?;
    let warm = all.iter().filter(|logged| logged.ended_us >= first + 1_000_000);
    Ok(sorted(warm.map(|logged| logged.took_us).collect()))
}

/// A line of pgbench's log: client, number, microseconds, script, and the end in seconds and microseconds.
struct Logged {
    took_us: f64,
    ended_us: u64,
}

impl Logged {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(2);
        let took_us = fields.next()?.parse().ok()?;
        let mut ended = fields.skip(1);
        let seconds: u64 = ended.next()?.parse().ok()?;
        let microseconds: u64 = ended.next()?.parse().ok()?;
        Some(Self { took_us, ended_us: seconds.checked_mul(1_000_000)?.checked_add(microseconds)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_second_is_left_out_over_all_threads() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text| fs::write(folder.path().join(name), text).unwrap();
        write("log.1", "0 1 900 0 1700000000 500000\n0 2 80 0 1700000001 500000\n");
        write("log.1.1", "1 1 700 0 1700000001 499999\n1 2 70 0 1700000002 0\n");
        assert_eq!(format!("{:?}", read(folder.path()).unwrap()), "[70.0, 80.0]");
        write("log.1.1", "1 1 skipped 0 1700000001 499999\n");
        assert!(read(folder.path()).is_err());
    }
}
