//! `portcullis conditional-access what-if`: whose sessions a draft would have refused.

use std::slice;

use model::verdict::Outcome;
use model::{Refusal, Resource, Timestamp, code};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Address;
use crate::cli::{Common, WhatIf};
use crate::failure::Failure;
use crate::remote::Remote;
use crate::table::Table;
use crate::{documents, output, views};

/// As the API answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    since: Timestamp,
    sessions: usize,
    applied: usize,
    unknown: usize,
    truncated: bool,
    refused: Vec<Refused>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    principal: String,
    server: String,
    outcome: Outcome,
    sessions: usize,
    sources: Vec<String>,
    last: Timestamp,
}

pub(crate) fn what_if(common: &Common, asked: &WhatIf) -> Result<(), Failure> {
    let what = format!("try the policy in `{}`", asked.file.display());
    let written = documents::read_all(slice::from_ref(&asked.file))?;
    let drafts: Vec<_> = written
        .iter()
        .filter_map(|written| match &written.resource {
            Resource::ConditionalAccessPolicy(policy) => Some(&policy.spec),
            _ => None,
        })
        .collect();
    let [draft] = drafts.as_slice() else {
        let message = format!("the file has {} policies; one is tried at a time", drafts.len());
        return Err(Failure::refused(
            format!("cannot {what}"),
            &Refusal::new(&code::INVALID, message),
        ));
    };
    let remote = Remote::open(common, what)?;
    let body = json!({ "policy": draft, "days": asked.days });
    let report: Report =
        remote.post(&Address::of(&["v1", "conditionalaccess", "whatif"]), &body)?;
    output::show(common.output, &report, || text(&report))
}

fn text(report: &Report) -> String {
    let Report { since, sessions, applied, unknown, truncated, refused } = report;
    let gone = match unknown {
        0 => String::new(),
        unknown => format!("; {unknown} are of people or workloads that are gone"),
    };
    let rest = if *truncated { "; older ones of these days were not looked at" } else { "" };
    let mut text = format!(
        "{sessions} sessions since {}; the policy speaks of {applied} of them{gone}{rest}\n",
        views::seconds(*since)
    );
    if refused.is_empty() {
        text.push_str("it would have refused none\n");
        return text;
    }
    let mut table = Table::new(&["WHO", "SERVER", "WOULD BE", "SESSIONS", "LAST", "FROM"]);
    for who in refused {
        table.row([
            who.principal.clone(),
            who.server.clone(),
            words(&who.outcome),
            who.sessions.to_string(),
            views::seconds(who.last),
            who.sources.join(", "),
        ]);
    }
    text.push_str(&table.render());
    text
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Blocked => "blocked".to_owned(),
        Outcome::SignInTooOld => "asked to sign in again".to_owned(),
        Outcome::Unmet(controls) => {
            let wanted: Vec<String> = controls.iter().map(ToString::to_string).collect();
            format!("asked for {}", wanted.join(", "))
        }
        Outcome::NotApplied(_) | Outcome::Satisfied => "let in".to_owned(),
    }
}
