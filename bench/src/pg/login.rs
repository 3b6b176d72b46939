//! What a login costs the proxy: a client connection and a server connection of its own for every transaction.

use std::time::Duration;

use anyhow::{Context, Result};
use testkit::program;
use testkit::wait;

use crate::Extent;
use crate::measured::Measured;
use crate::pg::pgbouncer::{Logins, PgBouncer, Secret};
use crate::pg::route::Route;
use crate::pg::workload::Workload;
use crate::sessions::Engine;
use crate::stacks;
use crate::statistics::{Spread, in_turns};

const SESSIONS: usize = 50;
const CLIENTS: [u32; 2] = [1, 8];
/// There are few logins in a second, and the kernel counts in hundredths of one.
const SECONDS_TIMES: u32 = 3;
/// From the order to read its rules anew until the server has.
const RELOADED_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn run(extent: Extent) -> Result<()> {
    let mut stack = stacks::for_sessions(SESSIONS, Engine::PostgreSql)?;
    crate::pg::workload::prepare(&Route::naked(&stack)?)?;
    let bouncer = |secret| PgBouncer::start(&stack, SESSIONS, Logins::Scram(secret));
    let bouncers = [bouncer(Secret::Password)?, bouncer(Secret::Verifier)?];
    let [passwords, verifiers] = bouncers.each_ref().map(|each| Route::pgbouncer(&stack, each));
    let routes = [passwords, verifiers, Route::portcullis(&mut stack)?];
    routes.iter().try_for_each(let_in)?;
    for clients in CLIENTS {
        compare(clients, &routes, extent)?;
    }
    println!(
        "
Clients that connect for each transaction, through TLS on both sides. pgbouncer: SCRAM with the client and with the
server, session mode, `server_lifetime = 0`: no server connection is used twice, as in Portcullis."
    );
    Ok(())
}

fn compare(clients: u32, routes: &[Route; 3], extent: Extent) -> Result<()> {
    let workload = Workload::Connect { clients };
    let [passwords, verifiers, portcullis] = in_turns(extent.rounds, routes, |route| {
        workload.run(route, extent.seconds * SECONDS_TIMES)
    })?;
    let cost = Measured::cost;
    println!("{workload}:");
    for (name, route) in [
        ("pgbouncer, SCRAM, passwords in its file", &passwords),
        ("pgbouncer, SCRAM, verifiers in its file", &verifiers),
        ("Portcullis, token and certificate", &portcullis),
    ] {
        println!(
            "  {name:<42}{:>34}{:>36}",
            Spread::of(route.iter().map(|it| cost(it) / 1000.0)).in_units(" ms of processor", 2),
            Spread::of(route.iter().map(|it| it.rate)).in_units(" logins a second", 0),
        );
    }
    for (name, pgbouncer) in [("passwords", &passwords), ("verifiers", &verifiers)] {
        let ratio = Spread::of_ratios((&portcullis, pgbouncer), cost);
        println!("  Portcullis over pgbouncer with {name}: {ratio}");
    }
    Ok(())
}

fn let_in(route: &Route) -> Result<()> {
    let mut said = None;
    let ask = || {
        let answer = program::run(route.client("psql").args(["-X", "-A", "-t", "-c", "select 1"]));
        let ok = answer.as_ref().is_ok_and(program::Said::ok);
        said = Some(answer);
        ok.then_some(())
    };
    let reached = wait::try_until(RELOADED_WITHIN, ask);
    reached.with_context(|| format!("{} lets nobody in: {said:?}", route.name))
}
