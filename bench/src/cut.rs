//! From the commit of a revocation until a client finds its connection closed.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use model::Timestamp;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde_json::Value;
use testkit::stack::{Facts, Person};
use testkit::{program, wait};

use crate::Extent;
use crate::machine::wall_clock;
use crate::sessions::{self, Client, Door, Engine};
use crate::stacks;
use crate::statistics::{Spread, percentile, sorted};

const GROUP: &str = "orders-readers";
/// A person may ask sixty times an hour.
const REQUESTS_MAX: usize = 50;
const WITHIN: Duration = Duration::from_secs(30);
const EVENTS_AT_ONCE: usize = 64;

pub(crate) fn run(extent: Extent, engine: Engine) -> Result<()> {
    let stack = stacks::for_sessions(extent.sessions, engine)?;
    let facts = &stack.facts;
    one_by_one((facts, engine), extent.revocations)?;
    let person = facts.newcomer("crowd@example.com", &[GROUP])?;
    let mut rounds = Vec::new();
    for _ in 0..extent.rounds {
        rounds.push(all_at_once((facts, engine), &person, extent.sessions)?);
        sessions::all_gone(&stack, engine)?;
    }
    println!("\n{} sessions of one person, cut at once, ms after the commit:", extent.sessions);
    let say = |what: &str, of: fn(&Crowd) -> f64| {
        println!("{what:<44}{:>28}", Spread::of(rounds.iter().map(of)).in_units("", 1));
    };
    say("first client closed", |crowd| crowd.first);
    say("half of them", |crowd| crowd.half);
    say("last client closed", |crowd| crowd.last);
    say("forwarding of the last one stopped", |crowd| crowd.stopped);
    println!(
        "
The commit's time is the store's, from the record of the cut; clients are this process, on the same clock, and a
connection is closed when its socket reads as closed. Half of the single sessions were idle, half had a statement running."
    );
    Ok(())
}

/// The record of a session's end, and when its client found the connection closed.
type Seen = (Value, Timestamp);

fn one_by_one((facts, engine): (&Facts, Engine), count: usize) -> Result<()> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let person = facts.newcomer(&format!("single{}@example.com", all.len()), &[GROUP])?;
        let mut closed = Vec::new();
        for number in 0..REQUESTS_MAX.min(count - all.len()) {
            closed.push(one((facts, engine), &person, number % 2 == 1)?);
        }
        all.extend(recorded(facts, &person, closed)?);
    }
    let (cut, ended): (Vec<_>, Vec<_>) =
        all.iter().partition(|(event, _)| event.get("causeAt").is_some());
    let since_commit = |moment: fn(&Seen) -> Option<Timestamp>| {
        let each = cut
            .iter()
            .filter_map(|cut| Some(milliseconds(instant(&cut.0, "/causeAt").ok()?, moment(cut)?)));
        sorted(each.collect())
    };
    println!("{count} sessions, cut one by one, ms after the commit:");
    println!("{:<44}{:>8}{:>8}{:>8}{:>8}", "", "n", "p50", "p99", "most");
    for (what, times) in [
        ("(a) forwarding stopped", since_commit(|cut| instant(&cut.0, "/stoppedAt").ok())),
        ("(b) the client's connection closed", since_commit(|cut| Some(cut.1))),
        (
            "(c) backend gone, as the cut's record has it",
            since_commit(|cut| instant(&cut.0, "/backendGoneAt").ok()),
        ),
    ] {
        let at = |hundredths| percentile(&times, hundredths);
        println!("{what:<44}{:>8}{:>8.1}{:>8.1}{:>8.1}", times.len(), at(50), at(99), at(100));
    }
    for (event, _) in ended {
        println!("One has no record of a cut, so that it cannot be timed. It ended so: {event}");
    }
    Ok(())
}

/// Access given, used and taken back; when the client found its connection closed.
fn one((facts, engine): (&Facts, Engine), person: &Person, running: bool) -> Result<Timestamp> {
    let activation = facts.activate(person, GROUP, "10m")?;
    let mut client = Door::person(person, engine)?.open()?;
    if running {
        client.sleep()?;
    }
    let mut socket = client.tcp().try_clone()?;
    let watching = std::thread::spawn(move || until_closed(&mut socket));
    revoke(facts, &activation)?;
    watching.join().map_err(|_| anyhow!("the watcher panicked"))?
}

struct Crowd {
    first: f64,
    half: f64,
    last: f64,
    stopped: f64,
}

