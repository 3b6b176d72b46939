//! What is run on each route, and which figure counts.

use std::io::Write;

use anyhow::{Context, Result};
use testkit::{program, wait};

use crate::route::Route;

/// What one turn measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Transactions in a second.
    rate: f64,
    /// Milliseconds of one.
    latency: f64,
}

/// Which figure counts.
#[derive(Clone, Copy, Debug)]
enum Figure {
    /// More is better.
    Rate,
    /// Less is better.
    Latency,
}

enum Kind {
    /// pgbench with this script and these options.
    PgBench { script: &'static str, options: &'static [&'static str] },
    /// psql, once and again for the time of a turn.
    Psql { sql: &'static str },
}

pub(crate) struct Workload {
    pub(crate) name: &'static str,
    kind: Kind,
    figure: Figure,
}

const POINT: &str = "\\set id random(1, 25000)\nselect status from orders where id = :id;\n";

pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "latency, select 1, simple",
        kind: Kind::PgBench { script: "select 1;\n", options: &["-M", "simple", "-c", "1"] },
        figure: Figure::Latency,
    },
    Workload {
        name: "latency, point read, prepared",
        kind: Kind::PgBench { script: POINT, options: &["-M", "prepared", "-c", "1"] },
        figure: Figure::Latency,
    },
    Workload {
        name: "rate, point read, prepared, 16",
        kind: Kind::PgBench { script: POINT, options: &["-M", "prepared", "-c", "16", "-j", "2"] },
        figure: Figure::Rate,
    },
    Workload {
        name: "rate, 10 000 rows, simple, 4",
        kind: Kind::PgBench {
            script: "select * from order_lines where order_id <= 3400;\n",
            options: &["-M", "simple", "-c", "4", "-j", "2"],
        },
        figure: Figure::Rate,
    },
    Workload {
        name: "latency, connect and select 1",
        kind: Kind::PgBench { script: "select 1;\n", options: &["-C", "-c", "1"] },
        figure: Figure::Latency,
    },
    Workload {
        name: "time, copy 7 MB out",
        kind: Kind::Psql {
            sql: "copy (select l.* from order_lines as l, generate_series(1, 4)) to stdout",
        },
        figure: Figure::Latency,
    },
];

impl Workload {
    pub(crate) fn run(&self, route: &Route, seconds: u32) -> Result<Measured> {
        match self.kind {
            Kind::PgBench { script, options } => pgbench(route, script, options, seconds),
            Kind::Psql { sql } => psql(route, sql, seconds),
        }
    }

    pub(crate) fn figure(&self, measured: &Measured) -> f64 {
        match self.figure {
            Figure::Rate => measured.rate,
            Figure::Latency => measured.latency,
        }
    }

    pub(crate) fn unit(&self) -> &'static str {
        match self.figure {
            Figure::Rate => "/s",
            Figure::Latency => "ms",
        }
    }
}

fn pgbench(route: &Route, script: &str, options: &[&str], seconds: u32) -> Result<Measured> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(script.as_bytes())?;
    let mut command = route.client("pgbench");
    command.args(["-n", "-T", &seconds.to_string()]).args(options).arg("-f").arg(file.path());
    let said = program::run(&mut command)?.expect_success()?;
    let number = |label: &str| -> Result<f64> {
        let line = said.lines().find_map(|line| line.strip_prefix(label));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        let number = number.with_context(|| format!("no `{label}` in:\n{said}"))?;
        Ok(number.parse()?)
    };
    Ok(Measured { rate: number("tps = ")?, latency: number("latency average = ")? })
}

fn psql(route: &Route, sql: &str, seconds: u32) -> Result<Measured> {
    let mut best = f64::INFINITY;
    let started = wait::now();
    while started.elapsed().as_secs() < u64::from(seconds) {
        let turn = wait::now();
        let mut command = route.client("psql");
        program::run(command.args(["-X", "-q", "-o", "/dev/null", "-c", sql]))?.expect_success()?;
        best = best.min(turn.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Measured { rate: 1000.0 / best, latency: best })
}
