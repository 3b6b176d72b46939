//! MariaDB's own test suite, directly over TLS and through the gateway, in three ways of speaking to the server, which must
//! give the same results test by test. `cargo xtask test --mariadb-test` builds and runs this.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod choose;
mod compare;
mod ground;
mod page;
mod place;
mod protocol;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use choose::Choice;
use compare::Compared;
use ground::Ground;
use protocol::Protocol;

const USAGE: &str =
    "usage: mariadb_suite --suite FOLDER --page FILE [text|prepared|cursors] [TEST…]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["--suite", suite, "--page", page, rest @ ..] => {
            let one =
                rest.split_first().and_then(|(word, names)| Some((Protocol::of(word)?, names)));
            let (protocols, names) = match one {
                Some((protocol, names)) => (vec![protocol], names),
                None => (Protocol::ALL.to_vec(), rest),
            };
            run(&PathBuf::from(suite), Path::new(page), (&protocols, names))
        }
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All tests that can run, or those that are named; the page is written when it is about all.
fn run(suite: &Path, page: &Path, (protocols, names): (&[Protocol], &[&str])) -> Result<()> {
    let mut choice = Choice::read(suite)?;
    println!("{} tests, {} of them excluded by rule", choice.total(), choice.excluded.len());
    if !names.is_empty() {
        choice.keep(names)?;
    }
    let ground = Ground::prepare(suite)?;
    let compared = protocols
        .iter()
        .map(|protocol| compare::run(*protocol, &choice.tests, &ground))
        .collect::<Result<Vec<Compared>>>()?;
    println!("\n{}", page::table(&compared));
    if names.is_empty() {
        std::fs::write(page, page::page(&choice, &compared, &ground.version()?))?;
        println!("written: {}", page.display());
    }
    let different: Vec<String> = compared.iter().flat_map(Compared::differences).collect();
    if different.is_empty() {
        return Ok(());
    }
    bail!("through the gateway these differ:\n{}", different.join("\n"));
}