fn all_at_once((facts, engine): (&Facts, Engine), person: &Person, count: usize) -> Result<Crowd> {
    let activation = facts.activate(person, GROUP, "30m")?;
    let clients = Door::person(person, engine)?.open_many(count)?;
    let begun = wall_clock();
    let closed = std::thread::scope(|scope| {
        let watching = scope.spawn(|| all_closed(&clients));
        revoke(facts, &activation)?;
        watching.join().map_err(|_| anyhow!("the watcher panicked"))?
    })?;
    let cuts = wait::try_until(WITHIN, || {
        let cuts = facts.audit(&["--type", "sessionCut", "--text", &person.user]).ok()?;
        let now = |cut: &Value| instant(cut, "/causeAt").is_ok_and(|at| at >= begun);
        let cuts: Vec<Value> = cuts.into_iter().filter(now).collect();
        (cuts.len() == count).then_some(cuts)
    });
    let cuts = cuts.context("not every cut is recorded")?;
    let cause = instant(cuts.first().context("no cut")?, "/causeAt")?;
    let closed = sorted(closed.into_iter().map(|at| milliseconds(cause, at)).collect());
    let stopped = cuts.iter().map(|cut| Ok(milliseconds(cause, instant(cut, "/stoppedAt")?)));
    let stopped = sorted(stopped.collect::<Result<_>>()?);
    Ok(Crowd {
        first: percentile(&closed, 0),
        half: percentile(&closed, 50),
        last: percentile(&closed, 100),
        stopped: percentile(&stopped, 100),
    })
}

fn revoke(facts: &Facts, activation: &str) -> Result<()> {
    let mut command = facts.approver.portcullis(&["revoke", activation, "--note", "enough"]);
    program::run(&mut command)?.expect_success().map(drop)
}

/// The moment at which it reads as closed.
fn until_closed(socket: &mut TcpStream) -> Result<Timestamp> {
    socket.set_read_timeout(Some(WITHIN))?;
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(wall_clock()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Ok(wall_clock());
            }
            Err(error) => return Err(error).context("the session was not cut"),
        }
    }
}

/// The moments at which each of them reads as closed.
fn all_closed(clients: &[Client]) -> Result<Vec<Timestamp>> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    for (number, client) in (0_u64..).zip(clients) {
        client.tcp().set_nonblocking(true)?;
        epoll::add(&poll, client.tcp(), EventData::new_u64(number), EventFlags::IN)?;
    }
    let mut closed = Vec::with_capacity(clients.len());
    let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
    let timeout = rustix::event::Timespec { tv_sec: WITHIN.as_secs().try_into()?, tv_nsec: 0 };
    while closed.len() < clients.len() {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
        ensure!(!events.is_empty(), "{} of {} sessions were cut", closed.len(), clients.len());
        for event in &events {
            let client = clients.get(usize::try_from(event.data.u64())?).context("a stranger")?;
            if is_closed(client.tcp())? {
                closed.push(wall_clock());
                epoll::delete(&poll, client.tcp())?;
            }
        }
    }
    Ok(closed)
}

/// Reads what there is.
fn is_closed(mut socket: &TcpStream) -> Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) => match error.kind() {
                std::io::ErrorKind::WouldBlock => return Ok(false),
                std::io::ErrorKind::ConnectionReset => return Ok(true),
                _ => bail!(error),
            },
        }
    }
}

/// The record of each session's cut, or else of its end, with the moment at which its client saw it.
fn recorded(facts: &Facts, person: &Person, closed: Vec<Timestamp>) -> Result<Vec<Seen>> {
    let events = |kind| facts.audit(&["--type", kind, "--text", &person.user]);
    let ended = wait::try_until(WITHIN, || {
        let ended = events("sessionEnded").ok()?;
        (ended.len() == closed.len()).then_some(ended)
    });
    let ended = ended.context("not every session's end is recorded")?;
    let (opened, cuts) = (events("sessionOpened")?, events("sessionCut")?);
    ensure!(opened.len() == closed.len(), "{} sessions of {}", opened.len(), closed.len());
    let of = |session: Option<&Value>| {
        let same = |event: &&Value| event.get("session") == session;
        cuts.iter().find(same).or_else(|| ended.iter().find(same)).cloned()
    };
    let each = opened.iter().zip(closed);
    each.map(|(opened, closed)| Ok((of(opened.get("session")).context("no end")?, closed)))
        .collect()
}

fn instant(value: &Value, pointer: &str) -> Result<Timestamp> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no `{pointer}` in {value}"))?.parse()?)
}

fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64() * 1000.0
}
