//! The end of access while a session is open: by the clock, then by an approver. Measured, not claimed.

use std::time::Duration;

use anyhow::{Context, Result};
use model::Timestamp;
use serde_json::Value;
use testkit::stack::{self, Stack};
use testkit::wait;

use super::cast::Cast;
use crate::stage::{Beside, Stage};

/// From the moment at which access ends to the client's error.
const CUT_WITHIN: Duration = Duration::from_millis(100);
/// What the client is told begins with it.
const TOLD: &str = "FATAL:";

/// A session with a running statement, so that psql reads all the time and shows when the end comes.
pub(super) fn open(stage: &Stage, cast: &Cast) -> Result<Beside> {
    stage.say("A session is open, with a statement that runs for ten minutes:");
    let session = stage.begin(&cast.dev, &Cast::psql("select pg_sleep(600)"))?;
    wait::try_until(Duration::from_secs(10), || {
        let sessions = cast.facts.admin.run(&["sessions", "-o", "json"]).ok()?.json().ok()?;
        sessions.to_string().contains("pg_sleep").then_some(())
    })
    .context("the session does not open")?;
    Ok(session)
}

/// The time is over.
pub(super) fn expiry(
    stage: &mut Stage,
    cast: &Cast,
    stack: &Stack,
    session: Beside,
    activation: &str,
) -> Result<()> {
    stage.scene(5, "Access ends while the session is open");
    stage.say("First because the time is over.");
    let document = ["get", "activations", activation, "-o", "json"];
    let document = cast.facts.admin.run(&document)?.json()?;
    let deadline = instant(&document, "/status/activeUntil")?;
    let read = session.read_until(TOLD, Duration::from_mins(1))?;
    session.finish()?;
    measured(stage, cast, deadline, read)?;
    locked_out(stage, cast, stack)
}

/// An approver takes it back.
pub(super) fn revocation(stage: &mut Stage, cast: &Cast, stack: &Stack) -> Result<()> {
    stage.say("Then because an approver takes it back.");
    stage.run(
        &cast.dev,
        "portcullis request orders-readers --for 30m --because \"one more look\"",
    )?;
    let activation = cast.requested(stack::DEV)?;
    stage.run(&cast.approver, &format!("portcullis approve {activation}"))?;
    let session = open(stage, cast)?;
    let revoke = format!("portcullis revoke {activation} --note \"that was enough\"");
    let revoked = stage.run(&cast.approver, &revoke)?;
    stage.claim("the approver revokes", revoked.ok());
    let read = session.read_until(TOLD, Duration::from_mins(1))?;
    session.finish()?;
    let cause = instant(&last_cut(cast)?, "/causeAt")?;
    measured(stage, cast, cause, read)?;
    locked_out(stage, cast, stack)
}

fn measured(stage: &mut Stage, cast: &Cast, cause: Timestamp, read: Timestamp) -> Result<()> {
    let late = read.since(cause);
    stage.claim(
        &format!("psql read the error {:.1} ms after access had ended", milliseconds(late)),
        read >= cause && late <= CUT_WITHIN,
    );
    // The record is whole once the server has been seen without the session.
    let cut = wait::try_until(Duration::from_secs(10), || {
        let cut = last_cut(cast).ok()?;
        cut.get("backendGoneAt").is_some().then_some(cut)
    });
    let cut = match cut {
        Some(cut) => cut,
        None => last_cut(cast)?,
    };
    let recorded = instant(&cut, "/causeAt")?;
    for (what, pointer) in [
        ("last byte forwarded to the server", "/lastForwardedAt"),
        ("forwarding stopped for good", "/stoppedAt"),
        ("client told and closed", "/clientClosedAt"),
        ("backend gone from the server", "/backendGoneAt"),
    ] {
        match instant(&cut, pointer) {
            Ok(at) if at < recorded => {
                let before = milliseconds(recorded.since(at));
                println!("  {what:<36}{before:>9.1} ms before");
            }
            Ok(at) => println!("  {what:<36}{:>9.1} ms after", milliseconds(at.since(recorded))),
            Err(_) => println!("  {what:<36}        not recorded"),
        }
    }
    stage.claim(
        "the audit log holds cause, last byte, client closed and backend gone",
        cut.get("backendGoneAt").is_some(),
    );
    Ok(())
}

/// Even where the server asks for no credential at all.
fn locked_out(stage: &mut Stage, cast: &Cast, stack: &Stack) -> Result<()> {
    let through = stage.run(&cast.dev, &Cast::psql("select 1"))?;
    stage.claim("the gateway lets the developer in no more", through.code == 2);
    stage.say("And around the gateway, were pg_hba.conf opened to everyone on this host:");
    let hba = stack.postgres.data_directory().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba)?;
    std::fs::write(&hba, format!("local orders all trust\n{rules}"))?;
    stack.postgres.reload()?;
    let around = cast.superuser_psql.replace("-U postgres", &format!("-U {}", stack::DEV));
    let around = wait::try_until(Duration::from_secs(10), || {
        let said =
            testkit::program::run(&mut cast.operator.shell(&format!("{around} -c 'select 1'")));
        said.ok().filter(|said| !said.stderr.contains("no pg_hba.conf entry"))
    });
    std::fs::write(&hba, rules)?;
    stack.postgres.reload()?;
    let around = around.context("the server does not read its rules again")?;
    println!("  {}", around.stderr.trim_end());
    stage.claim(
        "the database user itself cannot log in",
        around.stderr.contains("is not permitted to log in"),
    );
    Ok(())
}

/// The newest `sessionCut` event.
fn last_cut(cast: &Cast) -> Result<Value> {
    let events = cast.facts.audit(&["--type", "sessionCut"])?;
    events.last().cloned().context("no cut is in the audit log")
}

fn instant(value: &Value, pointer: &str) -> Result<Timestamp> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no `{pointer}` in {value}"))?.parse()?)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
