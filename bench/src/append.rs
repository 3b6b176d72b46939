//! What an append to the audit log takes, without anything around it.

use std::time::Duration;

use anyhow::Result;
use audit::{Log, Options, Records};
use keys::AuditKey;
use model::event::{Actor, EventBody, Statement, StatementProtocol};
use model::{PrincipalId, PrincipalKind, ServerName, SessionId};
use runtime::Clock;
use testkit::wait;

use crate::machine;
use crate::statistics::{Spread, in_turns, percentile, sorted};

const ROUNDS: usize = 5;
const APPENDS: usize = 100_000;
/// As the gateway's mode `bounded` has it.
const SYNC_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
enum Way {
    /// An event, for which memory is asked each time.
    Event,
    /// Written down in memory that is used again, as the data path does.
    Written,
    /// Written down before: only the log's own part.
    Records,
}

pub(crate) fn run() -> Result<()> {
    println!("{}", machine::described()?);
    let folder = tempfile::tempdir()?;
    let (log, _) = Log::open(Options {
        directory: folder.path().to_owned(),
        gateway: "gateway-1".to_owned(),
        key: AuditKey::generate()?,
        clock: Clock::system(),
        sync_interval: SYNC_INTERVAL,
        checkpoint_sink: None,
        known: None,
    })?;
    let event = statement()?;
    let bytes = serde_json::to_vec(&event)?.len();
    println!("{ROUNDS} rounds of {APPENDS} appends, each of a statement of {bytes} bytes.");
    let [events, written, records] =
        in_turns(ROUNDS, &[Way::Event, Way::Written, Way::Records], |way| {
            appended(&log, *way, &event)
        })?;
    for (name, rounds) in [
        ("Log::append of an event", events),
        ("Records::push and Log::append_records", written),
        ("Log::append_records alone", records),
    ] {
        let at = |hundredths| {
            let each = rounds.iter().map(|times| percentile(times, hundredths));
            Spread::of(each).in_units(" µs", 2)
        };
        println!("{name:<40}p50 {:<26}p99 {:<26}", at(50), at(99));
    }
    Ok(())
}

/// Microseconds of each append, in order of length.
fn appended(log: &Log, way: Way, event: &EventBody) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(APPENDS);
    let mut records = Records::default();
    records.push(event)?;
    for _ in 0..APPENDS {
        let begun = wait::now();
        match way {
            Way::Event => log.append(std::slice::from_ref(event))?,
            Way::Written => {
                records.clear();
                records.push(event)?;
                log.append_records(&records)?
            }
            Way::Records => log.append_records(&records)?,
        };
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(sorted(times))
}

/// As the gateway records one of `pgbench -S`.
fn statement() -> Result<EventBody> {
    let id = uuid::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
    Ok(EventBody::Statement(Box::new(Statement {
        session: SessionId(id),
        number: 4_711,
        actor: Actor {
            id: Some(PrincipalId(id)),
            name: "orders-owner".to_owned(),
            kind: Some(PrincipalKind::Application),
        },
        server: ServerName::new("orders")?,
        database: "orders".to_owned(),
        protocol: StatementProtocol::Simple,
        sql: "SELECT abalance FROM pgbench_accounts WHERE aid = 471147;".to_owned(),
        sql_bytes: None,
        sql_sha256: None,
        encoding: None,
        plain_backslash: false,
        database_doubtful: false,
        parameters: vec![],
    })))
}
