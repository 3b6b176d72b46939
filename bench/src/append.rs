//! What an append to the audit log takes, without anything around it.

use std::time::Duration;

use anyhow::Result;
use audit::{Log, Options};
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
    /// A value, of which JSON is made.
    Value,
    /// JSON that the caller has.
    Json,
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
    let body = statement()?;
    let json = serde_json::to_vec(&body)?;
    println!("{ROUNDS} rounds of {APPENDS} appends, each of a statement of {} bytes.", json.len());
    let [values, texts] = in_turns(ROUNDS, &[Way::Value, Way::Json], |way| {
        let mut times = Vec::with_capacity(APPENDS);
        for _ in 0..APPENDS {
            let begun = wait::now();
            match way {
                Way::Value => log.append(std::slice::from_ref(&body))?,
                Way::Json => log.append_encoded(&[&json])?,
            };
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(sorted(times))
    })?;
    for (name, rounds) in [("Log::append", values), ("Log::append_encoded", texts)] {
        let at = |hundredths| {
            let each = rounds.iter().map(|times| percentile(times, hundredths));
            Spread::of(each).in_units(" µs", 2)
        };
        println!("{name:<22}p50 {:<26}p99 {:<26}", at(50), at(99));
    }
    Ok(())
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
        parameters: vec![],
    })))
}
