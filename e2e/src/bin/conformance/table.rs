//! The page, and what the terminal shows.

use crate::clients::{Compared, Outcome};
use crate::known::{Engine, Feature};
use crate::suites::{Counts, Ran};

/// One client for the terminal.
pub(crate) fn plain(result: &Compared) -> String {
    let cells = result.client.engine.features().iter().map(|Feature { name, heading, .. }| {
        match result.outcome(name) {
            Some(Outcome::Works { .. }) => format!("  {heading}: ✓\n"),
            Some(Outcome::Fails { reason }) => format!("  {heading}: ✗ {reason}\n"),
            Some(Outcome::Absent { reason, .. }) => format!("  {heading}: n/a, {reason}\n"),
            None => format!("  {heading}: nothing was said\n"),
        }
    });
    cells.collect()
}

/// The page of one engine's clients.
pub(crate) fn page(engine: Engine, results: &[Compared], version: &str) -> String {
    let mut notes = Notes::default();
    let features = engine.features();
    let headings: Vec<&str> = features.iter().map(|feature| feature.heading).collect();
    let mut rows = vec![
        format!("| client | {} |", headings.join(" | ")),
        format!("|---|{}", ":-:|".repeat(features.len())),
    ];
    for result in results {
        let cells = features.iter().map(|feature| cell(result.outcome(feature.name), &mut notes));
        let cells: Vec<String> = cells.collect();
        let title = result.client.title;
        rows.push(format!("| **{title}** ({}) | {} |", result.versions, cells.join(" | ")));
    }
    let differences: Vec<String> = results.iter().flat_map(Compared::differences).collect();
    let verdict = if differences.is_empty() {
        "Directly, every one of them gave the same result.".to_owned()
    } else {
        format!("Not as directly: {}.", differences.join("; "))
    };
    format!(
        "{}{verdict}\n\n{}\n\n\
         ✓ works through the gateway; ✗ does not; n/a: the client has no such feature.\n{}{}",
        beginning(engine, version),
        rows.join("\n"),
        notes.text(),
        ending(engine)
    )
}

fn beginning(engine: Engine, version: &str) -> String {
    let (folder, server) = (engine.folder(), engine.server());
    let (title, command) = match engine {
        Engine::PostgreSql => ("Clients", "cargo xtask conformance"),
        Engine::MySql => ("Clients of MySQL's and MariaDB's", "cargo xtask conformance --mysql"),
    };
    format!(
        "# {title}\n\n\
         Made by `{command}`: each client's program (`e2e/clients/{folder}`, whose README says what each column does) ran \
         through the gateway in front of {server} {version}, and directly against {server} {version} over TLS with a \
         password. "
    )
}

/// What the table cannot hold.
fn ending(engine: Engine) -> &'static str {
    match engine {
        Engine::PostgreSql => "",
        Engine::MySql => WITHOUT,
    }
}

const WITHOUT: &str = "
## Not here

These are in none of the distribution's packages, PyPI, npm and crates.io, so nothing is said of them: MySQL Shell and MySQL
Connector/J. MySQL's own server and its `mysql` command are no rows here: `cargo xtask conformance --newest-mysql` drives both.
";

/// One suite in one line.
pub(crate) fn line(ran: &Ran) -> String {
    let shown =
        |counts: Counts| format!("{} / {} / {}", counts.passed, counts.failed, counts.skipped);
    let (directly, gateway) = (Counts::of(&ran.directly), Counts::of(&ran.gateway));
    let equal = if ran.differences().is_empty() { "yes" } else { "no" };
    format!("{} | {} | {equal}", shown(directly), shown(gateway))
}

/// `docs/conformance/drivers.md`.
pub(crate) fn suites(results: &[Ran], server: &str) -> String {
    let row = |ran: &Ran| {
        let (title, language, version) = (ran.suite.title(), ran.suite.language(), &ran.version);
        format!("| **{title}** {version} | {language} | {} |\n", line(ran))
    };
    let rows: String = results.iter().map(row).collect();
    let equal = results.iter().filter(|ran| ran.differences().is_empty()).count();
    let mut text = format!(
        "# Drivers' own suites\n\n\
         Made by `cargo xtask conformance --suites`: each suite ran in a fresh database of PostgreSQL {server}, directly \
         over TLS with a password and through the gateway with a token, as a superuser in both places. Equal means: every \
         test has the same verdict; where it has not, that test is run again in both places, up to five times, and has \
         passed where it passed once. {equal} of {} suites are equal.\n\n\
         | suite | language | directly: passed / failed / skipped | through the gateway | equal |\n\
         |---|---|---|---|---|\n{rows}",
        results.len()
    );
    section(&mut text, "Not equal", results.iter().flat_map(Ran::differences));
    let again = results.iter().flat_map(|ran| {
        let title = ran.suite.title();
        ran.again.iter().map(move |test| format!("{title}: `{test}`"))
    });
    section(&mut text, "Different at first, and run again in both places", again);
    let failing = results.iter().flat_map(|ran| {
        let title = ran.suite.title();
        ran.failures().into_iter().map(move |test| format!("{title}: `{test}`"))
    });
    section(&mut text, "Failing directly too", failing);
    text
}

fn section(text: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("- {line}\n")).collect();
    if !lines.is_empty() {
        text.extend(["\n## ", heading, "\n\n", &lines.concat()]);
    }
}

fn cell(outcome: Option<&Outcome>, notes: &mut Notes) -> String {
    match outcome {
        Some(Outcome::Works { saw: _ }) => "✓".to_owned(),
        Some(Outcome::Fails { reason }) => format!("✗ [{}]", notes.number(reason.clone())),
        Some(Outcome::Absent { reason, source }) => {
            format!("n/a [{}]", notes.number(format!("{reason} ([documentation]({source}))")))
        }
        None => "✗".to_owned(),
    }
}

/// Footnotes, each once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, note: String) -> usize {
        let position = self.0.iter().position(|known| *known == note);
        position.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        }) + 1
    }

    fn text(&self) -> String {
        let lines = self.0.iter().zip(1..).map(|(note, number)| format!("\n[{number}] {note}  "));
        lines.collect::<String>() + if self.0.is_empty() { "" } else { "\n" }
    }
}
