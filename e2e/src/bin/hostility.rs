//! What others notice while some take more than their share: the time of a statement and of a login, in calm and under
//! each attack, one after the other on one stack. `cargo xtask bench hostility` builds and runs it.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::load::{self, Crowd, SSL_REQUEST};
use e2e::raw::Client;
use testkit::process::{self, Identity};
use testkit::stack::{Credential, Options, Reach, Stack};
use testkit::wait;

/// Of those who are slow.
const EACH_BYTE: Duration = Duration::from_secs(1);
const PHASE: Duration = Duration::from_secs(8);
/// Between two statements, and between two logins, of those who are measured.
const BETWEEN_STATEMENTS: Duration = Duration::from_millis(2);
const BETWEEN_LOGINS: Duration = Duration::from_millis(40);

fn main() -> Result<()> {
    process::raise_descriptor_limit()?;
    let mut stack = Stack::start(&Options::default())?;
    let facts = stack.facts.clone();
    let token = facts.api.token(Credential::Secret)?;
    let (reach, server) = (&facts.reach, stack.server().identity().clone());
    println!(
        "{:<42} {:>22} {:>22} {:>10}",
        "", "statement p50/p99 ms", "login p50/p99 ms", "memory MiB"
    );
    for (name, attack) in attacks(reach, &token) {
        // The machine's own mood changes; what is compared is next to one another.
        let calm = measured("calm", reach, &token, &server)?;
        let held = attack()?;
        let under = measured(name, reach, &token, &server)?;
        println!(
            "{:<42} {:>21.1}x {:>21.1}x",
            "  p99 against calm",
            under.statement.p99 / calm.statement.p99,
            under.login.p99 / calm.login.p99
        );
        drop(held);
    }
    measured("calm again", reach, &token, &server)?;
    Ok(())
}

/// Its name, and how it is begun.
type Attack<'a> = (&'static str, Box<dyn Fn() -> Result<Held> + 'a>);

fn attacks<'a>(reach: &'a Reach, token: &'a str) -> [Attack<'a>; 6] {
    [
        (
            "10,000 half-open from 10,000 addresses",
            Box::new(|| Ok(Held::Streams(load::half_open(reach.port, 10_000, &SSL_REQUEST)?))),
        ),
        (
            "150 logins of one byte a second",
            Box::new(|| Ok(Held::Crowd(Crowd::slow_logins(150, reach, EACH_BYTE)))),
        ),
        (
            "50 sessions of one byte a second",
            Box::new(|| Ok(Held::Crowd(Crowd::slow_sessions(50, reach, token, EACH_BYTE)))),
        ),
        (
            "20 that never read 10 GB",
            Box::new(|| Ok(Held::Clients(load::never_reading(20, reach, token)?))),
        ),
        (
            "connections, dropped at once, by 4",
            Box::new(|| {
                let port = reach.port;
                Ok(Held::Crowd(Crowd::of(4, move |_| {
                    load::connect_from(load::address(7), port)?;
                    wait::pause(Duration::from_millis(1));
                    Ok(())
                })))
            }),
        ),
        ("a storm of logins by 4", Box::new(|| Ok(Held::Crowd(Crowd::logins(4, reach, token))))),
    ]
}

/// What an attack holds until it is over.
enum Held {
    Streams(#[expect(dead_code, reason = "held, not read")] Vec<TcpStream>),
    Crowd(#[expect(dead_code, reason = "held, not read")] Crowd),
    Clients(#[expect(dead_code, reason = "held, not read")] Vec<Client>),
}

struct Figures {
    statement: Spread,
    login: Spread,
}

struct Spread {
    p50: f64,
    p99: f64,
}

impl Spread {
    fn of(mut samples: Vec<Duration>) -> Result<Self> {
        samples.sort_unstable();
        let at = |part: usize| samples.get(samples.len().saturating_sub(1) * part / 100);
        let milliseconds = |sample: Option<&Duration>| sample.map(|s| s.as_secs_f64() * 1000.0);
        let p50 = milliseconds(at(50)).context("nothing was measured")?;
        Ok(Self { p50, p99: milliseconds(at(99)).unwrap_or(p50) })
    }
}

/// One session's statements and one client's logins, side by side.
fn measured(name: &str, reach: &Reach, token: &str, server: &Identity) -> Result<Figures> {
    let (statements, logins) = thread::scope(|scope| {
        let logins = scope.spawn(|| {
            samples(BETWEEN_LOGINS, || Client::open(reach, "orders-api", token).map(drop))
        });
        let statements = session(reach, token).and_then(|mut client| {
            samples(BETWEEN_STATEMENTS, || {
                client.query("select 1")?;
                client.read_until(b'Z').map(drop)
            })
        });
        (statements, logins.join())
    });
    let logins = logins.map_err(|_| anyhow::anyhow!("the measuring thread panicked"))??;
    let figures = Figures { statement: Spread::of(statements?)?, login: Spread::of(logins)? };
    println!(
        "{name:<42} {:>10.2} / {:>9.2} {:>10.1} / {:>9.1} {:>10}",
        figures.statement.p50,
        figures.statement.p99,
        figures.login.p50,
        figures.login.p99,
        load::resident_bytes(server)? >> 20
    );
    Ok(figures)
}

/// One that may have to be asked for more than once, while strangers hold all places.
fn session(reach: &Reach, token: &str) -> Result<Client> {
    wait::try_until(PHASE, || Client::open(reach, "orders-api", token).ok())
        .context("no session could be opened")
}

/// For one phase; a login that is turned away counts from its first try.
fn samples(between: Duration, mut act: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    let (begun, mut samples) = (wait::now(), Vec::new());
    while begun.elapsed() < PHASE {
        let one = wait::now();
        wait::try_until(PHASE, || act().ok()).context("it did not work any more")?;
        samples.push(one.elapsed());
        wait::pause(between);
    }
    Ok(samples)
}
