//! `cargo xtask bench pg`: the same work through the naked server, pgbouncer and Portcullis, in turns, so that whatever
//! else the machine does hits all three alike. What counts are the ratios; absolute figures depend on the machine.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod pgbouncer;
mod processor;
mod route;
mod workload;

use std::process::ExitCode;

use anyhow::{Result, bail};
use testkit::postgres::Fsync;
use testkit::stack::{Options, Privileges, Stack};

use pgbouncer::PgBouncer;
use route::Route;
use workload::{Measured, Protocol, Workload};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let extent = match words.as_slice() {
        // Nine minutes.
        ["pg"] => Extent { rounds: 3, seconds: 5, clients: &[1, 8, 64] },
        // Half a minute: does it run, and is anything far off?
        ["pg", "--quick"] => Extent { rounds: 1, seconds: 2, clients: &[8] },
        _ => {
            eprintln!("usage: cargo xtask bench pg [--quick] | hostility");
            return ExitCode::from(2);
        }
    };
    match run(extent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy)]
struct Extent {
    rounds: usize,
    /// Of one turn.
    seconds: u32,
    /// Connections at once.
    clients: &'static [u32],
}

impl Extent {
    fn workloads(self) -> Vec<Workload> {
        let protocols = [Protocol::Simple, Protocol::Extended, Protocol::Prepared];
        let select = |clients| protocols.map(|protocol| Workload::Select { protocol, clients });
        let selects = self.clients.iter().copied().flat_map(select);
        selects.chain([Workload::Connect, Workload::Stream]).collect()
    }
}

fn run(extent: Extent) -> Result<()> {
    let options =
        Options { privileges: Privileges::TestStack, fsync: Fsync::On, ..Options::default() };
    println!("Starting PostgreSQL, pgbouncer and Portcullis …");
    let mut stack = Stack::start(&options)?;
    let pgbouncer = PgBouncer::start(&stack)?;
    let routes = [
        Route::naked(&stack)?,
        Route::pgbouncer(&stack, &pgbouncer),
        Route::portcullis(&mut stack)?,
    ];
    let [naked, ..] = &routes;
    workload::prepare(naked)?;
    println!("{}", machine()?);
    println!(
        "Rounds: {}. Turns of {} s, in another order each round: {}.\n",
        extent.rounds,
        extent.seconds,
        routes.each_ref().map(|route| route.name).join(", ")
    );
    println!("{:<28}{:>14}{:^32}{:^36}", "", "naked", "throughput", "processor, µs a unit");
    println!(
        "{:<28}{:>14}{:>11}{:>11}{:>10}{:>12}{:>12}{:>10}",
        "", "", "pgbouncer", "Portcullis", "P/b", "pgbouncer", "Portcullis", "P/b"
    );
    for workload in extent.workloads() {
        compare(workload, &routes, extent)?;
    }
    println!(
        "
naked: PostgreSQL over TLS. pgbouncer: TLS on both sides, pooling by session. Portcullis: TLS on both sides, every
statement in the audit log, mode `bounded`. Throughput is a multiple of the naked server's in the same round; P/b is
Portcullis' figure over pgbouncer's in the same round. All are medians over the rounds. A unit is a transaction, or a
megabyte of the stream; processor time is that of the proxy's whole process."
    );
    Ok(())
}

/// On a machine that is busy with something else the figures are worth little.
fn machine() -> Result<String> {
    let processors = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("Processors: {processors}. Load before the first turn: {load}."))
}

/// What one round measured.
struct Round {
    naked: Measured,
    pgbouncer: Measured,
    portcullis: Measured,
}

/// Every round measures each route once, beginning with another one each time.
fn compare(workload: Workload, routes: &[Route; 3], extent: Extent) -> Result<()> {
    let mut rounds = Vec::new();
    for round in 0..extent.rounds {
        let mut measured = [None; 3];
        for turn in 0..routes.len() {
            let which = (round + turn) % routes.len();
            let (Some(route), Some(place)) = (routes.get(which), measured.get_mut(which)) else {
                bail!("no such route");
            };
            *place = Some(workload.run(route, extent.seconds)?);
        }
        let [Some(naked), Some(pgbouncer), Some(portcullis)] = measured else {
            bail!("a route was left out");
        };
        rounds.push(Round { naked, pgbouncer, portcullis });
    }
    print(workload, &rounds);
    Ok(())
}

fn print(workload: Workload, rounds: &[Round]) {
    let over = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    let naked = format!("{:.0} {}", over(|round| round.naked.rate), workload.unit());
    let pgbouncer = over(|round| round.pgbouncer.rate / round.naked.rate);
    let portcullis = over(|round| round.portcullis.rate / round.naked.rate);
    let between = over(|round| round.portcullis.rate / round.pgbouncer.rate);
    let processor = |measured: &Measured| measured.processor.unwrap_or(f64::NAN);
    let cost = |of: fn(&Round) -> &Measured| median(rounds.iter().map(|r| processor(of(r))));
    let costs = (cost(|round| &round.pgbouncer), cost(|round| &round.portcullis));
    let cost_between = median(
        rounds.iter().map(|round| processor(&round.portcullis) / processor(&round.pgbouncer)),
    );
    println!(
        "{:<28}{naked:>14}{pgbouncer:>10.2}×{portcullis:>10.2}×{between:>9.2}×{:>12.1}{:>12.1}{cost_between:>9.2}×",
        workload.to_string(),
        costs.0,
        costs.1,
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_follow_one_outlier() {
        assert!((median([1.0, 100.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
    }
}
