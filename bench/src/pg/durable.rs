//! What waiting for the disk costs: the audit mode `durable` against `bounded`, on one stack.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::Extent;
use crate::measured::Measured;
use crate::pg::stacks::Ways;
use crate::pg::workload::{Protocol, Workload};
use crate::statistics::{Spread, in_turns};

const MODES: [&str; 2] = ["bounded", "durable"];
const CLIENTS: [u32; 2] = [8, 64];

pub(crate) fn run(extent: Extent) -> Result<()> {
    let ways = Ways::start()?;
    let [_, _, portcullis] = &ways.routes;
    let facts = &ways.stack.facts;
    let server = fs::read_to_string(facts.folder.join("seed/2-server.yaml"))?;
    let (before, after) = server.split_once("mode: bounded").context("no audit mode")?;
    println!(
        "{:<26}{:>14}{:>14}{:>24}{:>14}{:>14}{:>24}",
        "", "bounded", "durable", "throughput d/b", "bounded", "durable", "processor d/b"
    );
    for clients in CLIENTS {
        let workload = Workload::Select { protocol: Protocol::Prepared, clients };
        let [bounded, durable] = in_turns(extent.rounds, &MODES, |mode| {
            let applied = facts.apply(&format!("{before}mode: {mode}{after}"))?;
            ensure!(applied.ok(), "{applied}");
            workload.run(portcullis, extent.seconds)
        })?;
        let (rate, cost) = (|it: &Measured| it.rate, Measured::cost);
        let rates = |mode: &[Measured]| Spread::of(mode.iter().map(rate)).median;
        let costs = |mode: &[Measured]| Spread::of(mode.iter().map(cost)).median;
        println!(
            "{:<26}{:>10.0} tps{:>10.0} tps{:>24}{:>11.1} µs{:>11.1} µs{:>24}",
            workload.to_string(),
            rates(&bounded),
            rates(&durable),
            Spread::of_ratios((&durable, &bounded), rate),
            costs(&bounded),
            costs(&durable),
            Spread::of_ratios((&durable, &bounded), cost),
        );
    }
    println!(
        "
Portcullis only. durable: a statement is forwarded when its record is on disk; one sync serves all that wait."
    );
    Ok(())
}
