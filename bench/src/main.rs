//! `cargo xtask bench pg`: the same work through the naked server, pgbouncer and Portcullis, in turns, so that whatever
//! else the machine does hits all three alike. What counts are the ratios; absolute figures depend on the machine.
//! `cargo xtask bench audit`: what an append to the audit log takes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod append;
mod cut;
mod durable;
mod idle;
mod latency;
mod login;
mod machine;
mod memory;
mod pgbouncer;
mod processor;
mod route;
mod sessions;
mod stacks;
mod statistics;
mod throughput;
mod workload;

use std::process::ExitCode;

use anyhow::{Context, Result};

const USAGE: &str = "usage: cargo xtask bench pg [--quick] [--only PART] | audit | hostility
PART: throughput, latency, login, durable, memory, cut or idle";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["audit"] => append::run(),
        ["pg", rest @ ..] => match asked(rest) {
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
}

/// A quarter of an hour and more.
const WHOLE: Extent = Extent {
    rounds: 3,
    seconds: 5,
    clients: &[1, 8, 64],
    sessions: 1_000,
    crowd: 10_000,
    revocations: 200,
};
/// Does it run, and is anything far off?
const QUICK: Extent =
    Extent { rounds: 1, seconds: 2, clients: &[8], sessions: 200, crowd: 1_000, revocations: 10 };

type Part = (&'static str, fn(Extent) -> Result<()>);

/// Each starts what it needs and ends it again.
const PARTS: [Part; 7] = [
    ("throughput", throughput::run),
    ("latency", latency::run),
    ("login", login::run),
    ("durable", durable::run),
    ("memory", memory::run),
    ("cut", cut::run),
    ("idle", idle::run),
];

/// Nothing when the words make no sense.
fn asked(words: &[&str]) -> Option<(Extent, Vec<Part>)> {
    match words {
        [] => Some((WHOLE, PARTS.to_vec())),
        ["--quick", rest @ ..] => asked(rest).map(|(_, parts)| (QUICK, parts)),
        ["--only", part, rest @ ..] => {
            let (extent, _) = asked(rest)?;
            let part = PARTS.into_iter().find(|(name, _)| name == part)?;
            Some((extent, vec![part]))
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
            let (extent, parts) = asked(words)?;
            Some((extent.rounds, parts.iter().map(|(name, _)| *name).collect::<Vec<_>>()))
        };
        let every: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names(&[]), Some((3, every)));
        assert_eq!(names(&["--quick", "--only", "cut"]), Some((1, vec!["cut"])));
        assert_eq!(names(&["--only", "cut", "--quick"]), Some((1, vec!["cut"])));
        assert_eq!(names(&["--only"]), None);
        assert_eq!(names(&["--only", "nothing"]), None);
        assert_eq!(names(&["cut"]), None);
    }
}
