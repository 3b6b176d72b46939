//! The server's own statement log against the audit log.

use anyhow::{Context, Result};
use testkit::stack::Stack;
use testkit::statement_log::{self, Agreement};

/// All statements of both logs; an error when one is not in the other.
pub(crate) fn check(stack: &Stack) -> Result<()> {
    println!("\n── the server's own statement log against the audit log");
    let Agreement { agrees, printed } = statement_log::compare(stack, &stack.facts.audit_log())?;
    println!("{printed}");
    anyhow::ensure!(agrees, "the two logs do not agree");
    reports_a_missing_record(stack).context("a comparison that cannot fail says nothing")
}

/// The same comparison without one record.
fn reports_a_missing_record(stack: &Stack) -> Result<()> {
    let reduced = statement_log::without_one_statement(&stack.facts.audit_log())?;
    let Agreement { agrees, printed } = statement_log::compare(stack, reduced.path())?;
    anyhow::ensure!(!agrees, "one record was removed, and it still agrees:\n{printed}");
    println!("without one record of the audit log, which was removed from a copy, it says:\n");
    println!(
        "{}",
        printed.lines().filter(|line| line.contains("missing")).collect::<Vec<_>>().join("\n")
    );
    Ok(())
}
