//! Audit events for people: who, what, where, which values, how many rows, how long, with what outcome.

use std::collections::{BTreeSet, HashMap};

use affected::Affected;
use model::event::{Actor, Event, EventBody, Outcome, Parameter, Statement, StatementOutcome};
use model::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::table::Table;

/// Longer texts are cut in tables; `-o json` has all of it.
const TEXT_CHARACTERS_MAX: usize = 100;
const VALUE_CHARACTERS_MAX: usize = 40;
const TABLES_MAX: usize = 6;

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) time: String,
    pub(crate) who: String,
    pub(crate) event: String,
    pub(crate) on: String,
    pub(crate) what: String,
    pub(crate) tables: String,
    pub(crate) rows: String,
    pub(crate) took: String,
    pub(crate) outcome: String,
}

const HEADING: &[&str] =
    &["TIME", "WHO", "EVENT", "ON", "WHAT", "TABLES", "ROWS", "TOOK", "OUTCOME"];

/// An event as a search finds it; a statement with what it affected.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub(crate) event: Event,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) affected: Option<Affected>,
}

/// The events as a table; a statement and its outcome share a line.
pub(crate) fn table(found: &[Found]) -> String {
    let mut outcomes: HashMap<(SessionId, u64), &StatementOutcome> = HashMap::new();
    for Found { event, .. } in found {
        if let EventBody::StatementOutcome(outcome) = &event.body {
            outcomes.insert((outcome.session, outcome.number), outcome);
        }
    }
    let mut table = Table::new(HEADING);
    for Found { event, affected } in found {
        let row = match &event.body {
            EventBody::Statement(statement) => {
                let outcome = outcomes.remove(&(statement.session, statement.number));
                let row = statement_row(event.time, statement, outcome);
                Row { tables: affected.as_ref().map(tables).unwrap_or_default(), ..row }
            }
            EventBody::StatementOutcome(outcome) => {
                // Its statement stands above, or lies before what was asked for.
                if outcomes.remove(&(outcome.session, outcome.number)).is_none() {
                    continue;
                }
                outcome_row(event.time, outcome)
            }
            _ => row(event),
        };
        table.row(cells(row));
    }
    table.render()
}

/// One event as one line, for `--follow`.
pub(crate) fn line(event: &Event) -> String {
    let row = match &event.body {
        EventBody::Statement(statement) => statement_row(event.time, statement, None),
        EventBody::StatementOutcome(outcome) => outcome_row(event.time, outcome),
        _ => row(event),
    };
    let cells: Vec<String> = cells(row).into_iter().filter(|cell| !cell.is_empty()).collect();
    crate::table::visible(&cells.join("  "))
}

fn cells(row: Row) -> [String; 9] {
    let Row { time, who, event, on, what, tables, rows, took, outcome } = row;
    [time, who, event, on, what, tables, rows, took, outcome]
}

/// Each with `r` and `w` for read and written; `…` says that there may be others.
fn tables(affected: &Affected) -> String {
    let Affected { read, written, complete, because: _ } = affected;
    let names: BTreeSet<&String> = read.union(written).collect();
    let mut cell: Vec<String> = names
        .into_iter()
        .take(TABLES_MAX)
        .map(|name| {
            let how = match (read.contains(name), written.contains(name)) {
                (true, true) => "rw",
                (false, true) => "w",
                (_, false) => "r",
            };
            format!("{name}:{how}")
        })
        .collect();
    if !complete || read.union(written).count() > TABLES_MAX {
        cell.push("…".to_owned());
    }
    cell.join(" ")
}

fn statement_row(at: Timestamp, statement: &Statement, outcome: Option<&StatementOutcome>) -> Row {
    let mut row = Row {
        time: milliseconds(at),
        who: statement.actor.name.clone(),
        event: "statement".into(),
        on: format!("{}/{}", statement.server, statement.database),
        what: with_parameters(&statement.sql, &statement.parameters),
        ..Row::default()
    };
    if let Some(outcome) = outcome {
        (row.rows, row.took, row.outcome) = outcome_cells(outcome);
    }
    row
}

fn outcome_row(at: Timestamp, outcome: &StatementOutcome) -> Row {
    let (rows, took, text) = outcome_cells(outcome);
    Row {
        time: milliseconds(at),
        event: "outcome".into(),
        what: format!("statement {} of session {}", outcome.number, outcome.session),
        rows,
        took,
        outcome: text,
        ..Row::default()
    }
}

