//! What a login costs: a connection, TLS, a statement, and the end, over and over.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use testkit::wait;

use super::ways::{Way, Ways};
use crate::Extent;
use crate::measured::{Measured, spent};
use crate::statistics::{Spread, in_turns};

const SESSIONS: usize = 50;
const CLIENTS: [u32; 2] = [1, 8];
/// There are few logins in a second, and the kernel counts in hundredths of one.
const SECONDS_TIMES: u32 = 2;

pub(crate) fn run(extent: Extent) -> Result<()> {
    let ways = Ways::start(SESSIONS)?;
    for way in &ways.ways {
        drop(way.door.open()?);
    }
    for clients in CLIENTS {
        let turns = in_turns(extent.rounds, &ways.ways, |way| {
            logins(way, clients, Duration::from_secs(u64::from(extent.seconds * SECONDS_TIMES)))
        })?;
        println!("A connection for each statement, {clients} at once:");
        for (way, turns) in ways.ways.iter().zip(&turns) {
            let rate = Spread::of(turns.iter().map(|it| it.rate)).in_units(" logins a second", 0);
            let cost = Spread::of(turns.iter().map(|it| it.cost() / 1000.0));
            let cost = way.proxy.map(|_| cost.in_units(" ms of processor", 2));
            println!("  {:<12}{rate:>36}{:>36}", way.name, cost.unwrap_or_default());
        }
        let [naked, _, portcullis] = &turns;
        let ratio = Spread::of_ratios((portcullis, naked), |it: &Measured| it.rate);
        println!("  logins in a second, Portcullis over naked: {ratio}");
    }
    println!(
        "
naked, haproxy: one TLS handshake, an account without a password. Portcullis: one handshake with the client and one with
the server, a token, a decision, a certificate of this session's own."
    );
    Ok(())
}

fn logins(way: &Way, clients: u32, length: Duration) -> Result<Measured> {
    let before = way.processor()?;
    let started = wait::now();
    let count: u32 = thread::scope(|scope| {
        let one = || -> Result<u32> {
            let mut count = 0;
            while started.elapsed() < length {
                drop(way.door.open()?);
                count += 1;
            }
            Ok(count)
        };
        let running: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        let counts = running
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))));
        counts.sum::<Result<u32>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let processor = spent(before, way.processor()?).map(|spent| spent / f64::from(count));
    Ok(Measured { rate: f64::from(count) / seconds, processor })
}
