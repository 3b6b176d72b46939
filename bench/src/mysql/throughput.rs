//! Statements in a second, their slowest hundredth, and what the proxies compute for one.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testkit::wait;

use super::sysbench::{self, ROWS, SCRIPTS, Script, Turn};
use super::ways::{Way, Ways};
use crate::Extent;
use crate::measured::{Measured, spent};
use crate::stacks::FEW;
use crate::statistics::{Spread, in_turns};

pub(crate) fn run(extent: Extent) -> Result<()> {
    let ways = Ways::start(FEW)?;
    let [naked, ..] = &ways.ways;
    sysbench::prepare(naked)?;
    println!(
        "{:<32}{:>12}{:>24}{:>24}{:^20}{:>24}",
        "",
        "naked",
        "throughput P/naked",
        "throughput P/haproxy",
        "processor, µs",
        "processor P/haproxy"
    );
    for threads in extent.clients.iter().copied() {
        for name in SCRIPTS {
            compare(Script { name, threads }, &ways.ways, extent)?;
        }
    }
    let [naked, haproxy, portcullis] = in_turns(extent.rounds, &ways.ways, read)?;
    line("a read of 1,000,000 rows", "MB/s", [&naked, &haproxy, &portcullis]);
    println!(
        "
P: Portcullis, TLS on both sides, every statement in the audit log, mode `bounded`. haproxy passes the encrypted stream
through untouched. Ratios are made within each round. Processor time is that of the proxy's whole process, haproxy's and
Portcullis', for a statement or a megabyte. p99: of a transaction, over the naked server's and over haproxy's."
    );
    Ok(())
}

fn compare(script: Script, ways: &[Way; 3], extent: Extent) -> Result<()> {
    let [naked, haproxy, portcullis] =
        in_turns(extent.rounds, ways, |way| script.run(way, extent.seconds))?;
    let queries = |turns: &Vec<Turn>| turns.iter().map(|turn| turn.queries).collect::<Vec<_>>();
    let each = [&naked, &haproxy, &portcullis].map(queries);
    line(&script.to_string(), "qps", each.each_ref().map(Vec::as_slice));
    let tail = |turn: &Turn| turn.p99;
    println!(
        "{:<32}{:>9.2} ms{:>24}{:>24}",
        "    p99",
        Spread::of(naked.iter().map(tail)).median,
        Spread::of_ratios((&portcullis, &naked), tail),
        Spread::of_ratios((&portcullis, &haproxy), tail),
    );
    Ok(())
}

fn line(what: &str, unit: &str, [naked, haproxy, portcullis]: [&[Measured]; 3]) {
    let (rate, cost) = (|it: &Measured| it.rate, Measured::cost);
    let costs = |turns: &[Measured]| Spread::of(turns.iter().map(cost)).median;
    println!(
        "{what:<32}{:>12}{:>24}{:>24}{:>10.1}{:>10.1}{:>24}",
        format!("{:.0} {unit}", Spread::of(naked.iter().map(rate)).median),
        Spread::of_ratios((portcullis, naked), rate),
        Spread::of_ratios((portcullis, haproxy), rate),
        costs(haproxy),
        costs(portcullis),
        Spread::of_ratios((portcullis, haproxy), cost),
    );
}

/// The whole table, row by row.
fn read(way: &Way) -> Result<Measured> {
    let mut command = way.client("mariadb");
    command.args(["--quick", "-N", "-B", "-D", "orders", "-e", "select * from sbtest1"]);
    let before = way.processor()?;
    let started = wait::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no output of mariadb's")?;
    let (mut rows, mut bytes) = (0_u32, 0_u64);
    let mut reader = BufReader::with_capacity(1 << 16, stdout);
    let mut row = Vec::new();
    while reader.read_until(b'\n', &mut row)? > 0 {
        rows += 1;
        bytes += u64::try_from(row.len())?;
        row.clear();
    }
    ensure!(child.wait()?.success(), "mariadb failed");
    ensure!(rows == ROWS, "{rows} rows came");
    let seconds = started.elapsed().as_secs_f64();
    let megabytes = f64::from(u32::try_from(bytes / 1_000)?) / 1e3;
    let processor = spent(before, way.processor()?).map(|spent| spent / megabytes);
    Ok(Measured { rate: megabytes / seconds, processor })
}
