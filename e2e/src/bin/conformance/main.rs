//! Clients and drivers' own suites, through the gateway and directly: what `cargo xtask conformance` builds and runs.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod azure_cli;
mod clients;
mod ground;
mod install;
mod known;
mod newest;
mod newest_mysql;
mod suites;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use clients::Compared;
use ground::{Ground, MySqlGround, Places};
use install::{Cache, Program};
use known::{Client, Engine};
use suites::Suite;

const USAGE: &str = "usage: conformance pg|mysql|suites [NAME…] --cache DIR --page FILE | newest --cache DIR | \
     azure-cli --cache DIR | newest-mysql --programs DIR --cache DIR";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["pg", names @ .., "--cache", cache, "--page", page] => {
            clients(Engine::PostgreSql, names, (cache, page))
        }
        ["mysql", names @ .., "--cache", cache, "--page", page] => {
            clients(Engine::MySql, names, (cache, page))
        }
        ["suites", names @ .., "--cache", cache, "--page", page] => {
            suites(names, &Cache::at(PathBuf::from(cache)), &PathBuf::from(page))
        }
        ["azure-cli", "--cache", cache] => azure_cli::run(&Cache::at(PathBuf::from(cache))),
        ["newest", "--cache", cache] => newest::run(&Cache::at(PathBuf::from(cache))),
        ["newest-mysql", "--programs", programs, "--cache", cache] => {
            newest_mysql::run(Path::new(programs), &Cache::at(PathBuf::from(cache)))
        }
        _ => bail!(USAGE),
    }
}

/// Every client, or those that are named; the page is written when it is about all.
fn clients(engine: Engine, names: &[&str], (cache, page): (&str, &str)) -> Result<()> {
    let chosen = engine.chosen(names)?;
    let programs = install::programs(&chosen, &Cache::at(PathBuf::from(cache)))?;
    let (results, version) = match engine {
        Engine::PostgreSql => {
            let ground = Ground::prepare()?;
            (compare(&chosen, &programs, &ground.places)?, ground.version()?)
        }
        Engine::MySql => {
            let ground = MySqlGround::prepare()?;
            (compare(&chosen, &programs, &ground.places)?, ground.version()?)
        }
    };
    if names.is_empty() {
        std::fs::write(page, table::page(engine, &results, &version))?;
        println!("written: {page}");
    }
    let different: Vec<String> = results.iter().flat_map(Compared::differences).collect();
    if different.is_empty() {
        return Ok(());
    }
    bail!("not as directly:\n  {}", different.join("\n  "))
}

fn compare(
    clients: &[&'static Client],
    programs: &[Program],
    places: &Places,
) -> Result<Vec<Compared>> {
    let one = |(client, program): (&&'static Client, &Program)| {
        println!("{}", client.title);
        let result = clients::compare(client, program, places)?;
        print!("{}", table::plain(&result));
        Ok(result)
    };
    clients.iter().zip(programs).map(one).collect()
}

/// Every driver's own suite, or those that are named; the page is written when it is about all.
fn suites(names: &[&str], cache: &Cache, page: &Path) -> Result<()> {
    let chosen = Suite::chosen(names)?;
    let ground = Ground::prepare()?;
    let mut results = Vec::new();
    for suite in chosen {
        println!("{} ({})", suite.title(), suite.language());
        let ran = suites::compare(suite, &ground, cache)?;
        println!("  {}", table::line(&ran));
        results.push(ran);
    }
    if names.is_empty() {
        std::fs::write(page, table::suites(&results, &ground.version()?))?;
        println!("written: {}", page.display());
    }
    let different: Vec<String> = results.iter().flat_map(suites::Ran::differences).collect();
    if different.is_empty() {
        return Ok(());
    }
    bail!("not as directly:\n  {}", different.join("\n  "))
}