pub(crate) fn outcome_cells(outcome: &StatementOutcome) -> (String, String, String) {
    let text = match (&outcome.error, &outcome.note) {
        (Some(error), _) => format!("{}: {}", error.sqlstate, error.message),
        (None, Some(note)) => note.clone(),
        (None, None) => outcome.tags.join("; "),
    };
    (outcome.rows.to_string(), duration(outcome.duration_us), text)
}

fn row(event: &Event) -> Row {
    let base = Row { time: milliseconds(event.time), ..Row::default() };
    match &event.body {
        EventBody::Started { version, unknown_outcomes } => Row {
            event: "started".into(),
            what: format!("version {version}, {unknown_outcomes} statements without an outcome"),
            ..base
        },
        EventBody::Stopped => Row { event: "stopped".into(), ..base },
        EventBody::SessionRefused { actor, source, server, database, code, message, .. } => Row {
            who: actor.name.clone(),
            event: "session refused".into(),
            on: place(server.as_ref().map(ToString::to_string), database.as_deref()),
            what: format!("connection from {source}"),
            outcome: format!("{code}: {message}"),
            ..base
        },
        EventBody::SessionOpened(opened) => Row {
            who: opened.actor.name.clone(),
            event: "session opened".into(),
            on: format!("{}/{}", opened.server, opened.database),
            what: format!(
                "from {} as {} with {}",
                opened.source,
                opened.database_user,
                joined(&opened.roles)
            ),
            ..base
        },
        EventBody::SessionEnded(ended) => Row {
            who: ended.actor.name.clone(),
            event: "session ended".into(),
            what: format!("{} statements", ended.statements),
            outcome: match &ended.code {
                Some(code) => format!("{}, {code}", ended.reason),
                None => ended.reason.clone(),
            },
            ..base
        },
        EventBody::SessionCut(cut) => Row {
            who: cut.actor.name.clone(),
            event: "session cut".into(),
            on: cut.server.to_string(),
            what: format!("{}: {}", cut.code, cut.message),
            took: format!(
                "{:.1} ms",
                cut.client_closed_at.since(cut.cause_at).as_secs_f64() * 1000.0
            ),
            ..base
        },
        other => directory_row(other, base),
    }
}

fn directory_row(body: &EventBody, base: Row) -> Row {
    match body {
        EventBody::DatabaseUserWithdrawn { server, actor, user, left_behind, .. } => Row {
            who: actor.name.clone(),
            event: "user withdrawn".into(),
            on: server.to_string(),
            what: format!("{user} cannot log in"),
            outcome: left_behind.join("; "),
            ..base
        },
        EventBody::DatabaseUserChanged { server, actor, user, roles, test_stack } => Row {
            who: actor.name.clone(),
            event: "user changed".into(),
            on: server.to_string(),
            what: format!("{user} is a member of {}", joined(roles)),
            outcome: if *test_stack { "test stack".into() } else { String::new() },
            ..base
        },
        EventBody::Drift { server, finding } => {
            Row { event: "drift".into(), on: server.to_string(), what: finding.clone(), ..base }
        }
        EventBody::RelationNamed(named) => Row {
            event: "relation named".into(),
            on: format!("{}/{}", named.server, named.database),
            what: match (named.oid, &named.relation) {
                (Some(oid), Some(relation)) => {
                    format!("{oid} is {}.{}", relation.schema, relation.name)
                }
                (None, Some(relation)) => format!("{}.{}", relation.schema, relation.name),
                (Some(oid), None) => format!("{oid} has no name"),
                (None, None) => "a table has no name".into(),
            },
            outcome: match &named.relation {
                Some(relation) => relation.kind.clone(),
                None => named.because.clone().unwrap_or_default(),
            },
            ..base
        },
        EventBody::Write(write) => Row {
            who: write.actor.name.clone(),
            event: write.verb.clone(),
            on: write.subject.clone(),
            what: shortened(&joined(write.changes.keys()), TEXT_CHARACTERS_MAX),
            outcome: outcome_text(&write.outcome),
            ..base
        },
        EventBody::ActivationChanged(changed) => Row {
            who: changed.actor.name.clone(),
            event: changed.step.clone(),
            on: changed.group.clone(),
            what: match &changed.note {
                Some(note) => format!("for {}: {note}", changed.user),
                None => format!("for {}", changed.user),
            },
            outcome: outcome_text(&changed.outcome),
            ..base
        },
        other => credential_row(other, base),
    }
}

