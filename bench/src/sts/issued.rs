//! Tokens issued.

use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::https::Kept;
use testkit::server::Fsync;
use testkit::stack::{Options, Reach, Stack};
use testkit::wait;

use super::assertions::Signer;
use crate::Extent;
use crate::processor::Processor;
use crate::sessions::Memory;
use crate::statistics::{Spread, in_turns, percentile, sorted};

/// At once, each from an address of its own: budgets are by address.
const CLIENTS: usize = 64;
/// More tokens than the bare rate would allow are never issued.
const SPARE: f64 = 1.2;
/// Memory is looked at so many times.
const LOOKS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bare,
    Issued,
}

/// What one turn gave.
struct Turn {
    /// In a second.
    rate: f64,
    /// Milliseconds, in order; nothing for the bare operation.
    times: Vec<f64>,
    /// Microseconds of the server's processor time for one.
    processor: f64,
}

fn stack() -> Result<Stack> {
    Stack::start(&Options { fsync: Fsync::On, ..Options::default() })
}

pub(super) fn tokens(extent: Extent) -> Result<()> {
    let mut stack = stack()?;
    let signer = Signer::of(&stack.facts.api)?;
    let pid = stack.server().identity().pid;
    let reach = stack.facts.reach.clone();
    let bare = signer.bare_rate(1)?;
    let [bare, issued] = in_turns(extent.rounds, &[Way::Bare, Way::Issued], |way| match way {
        Way::Bare => {
            let rate = signer.bare_rate(extent.seconds)?;
            Ok(Turn { rate, times: Vec::new(), processor: f64::NAN })
        }
        Way::Issued => turn(&signer, &reach, pid, (bare, extent.seconds)),
    })?;
    let at = |hundredths| {
        let rounds = issued.iter().map(|turn| percentile(&turn.times, hundredths));
        Spread::of(rounds).in_units(" ms", 1)
    };
    let rates = |turns: &[Turn]| Spread::of(turns.iter().map(|turn| turn.rate));
    println!("bare RS256 signatures, all processors {:>30}", rates(&bare).in_units(" /s", 0));
    println!(
        "tokens for assertions, {CLIENTS} clients    {:>30}",
        rates(&issued).in_units(" /s", 0)
    );
    println!("tokens over signatures                {:>30}", {
        Spread::of_ratios((&issued, &bare), |turn| turn.rate)
    });
    println!("p50 {}, p99 {}", at(50), at(99));
    let processor = Spread::of(issued.iter().map(|turn| turn.processor));
    println!("the server's processor time for a token: {}", processor.in_units(" µs", 0));
    println!(
        "
Assertions are signed beforehand (PS256, as azure-identity's), each counts once; every token is on disk in the audit log,
and its assertion in the store, before the answer leaves. Clients keep their connections (TLS 1.3) and share the
processors with the server."
    );
    Ok(())
}

fn turn(signer: &Signer, reach: &Reach, pid: u32, (bare, seconds): (f64, u32)) -> Result<Turn> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
    let each = (bare * f64::from(seconds) * SPARE) as usize / CLIENTS + 1;
    let forms = signer.forms(CLIENTS, each)?;
    let before = Processor::of(pid)?;
    let (times, length) = present(reach, &forms, Some(Duration::from_secs(seconds.into())))?;
    let spent = Processor::of(pid)?.microseconds() - before.microseconds();
    let count = f64::from(u32::try_from(times.len())?);
    ensure!(count > 0.0, "no token was issued");
    Ok(Turn { rate: count / length.as_secs_f64(), times, processor: spent / count })
}

/// Each client presents its pile, until the time is over or nothing is left; milliseconds of each answer in order, and how
/// long it took in all.
fn present(
    reach: &Reach,
    piles: &[Vec<String>],
    within: Option<Duration>,
) -> Result<(Vec<f64>, Duration)> {
    let path = format!("/{}/oauth2/v2.0/token", reach.tenant);
    let ready = Barrier::new(piles.len() + 1);
    std::thread::scope(|scope| {
        let clients: Vec<_> = piles
            .iter()
            .zip(0_u8..)
            .map(|(pile, number)| {
                let (path, ready) = (&path, &ready);
                scope.spawn(move || {
                    let opened = Kept::open(reach, Ipv4Addr::new(127, 1, 0, number + 1));
                    ready.wait();
                    drained(opened?, path, pile, within.map(|within| wait::now() + within))
                })
            })
            .collect();
        ready.wait();
        let begun = wait::now();
        let mut times = Vec::new();
        for client in clients {
            times.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok((sorted(times), begun.elapsed()))
    })
}

fn drained(
    mut connection: Kept,
    path: &str,
    pile: &[String],
    until: Option<Instant>,
) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(pile.len());
    for form in pile {
        let begun = wait::now();
        if until.is_some_and(|until| begun >= until) {
            return Ok(times);
        }
        let answer = connection.post_form(path, form)?;
        ensure!(answer.status == 200, "no token: {}", answer.body);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    ensure!(
        until.is_none(),
        "a client had no assertions left: the turn was too short for its pile"
    );
    Ok(times)
}

/// Tokens for a secret, so that nothing needs to be signed beforehand.
pub(super) fn memory(extent: Extent) -> Result<()> {
    let mut stack = stack()?;
    let pid = stack.server().identity().pid;
    let api = &stack.facts.api;
    let form = e2e::https::form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &api.client_id),
        ("client_secret", &api.secret),
        ("scope", "https://ossrdbms-aad.database.windows.net/.default"),
    ]);
    let each = extent.tokens / LOOKS / CLIENTS + 1;
    let piles = vec![vec![form; each]; CLIENTS];
    println!("{:>12}{:>16}{:>16}{:>16}", "tokens", "all, KiB", "heap, KiB", "files, KiB");
    for look in 0..=LOOKS {
        let now = Memory::of(pid).context("the server is gone")?;
        let tokens = look * each * CLIENTS;
        println!("{tokens:>12}{:>16}{:>16}{:>16}", now.all, now.anonymous, now.files);
        if look < LOOKS {
            present(&stack.facts.reach, &piles, None)?;
        }
    }
    println!(
        "
Proportional set size (`/proc/PID/smaps_rollup`). Mapped files are the audit log's staging file and the program itself."
    );
    Ok(())
}
