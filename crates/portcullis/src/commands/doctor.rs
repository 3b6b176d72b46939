//! `portcullis doctor`: the usual mistakes, each with a stable code and the next step. The installation is asked over its
//! API; files, disks and listeners are looked at on the server's own host.

mod host;

use std::time::Duration;

use model::Timestamp;
use model::finding::{self, Finding, Severity};
use runtime::Clock;
use serde::Deserialize;

use crate::address::Address;
use crate::cli::{Common, Doctor, Format};
use crate::failure::{Exit, Failure};
use crate::installation;
use crate::output;
use crate::remote::Remote;
use crate::table::Table;

/// A person's clock may differ so much: an authenticator's code is good for 30 s either way.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct Examined {
    now: Timestamp,
    items: Vec<Finding>,
}

pub(crate) fn run(common: &Common, options: &Doctor) -> Result<(), Failure> {
    let mut findings = Vec::new();
    if let Some(file) = &options.config {
        findings.extend(host::findings(&installation::config(file)?));
    }
    if !options.offline {
        match asked(common) {
            Ok(found) => findings.extend(found),
            // What was found on this host counts all the same.
            Err(failure) if options.config.is_some() => {
                output::note(&format!("{failure}\n  so only this host was looked at"));
            }
            Err(failure) => return Err(failure),
        }
    }
    findings.sort_by(|one, other| {
        (other.severity, &one.code, &one.subject).cmp(&(one.severity, &other.code, &other.subject))
    });
    findings.dedup_by(|one, other| one.code == other.code && one.message == other.message);
    let format = if options.json { Format::Json } else { common.output };
    output::show_all(format, &findings, || text(&findings))?;
    verdict(&findings)
}

/// What the installation knows of itself and its servers, and whether our clocks agree.
fn asked(common: &Common) -> Result<Vec<Finding>, Failure> {
    let remote = Remote::open(common, "ask the installation what is wrong")?;
    let asked_at = Clock::system().now();
    let Examined { now, mut items } = remote.get(&Address::of(&["v1", "doctor"]))?;
    items.extend(clocks(asked_at, Clock::system().now(), now));
    Ok(items)
}

/// The answer was made between the two of ours.
fn clocks(asked_at: Timestamp, answered_at: Timestamp, theirs: Timestamp) -> Option<Finding> {
    let apart = theirs.since(answered_at).max(asked_at.since(theirs));
    (apart > CLOCKS_APART_MAX).then(|| {
        let message = format!("this machine says {answered_at}, the installation {theirs}");
        finding::CLOCKS_DIFFER.found("host", message)
    })
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing is wrong that the doctor knows of\n".to_owned();
    }
    let mut table = Table::new(&["CODE", "SEVERITY", "WHERE", "WHAT"]);
    for Finding { code, severity, subject, message, .. } in findings {
        let severity = word(*severity).to_owned();
        table.row([code.clone(), severity, subject.clone(), message.clone()]);
    }
    let mut steps = Table::new(&["CODE", "NEXT"]);
    let mut told = std::collections::BTreeSet::new();
    for Finding { code, next, .. } in findings.iter().filter(|found| told.insert(&found.next)) {
        steps.row([code.clone(), next.clone()]);
    }
    format!("{}\n{}", table.render(), steps.render())
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn verdict(findings: &[Finding]) -> Result<(), Failure> {
    if findings.is_empty() {
        return Ok(());
    }
    let errors = findings.iter().filter(|found| found.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    Err(Failure::new(
        format!("the doctor found {} and {}", count(errors, "error"), count(warnings, "warning")),
        "each is listed with its code; docs/reference/findings.md explains them",
    )
    .exit(Exit::Found)
    .next("do what stands under NEXT, then run `portcullis doctor` again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_when_the_answer_cannot_have_been_made_between_question_and_answer() {
        let at = |seconds: i64| Timestamp::from_seconds(1_795_000_000 + seconds);
        for (theirs, found) in [(-15, false), (-16, true), (25, false), (26, true)] {
            assert_eq!(clocks(at(0), at(10), at(theirs)).is_some(), found, "{theirs}");
        }
    }

    #[test]
    fn findings_are_listed_with_their_next_steps_once_and_counted() {
        let findings = [
            finding::PUBLIC_CONNECT.found("orders", "every role may connect to database `a`"),
            finding::PUBLIC_CONNECT.found("orders", "every role may connect to database `b`"),
            finding::DATA_EXPOSED.found("host", "`data` has mode 0755"),
        ];
        insta::assert_snapshot!(text(&findings), @r"
        CODE   SEVERITY  WHERE   WHAT
        PH210  error     orders  every role may connect to database `a`
        PH210  error     orders  every role may connect to database `b`
        PH110  warning   host    `data` has mode 0755

        CODE   NEXT
        PH210  portcullis server enroll orders --apply …, or REVOKE CONNECT ON DATABASE … FROM PUBLIC
        PH110  chmod 700 the folder
        ");
        insta::assert_snapshot!(verdict(&findings).unwrap_err(), @r"
        portcullis: the doctor found 2 errors and 1 warning
          why:  each is listed with its code; docs/reference/findings.md explains them
          next: do what stands under NEXT, then run `portcullis doctor` again
        ");
        assert!(verdict(&[]).is_ok());
    }
}
