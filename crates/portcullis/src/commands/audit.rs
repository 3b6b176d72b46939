//! `portcullis audit`: what happened, from the server; and the proof that the log is whole, offline.

mod begin_anew;
mod proof;
mod story;

use audit::verify::{DamageKind, Verified};
use model::{Lifetime, SessionId, Timestamp};
use runtime::Clock;
use serde_json::Value;

use crate::address::Address;
use crate::cli::{AuditCommand, AuditSearch, Common, Format};
use crate::events::{self, Found};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::remote::Remote;
use crate::table::pairs;
use proof::Given;
use story::StatementStory;

pub(crate) fn search(common: &Common, search: &AuditSearch) -> Result<(), Failure> {
    let remote = Remote::open(common, "read the audit log")?;
    let address = address(search)?;
    if search.follow {
        return remote.lines(&address, |line| show_line(common.output, line));
    }
    if common.output == Format::Json {
        return remote.lines(&address, output::line);
    }
    let mut found = Vec::new();
    remote.lines(&address, |line| {
        found.push(read(line)?);
        Ok(())
    })?;
    if found.is_empty() && common.output == Format::Table {
        output::note("no event matches; --since 7d looks further back");
        return Ok(());
    }
    output::show_all(common.output, &found, || events::table(&found))
}

fn address(search: &AuditSearch) -> Result<Address, Failure> {
    let now = Clock::system().now();
    let since = when(&search.since, now)?;
    let until = search.until.as_deref().map(|until| when(until, now)).transpose()?;
    let session = search.session.map(|session| session.to_string());
    let access = match (search.read, search.wrote) {
        (true, _) => Some("read"),
        (_, true) => Some("wrote"),
        (false, false) => None,
    };
    let types = (!search.types.is_empty()).then(|| search.types.join(","));
    let address = Address::of(&["v1", "audit"])
        .with("since", &since.to_string())
        .maybe("until", until.map(|until| until.to_string()).as_deref())
        .maybe("actor", search.actor.as_deref())
        .maybe("server", search.server.as_ref().map(model::ServerName::as_str))
        .maybe("session", session.as_deref())
        .maybe("types", types.as_deref())
        .maybe("code", search.code.as_deref())
        .maybe("table", search.table.as_deref())
        .maybe("access", access)
        .maybe("text", search.text.as_deref())
        .with("limit", &search.limit.to_string());
    Ok(if search.follow { address.with("follow", "true") } else { address })
}

/// An instant, or so long ago.
fn when(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    match text.parse::<Lifetime>() {
        Ok(ago) => Ok(now.minus(ago.duration())),
        Err(_) => Err(Failure::new(
            "cannot read the audit log",
            format!("`{text}` is neither an instant nor a length of time"),
        )
        .exit(Exit::Usage)
        .next("write it like 2026-11-24T10:00:00Z, 30m, 8h or 2d")),
    }
}

fn read(line: &str) -> Result<Found, Failure> {
    serde_json::from_str(line).map_err(|error| {
        Failure::new("cannot read the audit log", format!("the server sent `{line}`: {error}"))
            .next("this program may be older than the server")
    })
}

fn show_line(format: Format, line: &str) -> Result<(), Failure> {
    match format {
        Format::Table => output::line(&events::line(&read(line)?.event)),
        Format::Json => output::line(line),
        Format::Yaml => {
            output::show(format, &read(line)?, String::new)?;
            output::line("---")
        }
    }
}

pub(crate) fn run(common: &Common, command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Show { session, number } => show(common, *session, *number),
        AuditCommand::Checkpoint => checkpoint(common),
        AuditCommand::BeginAnew { config, reason } => begin_anew::run(config, reason),
        AuditCommand::Verify { directory, public_key, checkpoint, gateway, config } => {
            let known = match (config, directory, public_key) {
                (Some(config), _, _) => proof::of_server(config, checkpoint.as_deref())?,
                (None, Some(directory), Some(public_key)) => proof::given(&Given {
                    directory,
                    public_key,
                    gateway: gateway.as_deref(),
                    checkpoint: checkpoint.as_deref(),
                })?,
                (None, _, _) => {
                    return Err(Failure::new(
                        "cannot verify the audit log",
                        "it is not said which",
                    )
                    .exit(Exit::Usage)
                    .next("add --config FILE, or --directory DIR and --public-key KEY"));
                }
            };
            verify(common, &known)
        }
    }
}

fn show(common: &Common, session: SessionId, number: u64) -> Result<(), Failure> {
    let remote = Remote::open(common, "show a statement")?;
    let (session, number) = (session.to_string(), number.to_string());
    let address = Address::of(&["v1", "audit", "statements", &session, &number]);
    let story: StatementStory = remote.get(&address)?;
    output::show(common.output, &story, || story.pairs())
}

fn checkpoint(common: &Common) -> Result<(), Failure> {
    let remote = Remote::open(common, "read the latest checkpoint")?;
    let position: Value = remote.get(&Address::of(&["v1", "audit", "checkpoint"]))?;
    // For people too: it is made to be kept in a file.
    let format = if common.output == Format::Table { Format::Json } else { common.output };
    output::show(format, &position, String::new)
}

fn verify(common: &Common, known: &proof::Known) -> Result<(), Failure> {
    let verified = known.verify().map_err(|damage| {
        Failure::new(format!("the audit log is not whole: {damage}"), reason(damage.kind)).next(
            "keep the folder as it is; compare it with backups and with the checkpoints kept elsewhere",
        )
    })?;
    output::show(common.output, &verified, || {
        let Verified { records, covered, staged, head, checkpoints } = &verified;
        let pairs = pairs([
            ("Records", records.to_string()),
            ("Covered by a signature", covered.to_string()),
            ("In no segment yet", staged.to_string()),
            ("Checkpoints that agree", checkpoints.to_string()),
            ("Head", head.clone()),
        ]);
        format!("the audit log is whole\n\n{pairs}")
    })
}

fn reason(kind: DamageKind) -> &'static str {
    match kind {
        DamageKind::Altered => "a record is not what it was when it was written",
        DamageKind::Missing => "records were taken out",
        DamageKind::Doubled => "a record was put in a second time",
        DamageKind::Swapped => "records were put into another order",
        DamageKind::TailMissing => "the end was cut off",
        DamageKind::SegmentMissing => "a whole file was taken away",
        DamageKind::Rewritten => "the chain was computed anew after something was changed",
        DamageKind::CheckpointForged => "a checkpoint was not signed by this log's key",
        DamageKind::NoCheckpoint => "nothing signed says how long the log should be",
        DamageKind::AnotherLog => "it is the log of another gateway, or of another key",
        DamageKind::Unreadable => "a file cannot be read",
    }
}
