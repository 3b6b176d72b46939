//! Work in a second, and what the proxies compute for it.

use anyhow::Result;

use crate::Extent;
use crate::measured::Measured;
use crate::pg::route::Route;
use crate::pg::stacks::Ways;
use crate::pg::workload::{Protocol, Workload};
use crate::statistics::{Spread, in_turns};

impl Extent {
    fn workloads(self) -> Vec<Workload> {
        let select = |clients| Protocol::ALL.map(|protocol| Workload::Select { protocol, clients });
        let selects = self.clients.iter().copied().flat_map(select);
        selects.chain([Workload::Connect { clients: 1 }, Workload::Stream]).collect()
    }
}

pub(crate) fn run(extent: Extent) -> Result<()> {
    let ways = Ways::start()?;
    println!("{:<30}{:>13}{:^41}{:^43}", "", "naked", "throughput", "processor, µs a unit");
    println!(
        "{:<30}{:>13}{:>10}{:>11}{:>20}{:>11}{:>11}{:>21}",
        "", "", "pgbouncer", "Portcullis", "P/b", "pgbouncer", "Portcullis", "P/b"
    );
    for workload in extent.workloads() {
        compare(workload, &ways.routes, extent)?;
    }
    println!(
        "
naked: PostgreSQL over TLS. pgbouncer: TLS on both sides, pooling by session. Portcullis: TLS on both sides, every
statement in the audit log, mode `bounded`. Throughput is a multiple of the naked server's in the same round; P/b is
Portcullis' figure over pgbouncer's in the same round. A unit is a transaction, or a megabyte of the stream; processor
time is that of the proxy's whole process."
    );
    Ok(())
}

fn compare(workload: Workload, routes: &[Route; 3], extent: Extent) -> Result<()> {
    let [naked, pgbouncer, portcullis] =
        in_turns(extent.rounds, routes, |route| workload.run(route, extent.seconds))?;
    let (rate, cost) = (|it: &Measured| it.rate, Measured::cost);
    let absolute = format!("{:.0} {}", Spread::of(naked.iter().map(rate)).median, workload.unit());
    let times_naked =
        |route: &[Measured]| format!("{:.2}×", Spread::of_ratios((route, &naked), rate).median);
    let costs = |route: &[Measured]| Spread::of(route.iter().map(cost)).median;
    println!(
        "{:<30}{absolute:>13}{:>10}{:>11}{:>20}{:>11.1}{:>11.1}{:>21}",
        workload.to_string(),
        times_naked(&pgbouncer),
        times_naked(&portcullis),
        Spread::of_ratios((&portcullis, &pgbouncer), rate),
        costs(&pgbouncer),
        costs(&portcullis),
        Spread::of_ratios((&portcullis, &pgbouncer), cost),
    );
    Ok(())
}
