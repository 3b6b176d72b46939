//! What a crowd of idle sessions costs those who work.

use anyhow::{Result, ensure};

use crate::Extent;
use crate::machine::memory_free_kib;
use crate::measured::Measured;
use crate::memory::per_session;
use crate::pg::route::Route;
use crate::pg::workload::{self, Protocol, Workload};
use crate::sessions::{self, Client, Door, Engine, Memory};
use crate::stacks;
use crate::statistics::Spread;

/// Opened between two looks at the machine's memory.
const STEP: usize = 500;
/// Kept free: each idle session is a process of the database's.
const MEMORY_FREE_MIN_KIB: u64 = 4 * 1024 * 1024;
const WORKLOADS: [Workload; 2] = [
    Workload::Select { protocol: Protocol::Simple, clients: 8 },
    Workload::Select { protocol: Protocol::Prepared, clients: 8 },
];

pub(crate) fn run(extent: Extent) -> Result<()> {
    let mut stack = stacks::for_sessions(extent.crowd, Engine::PostgreSql)?;
    workload::prepare(&Route::naked(&stack)?)?;
    let (gateway, door) =
        (stack.server().identity().pid, Door::portcullis(&stack, Engine::PostgreSql)?);
    let route = Route::portcullis(&mut stack)?;
    let alone = measured(&route, extent)?;
    let before = Memory::of(gateway)?;
    let crowd = opened(&door, extent.crowd)?;
    let beside = measured(&route, extent)?;
    let each = per_session((before.all, Memory::of(gateway)?.all), crowd.len())?;
    let count = crowd.len();
    drop(crowd);
    sessions::all_gone(&stack, Engine::PostgreSql)?;
    let again = measured(&route, extent)?;
    println!(
        "{:<26}{:>12}{:>12}{:>24}{:>12}{:>12}{:>24}",
        "", "alone", "beside", "throughput", "alone", "beside", "processor"
    );
    let runs = alone.iter().zip(&beside).zip(&again);
    for (workload, ((alone, beside), again)) in WORKLOADS.iter().zip(runs) {
        // The machine's mood before and after is the same share of both.
        let calm: Vec<Measured> = alone.iter().zip(again).map(between).collect();
        let (rate, cost) = (|it: &Measured| it.rate, Measured::cost);
        println!(
            "{:<26}{:>8.0} tps{:>8.0} tps{:>24}{:>9.1} µs{:>9.1} µs{:>24}",
            workload.to_string(),
            Spread::of(calm.iter().map(rate)).median,
            Spread::of(beside.iter().map(rate)).median,
            Spread::of_ratios((beside, &calm), rate),
            Spread::of(calm.iter().map(cost)).median,
            Spread::of(beside.iter().map(cost)).median,
            Spread::of_ratios((beside, &calm), cost),
        );
    }
    println!(
        "
Portcullis only, beside {count} idle sessions, each of them a process of the database's; {each:.1} KiB of the gateway's
memory for each. alone: the mean of before they came and after they had gone."
    );
    Ok(())
}

fn measured(route: &Route, extent: Extent) -> Result<Vec<Vec<Measured>>> {
    let rounds = |workload: &Workload| {
        (0..extent.rounds).map(|_| workload.run(route, extent.seconds)).collect()
    };
    WORKLOADS.iter().map(rounds).collect()
}

fn between((one, other): (&Measured, &Measured)) -> Measured {
    let processor = f64::midpoint(one.cost(), other.cost());
    Measured { rate: f64::midpoint(one.rate, other.rate), processor: Some(processor) }
}

/// As many as were asked for, or as the machine holds of the database's processes.
fn opened(door: &Door, wanted: usize) -> Result<Vec<Client>> {
    let mut crowd = Vec::with_capacity(wanted);
    while crowd.len() < wanted {
        if memory_free_kib()? < MEMORY_FREE_MIN_KIB {
            println!(
                "{} of {wanted} sessions: the memory for more backends is missing.",
                crowd.len()
            );
            break;
        }
        match door.open_many(STEP.min(wanted - crowd.len())) {
            Ok(more) => crowd.extend(more),
            Err(error) => {
                println!("{} of {wanted} sessions, and then: {error:#}", crowd.len());
                break;
            }
        }
    }
    ensure!(!crowd.is_empty(), "there is no memory for a crowd");
    Ok(crowd)
}
