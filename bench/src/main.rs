//! `cargo xtask bench pg`: the same work through the naked server, pgbouncer and Portcullis, in turns, so that whatever
//! else the machine does hits all three alike. What is printed are ratios to the naked server; absolute figures depend
//! on the machine.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod pgbouncer;
mod route;
mod workload;

use std::process::ExitCode;

use anyhow::{Result, bail};
use testkit::postgres::Fsync;
use testkit::stack::{Options, Privileges, Stack};

use pgbouncer::PgBouncer;
use route::Route;
use workload::{Measured, WORKLOADS, Workload};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let extent = match words.as_slice() {
        ["pg"] => Extent { rounds: 5, seconds: 5 },
        ["pg", "--quick"] => Extent { rounds: 2, seconds: 2 },
        _ => {
            eprintln!("usage: bench pg [--quick]");
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
    seconds: u32,
}

fn run(extent: Extent) -> Result<()> {
    let options =
        Options { privileges: Privileges::TestStack, fsync: Fsync::On, ..Options::default() };
    println!("Starting PostgreSQL, pgbouncer and Portcullis …");
    let stack = Stack::start(&options)?;
    let pgbouncer = PgBouncer::start(&stack)?;
    let routes =
        [Route::naked(&stack)?, Route::pgbouncer(&stack, &pgbouncer), Route::portcullis(&stack)?];
    println!(
        "{} rounds of {} s each, in turns: {}\n",
        extent.rounds,
        extent.seconds,
        routes.each_ref().map(|route| route.name).join(", ")
    );
    println!("{:<34}{:>12}{:>16}{:>16}", "", "naked", "pgbouncer", "Portcullis");
    for workload in WORKLOADS {
        compare(workload, &routes, extent)?;
    }
    println!(
        "\nnaked: PostgreSQL over TLS, client certificate. pgbouncer: TLS on both sides, session pooling."
    );
    println!("Portcullis: TLS on both sides, every statement in the audit log, mode `bounded`.");
    println!(
        "Ratios are medians over the rounds of what a round measured against the naked server's turn in it."
    );
    Ok(())
}

/// Every round measures each route once, beginning with another one each time.
fn compare(workload: &Workload, routes: &[Route; 3], extent: Extent) -> Result<()> {
    let mut rounds: Vec<[Measured; 3]> = Vec::new();
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
        rounds.push([naked, pgbouncer, portcullis]);
    }
    let figure = median(rounds.iter().map(|[naked, ..]| workload.figure(naked)));
    let ratio = |of: fn(&[Measured; 3]) -> &Measured| {
        median(rounds.iter().map(|round| {
            let [naked, ..] = round;
            workload.figure(of(round)) / workload.figure(naked)
        }))
    };
    let (pgbouncer, portcullis) = (ratio(|round| &round[1]), ratio(|round| &round[2]));
    let naked = format!("{figure:.1} {}", workload.unit());
    println!("{:<34}{naked:>12}{pgbouncer:>15.2}×{portcullis:>15.2}×", workload.name);
    Ok(())
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
