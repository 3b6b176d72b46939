//! PostgreSQL's own suites, directly over TLS and through the gateway, which must give the same results test by test;
//! then the server's own statement log against the audit log. `cargo xtask test --pg-regress` builds and runs this.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod completeness;
mod result;
mod run;
mod workplace;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use testkit::postgres::Fsync;
use testkit::stack::{Credential, Options, Privileges, Stack};
use testkit::statement_log;

use result::{Compared, Suite};
use run::Way;
use workplace::Workplace;

/// So often is a test of the isolation suite run again.
const AGAIN_MAX: u32 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [prepared] => run(Path::new(prepared)),
        _ => Err(anyhow::anyhow!(
            "usage: suites FOLDER, as `cargo xtask test --pg-regress` prepares it"
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(prepared: &Path) -> Result<()> {
    let stack = Stack::start(&Options {
        privileges: Privileges::TestStack,
        fsync: Fsync::Off,
        postgres: statement_log::settings(),
        ..Options::default()
    })?;
    let direct = Way::direct(&stack.postgres)?;
    let owner = stack.facts.owner.as_ref().context("the test stack has no superuser")?;
    let gateway = Way::gateway(owner, &owner.token(Credential::Secret)?);

    let compared = compare(prepared, &direct, &gateway)?;
    let conformance = report(&compared);
    let completeness = completeness::check(&stack);
    match (conformance, completeness) {
        (Err(one), Err(other)) => bail!("{one:#}\n{other:#}"),
        (one, other) => one.and(other),
    }
}

/// Every suite both ways.
fn compare(prepared: &Path, direct: &Way, gateway: &Way) -> Result<Vec<Compared>> {
    let places = [Workplace::create(prepared)?, Workplace::create(prepared)?];
    let [directly, through] = &places;
    Suite::ALL
        .iter()
        .map(|suite| {
            println!("\n── {} directly over TLS", suite.name());
            let expected = run::suite(*suite, direct, directly)?;
            println!("\n── {} through the gateway", suite.name());
            let found = run::suite(*suite, gateway, through)?;
            let mut compared = Compared { suite: *suite, expected, found, again: BTreeSet::new() };
            for _ in 0..AGAIN_MAX {
                again(&mut compared, (direct, directly), (gateway, through))?;
            }
            Ok(compared)
        })
        .collect()
}

/// Runs tests of the isolation suite that differ once more, both ways.
fn again(
    compared: &mut Compared,
    (direct, directly): (&Way, &Workplace),
    (gateway, through): (&Way, &Workplace),
) -> Result<()> {
    let tests = compared.different();
    if compared.suite != Suite::Isolation || tests.is_empty() {
        return Ok(());
    }
    println!("\n── once more, both ways: {}", tests.join(", "));
    compared.expected.extend(run::isolation_again(&tests, direct, directly)?);
    compared.found.extend(run::isolation_again(&tests, gateway, through)?);
    compared.again.extend(tests);
    Ok(())
}

/// Prints the counts; an error when a result differs.
fn report(compared: &[Compared]) -> Result<()> {
    println!(
        "\n{:<16}{:>7}{:>17}{:>22}{:>8}",
        "suite", "tests", "passed directly", "passed by the gateway", "equal"
    );
    let mut differences = Vec::new();
    for each in compared {
        let different = each.differences();
        println!(
            "{:<16}{:>7}{:>17}{:>22}{:>8}",
            each.suite.name(),
            each.expected.len(),
            result::passed(&each.expected),
            result::passed(&each.found),
            each.expected.len() - different.len()
        );
        for test in each.failed_both_ways() {
            println!("  `{test}` fails directly over TLS too, in the same way");
        }
        for test in &each.again {
            println!("  `{test}` differed, and was run again both ways");
        }
        differences.extend(different);
    }
    let equal = compared.iter().filter(|each| each.differences().is_empty()).count();
    println!(
        "\nprotocol conformance: {equal} of {} suites with results equal to direct TLS; excluded: none",
        compared.len()
    );
    if differences.is_empty() {
        return Ok(());
    }
    bail!("through the gateway these differ:\n{}", differences.join("\n"));
}