fn credential_row(body: &EventBody, base: Row) -> Row {
    match body {
        EventBody::SignIn { actor, source, step, client, outcome } => Row {
            who: actor.name.clone(),
            event: step.clone(),
            on: client.clone().unwrap_or_default(),
            what: source.map(|source| format!("from {source}")).unwrap_or_default(),
            outcome: outcome_text(outcome),
            ..base
        },
        EventBody::Alert { actor, alert, message, .. } => Row {
            who: actor.name.clone(),
            event: "alert".into(),
            on: alert.clone(),
            what: message.clone(),
            ..base
        },
        EventBody::Token { actor, grant, audience, outcome, .. } => Row {
            who: actor.name.clone(),
            event: "token".into(),
            on: audience.clone(),
            what: grant.clone(),
            outcome: outcome_text(outcome),
            ..base
        },
        EventBody::AuditRead { actor, query } => {
            Row { who: actor.name.clone(), event: "audit read".into(), what: query.clone(), ..base }
        }
        EventBody::Installation { actor, action, subject, .. } => {
            let Actor { name, .. } = actor;
            Row { who: name.clone(), event: action.clone(), on: subject.clone(), ..base }
        }
        // The other events are in `row` and `directory_row`.
        _ => base,
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "ok".to_owned(),
        Outcome::Refused { code, message } => format!("{code}: {message}"),
    }
}

fn with_parameters(sql: &str, parameters: &[Parameter]) -> String {
    let sql = shortened(&sql.split_whitespace().collect::<Vec<_>>().join(" "), TEXT_CHARACTERS_MAX);
    if parameters.is_empty() {
        return sql;
    }
    let values: Vec<String> = parameters
        .iter()
        .enumerate()
        .map(|(index, value)| format!("${}={}", index + 1, parameter(value)))
        .collect();
    format!("{sql} [{}]", values.join(", "))
}

pub(crate) fn parameter(value: &Parameter) -> String {
    match value {
        Parameter::Null => "NULL".to_owned(),
        Parameter::Text(text) => format!("'{}'", shortened(text, VALUE_CHARACTERS_MAX)),
        Parameter::Binary(hex) => format!("\\x{}", shortened(hex, VALUE_CHARACTERS_MAX)),
        Parameter::Truncated { start, bytes, .. } => {
            format!("'{}' ({bytes} bytes)", shortened(start, VALUE_CHARACTERS_MAX))
        }
        Parameter::Redacted { bytes, .. } => format!("({bytes} bytes, redacted)"),
    }
}

fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let start: String = text.chars().take(characters_max).collect();
    format!("{start}…")
}

