//! What is printed, and what the page says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::choose::{Choice, Reason};
use crate::compare::Compared;
use crate::place::Verdict;

/// The counts of each way of speaking.
pub(crate) fn table(compared: &[Compared]) -> String {
    let mut text = "| protocol | tests | to their end directly | to their end through the gateway | end early directly | skip themselves | equal |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for each in compared {
        let equal = each.directly.len() - each.different().len();
        let failing = |verdict: &Verdict| !verdict.passed() && !verdict.skipped();
        let _written = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {equal} |",
            each.protocol.name(),
            each.directly.len(),
            each.count(Verdict::passed),
            each.gateway.values().filter(|verdict| verdict.passed()).count(),
            each.count(failing),
            each.count(Verdict::skipped),
        );
    }
    text
}

/// `docs/conformance/mariadb-test.md`.
pub(crate) fn page(choice: &Choice, compared: &[Compared], version: &str) -> String {
    let ways: Vec<&str> = compared.iter().map(|each| each.protocol.text()).collect();
    let ways = ways.join(", ");
    let mut text = format!(
        "# MariaDB's own suite\n\n\
         Made by `cargo xtask test --mariadb-test`: the suite `main` of the distribution's package `mariadb-test` ran on two \
         servers of MariaDB {version} with the same settings, under the same account with all privileges: directly over TLS \
         with a client certificate, and through the gateway as a workload with a handle. Each test ran {ways}. Equal means that everything \
         the test program printed is the same, and that it ended in the same way; folders and ports are left out.\n\n\
         Of {} tests {} are excluded by rule, listed below with the rule.\n\n{}",
        choice.total(),
        choice.excluded.len(),
        table(compared)
    );
    let different = |each: &Compared| {
        let name = each.protocol.name();
        each.different().into_iter().map(|test| format!("{name}: `{test}`")).collect::<Vec<_>>()
    };
    section(&mut text, "Not equal", compared.iter().flat_map(different));
    let again = |each: &Compared| {
        let differs: BTreeSet<&String> = each.different().into_iter().collect();
        let name = each.protocol.name();
        let settled = each.again.iter().filter(|test| !differs.contains(test));
        settled.map(|test| format!("{name}: `{test}`")).collect::<Vec<_>>()
    };
    section(
        &mut text,
        "Different at first, and run again in both places",
        compared.iter().flat_map(again),
    );
    section(&mut text, "Ending early in both places, in the same way", failing(compared));
    let mut by_reason: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
    for (name, reason) in &choice.excluded {
        by_reason.entry(*reason).or_default().push(format!("`{name}`"));
    }
    let excluded =
        by_reason.iter().map(|(reason, names)| format!("{}: {}", reason.text(), names.join(", ")));
    section(&mut text, "Excluded", excluded);
    text
}

/// Tests that fail, and in which ways of speaking.
fn failing(compared: &[Compared]) -> Vec<String> {
    let mut tests: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
    for each in compared {
        for (name, verdict) in &each.directly {
            let same = each.gateway.get(name) == Some(verdict);
            if same && !verdict.passed() && !verdict.skipped() {
                tests.entry(name).or_default().push(each.protocol.name());
            }
        }
    }
    tests.into_iter().map(|(name, ways)| format!("`{name}` ({})", ways.join(", "))).collect()
}

fn section(text: &mut String, heading: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<String> = lines.into_iter().map(|line| format!("- {line}\n")).collect();
    if !lines.is_empty() {
        text.extend(["\n## ", heading, "\n\n", &lines.concat()]);
    }
}
