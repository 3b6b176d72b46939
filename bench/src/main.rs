//! `cargo xtask bench pg`: the same work through the naked server, pgbouncer and Portcullis, in turns, so that whatever
//! else the machine does hits all three alike. What counts are the ratios; absolute figures depend on the machine.
//! `cargo xtask bench mysql`: MariaDB, haproxy passing the encrypted stream through untouched, and Portcullis.
//! `cargo xtask bench sts`: tokens issued and verified, beside the bare cryptography.
//! `cargo xtask bench audit`: what an append to the audit log takes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod append;
mod cut;
mod machine;
mod measured;
mod memory;
mod mysql;
mod peer;
mod pg;
mod processor;
mod sessions;
mod stacks;
mod statistics;
mod sts;

use std::process::ExitCode;

use anyhow::{Context, Result};

const USAGE: &str =
    "usage: cargo xtask bench (pg | mysql | sts) [--quick] [--only PART] | audit | hostility
PART of pg: throughput, latency, login, durable, memory, cut or idle
PART of mysql: throughput, login, dump, memory or cut
PART of sts: tokens, verifications or memory";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["audit"] => append::run(),
        ["pg", rest @ ..] => match asked(rest, &pg::PARTS) {
            Some((extent, parts)) => run(extent, &parts),
            None => return misused(),
        },
        ["mysql", rest @ ..] => match asked(rest, &mysql::PARTS) {
            Some((extent, parts)) => run(extent, &parts),
            None => return misused(),
        },
        ["sts", rest @ ..] => match asked(rest, &sts::PARTS) {
            Some((extent, parts)) => run(extent, &parts),
            None => return misused(),
        },
        _ => return misused(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// How much is done.
#[derive(Clone, Copy)]
struct Extent {
    rounds: usize,
    /// Of one turn.
    seconds: u32,
    /// Connections at once.
    clients: &'static [u32],
    /// Sessions that are idle, or cut all at once.
    sessions: usize,
    /// Sessions that are idle beside those that work.
    crowd: usize,
    /// Sessions that are cut one by one.
    revocations: usize,
    /// Tokens after which memory is looked at.
    tokens: usize,
}

/// A quarter of an hour and more.
const WHOLE: Extent = Extent {
    rounds: 3,
    seconds: 5,
    clients: &[1, 8, 64],
    sessions: 1_000,
    crowd: 10_000,
    revocations: 200,
    tokens: 1_000_000,
};
/// Does it run, and is anything far off?
const QUICK: Extent = Extent {
    rounds: 1,
    seconds: 2,
    clients: &[8],
    sessions: 200,
    crowd: 1_000,
    revocations: 10,
    tokens: 20_000,
};

/// Each starts what it needs and ends it again.
type Part = (&'static str, fn(Extent) -> Result<()>);

/// Nothing when the words make no sense.
fn asked(words: &[&str], parts: &[Part]) -> Option<(Extent, Vec<Part>)> {
    match words {
        [] => Some((WHOLE, parts.to_vec())),
        ["--quick", rest @ ..] => asked(rest, parts).map(|(_, parts)| (QUICK, parts)),
        ["--only", part, rest @ ..] => {
            let (extent, _) = asked(rest, parts)?;
            let part = parts.iter().find(|(name, _)| name == part)?;
            Some((extent, vec![*part]))
        }
        _ => None,
    }
}

fn run(extent: Extent, parts: &[Part]) -> Result<()> {
    machine::raise_descriptor_limit()?;
    println!("{}", machine::described()?);
    println!(
        "Rounds: {}. Turns of {} s, in another order each round. Figures are medians, (least to greatest) beside them.",
        extent.rounds, extent.seconds
    );
    for (name, part) in parts {
        println!("\n== {name} ==");
        part(extent).with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_how_much_and_which_part() {
        let names = |words: &[&str]| {
            let (extent, parts) = asked(words, &pg::PARTS)?;
            Some((extent.rounds, parts.iter().map(|(name, _)| *name).collect::<Vec<_>>()))
        };
        let every: Vec<&str> = pg::PARTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names(&[]), Some((3, every)));
        assert_eq!(names(&["--quick", "--only", "cut"]), Some((1, vec!["cut"])));
        assert_eq!(names(&["--only", "cut", "--quick"]), Some((1, vec!["cut"])));
        assert_eq!(names(&["--only"]), None);
        assert_eq!(names(&["--only", "nothing"]), None);
        assert_eq!(names(&["cut"]), None);
    }
}