fn place(server: Option<String>, database: Option<&str>) -> String {
    match (server, database) {
        (Some(server), Some(database)) => format!("{server}/{database}"),
        (Some(server), None) => server,
        (None, Some(database)) => database.to_owned(),
        (None, None) => String::new(),
    }
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn milliseconds(at: Timestamp) -> String {
    let text = at.to_string();
    let (seconds, fraction) = text.trim_end_matches('Z').split_once('.').unwrap_or((&text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{}.{fraction}Z", seconds.trim_end_matches('Z'))
}

fn duration(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let milliseconds = micros as f64 / 1000.0;
    if milliseconds < 1000.0 {
        return format!("{milliseconds:.2} ms");
    }
    format!("{:.2} s", milliseconds / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Found {
        serde_json::from_str(text).unwrap()
    }

    /// One session: a statement with bind values, one that the database refused, and the cut.
    fn story() -> Vec<Found> {
        const SESSION: &str = "0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1";
        let ada = r#"{"id":"7c1d5a52-62a3-4b39-b39f-3f4a10e4d9c1","name":"ada@example.com","kind":"user"}"#;
        [
            format!(r#"{{"sequence":1,"time":"2026-11-24T10:00:00.1Z","type":"activationChanged","activation":"{SESSION}","actor":{ada},"step":"request","user":"ada@example.com","group":"orders-readers","note":"ticket 4711","outcome":"succeeded"}}"#),
            format!(r#"{{"sequence":2,"time":"2026-11-24T10:00:01.25Z","type":"sessionOpened","session":"{SESSION}","actor":{ada},"source":"127.0.0.1","server":"orders","database":"orders","databaseUser":"ada@example.com","roles":["orders.reader"],"activations":[],"token":"{SESSION}","backendPid":7,"tls":"TLS 1.3"}}"#),
            format!(r#"{{"sequence":3,"time":"2026-11-24T10:00:02Z","type":"statement","session":"{SESSION}","number":1,"actor":{ada},"server":"orders","database":"orders","protocol":"extended","sql":"select *\n  from customers where id > $1","parameters":[{{"text":"4990"}},"null"],"affected":{{"read":["public.customers"],"written":[],"complete":true}}}}"#),
            format!(r#"{{"sequence":4,"time":"2026-11-24T10:00:02.1Z","type":"statementOutcome","session":"{SESSION}","number":1,"tags":["SELECT 9"],"rows":9,"durationUs":1500}}"#),
            format!(r#"{{"sequence":5,"time":"2026-11-24T10:00:03Z","type":"statement","session":"{SESSION}","number":2,"actor":{ada},"server":"orders","database":"orders","protocol":"simple","sql":"delete from orders","affected":{{"read":["orders"],"written":["orders"],"complete":false,"because":["x"]}}}}"#),
            format!(r#"{{"sequence":6,"time":"2026-11-24T10:00:03.1Z","type":"statementOutcome","session":"{SESSION}","number":2,"rows":0,"error":{{"sqlstate":"42501","message":"permission denied for table orders"}},"durationUs":2000000}}"#),
            format!(r#"{{"sequence":7,"time":"2026-11-24T10:00:04Z","type":"sessionCut","session":"{SESSION}","actor":{ada},"server":"orders","code":"PC1204","message":"your membership of `orders-readers` was revoked","causeAt":"2026-11-24T10:00:03.990Z","lastForwardedAt":"2026-11-24T10:00:03Z","stoppedAt":"2026-11-24T10:00:03.992Z","clientClosedAt":"2026-11-24T10:00:03.9985Z","told":true}}"#),
        ]
        .iter()
        .map(|text| found(text))
        .collect()
    }

    #[test]
    fn a_statement_and_its_outcome_share_a_line() {
        insta::assert_snapshot!(table(&story()), @r"
        TIME                      WHO              EVENT           ON              WHAT                                                        TABLES              ROWS  TOOK     OUTCOME
        2026-11-24T10:00:00.100Z  ada@example.com  request         orders-readers  for ada@example.com: ticket 4711                                                               ok
        2026-11-24T10:00:01.250Z  ada@example.com  session opened  orders/orders   from 127.0.0.1 as ada@example.com with orders.reader
        2026-11-24T10:00:02.000Z  ada@example.com  statement       orders/orders   select * from customers where id > $1 [$1='4990', $2=NULL]  public.customers:r  9     1.50 ms  SELECT 9
        2026-11-24T10:00:03.000Z  ada@example.com  statement       orders/orders   delete from orders                                          orders:rw …         0     2.00 s   42501: permission denied for table orders
        2026-11-24T10:00:04.000Z  ada@example.com  session cut     orders          PC1204: your membership of `orders-readers` was revoked                               8.5 ms
        ");
    }

    #[test]
    fn an_outcome_whose_statement_lies_before_is_not_lost() {
        let outcome = story().split_off(3);
        insta::assert_snapshot!(table(&outcome[..1]), @r"
        TIME                      WHO  EVENT    ON  WHAT                                                         TABLES  ROWS  TOOK     OUTCOME
        2026-11-24T10:00:02.100Z       outcome      statement 1 of session 0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1          9     1.50 ms  SELECT 9
        ");
    }

    #[test]
    fn lines_as_they_happen_name_the_same() {
        let lines: Vec<String> = story().iter().map(|found| line(&found.event)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        2026-11-24T10:00:00.100Z  ada@example.com  request  orders-readers  for ada@example.com: ticket 4711  ok
        2026-11-24T10:00:01.250Z  ada@example.com  session opened  orders/orders  from 127.0.0.1 as ada@example.com with orders.reader
        2026-11-24T10:00:02.000Z  ada@example.com  statement  orders/orders  select * from customers where id > $1 [$1='4990', $2=NULL]
        2026-11-24T10:00:02.100Z  outcome  statement 1 of session 0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1  9  1.50 ms  SELECT 9
        2026-11-24T10:00:03.000Z  ada@example.com  statement  orders/orders  delete from orders
        2026-11-24T10:00:03.100Z  outcome  statement 2 of session 0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1  0  2.00 s  42501: permission denied for table orders
        2026-11-24T10:00:04.000Z  ada@example.com  session cut  orders  PC1204: your membership of `orders-readers` was revoked  8.5 ms
        ");
    }
}
