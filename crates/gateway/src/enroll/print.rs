//! The plan as an operator reads it.

use std::fmt;

use model::finding::{Finding, Severity};

use super::{Change, Plan, Step};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            writeln!(f, "Server `{}`: nothing is left to do.", self.server)?;
        } else {
            writeln!(f, "Server `{}`: {} steps.", self.server, self.steps.len())?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            write!(f, "\n{}. {step}", number + 1)?;
        }
        if !self.restart.is_empty() {
            let settings = self.restart.join("`, `");
            writeln!(f, "\nRestart the server: it reads `{settings}` at its start only.")?;
        }
        for note in &self.notes {
            write!(f, "\nNote: {note}.\n")?;
        }
        for obstacle in &self.obstacles {
            write!(f, "\nIn the way: {obstacle}.\n")?;
        }
        self.findings.iter().try_for_each(|finding| found(finding, f))
    }
}

fn found(finding: &Finding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Finding { code, severity, subject: _, message, next } = finding;
    let severity = match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    write!(f, "\nFound: {code} ({severity}): {message}.\n   Next: {next}\n")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(f, "   Why: {}.", self.reason)?;
        match &self.change {
            Change::File { path, content, whose: _ } => {
                writeln!(f, "   File {path}:")?;
                content.lines().try_for_each(|line| writeln!(f, "     {line}"))
            }
            Change::Sql { database, statements, undo: _ } => {
                writeln!(f, "   In database `{database}`:")?;
                statements.iter().try_for_each(|statement| writeln!(f, "     {statement};"))
            }
        }
    }
}
