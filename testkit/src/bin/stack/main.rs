//! `demo`, `up` and `down`: what `cargo xtask` builds and runs.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod demo;
mod stage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use testkit::postgres::Fsync;
use testkit::stack::webhook::{self, StandIn};
use testkit::stack::{Options, Privileges, detached, federation};
use testkit::wait;

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
        ["demo"] => demo::run(demo::Afterwards::CleanUp),
        ["demo", "--keep"] => demo::run(demo::Afterwards::Keep),
        ["up", rest @ ..] => up(&Arguments::read(rest)?),
        // What `up` starts beside itself.
        ["cluster", folder] => webhook::stand_in(&PathBuf::from(folder)),
        ["down", rest @ ..] => down(&Arguments::read(rest)?),
        // What `up` leaves running beside the server.
        ["issuer", "--port", port, "--dir", folder] => {
            federation::serve(Path::new(folder), port.parse().context("no port")?)
        }
        _ => bail!("usage: stack demo [--keep] | up --dir DIR [--fsync on|off] | down --dir DIR"),
    }
}

struct Arguments {
    directory: PathBuf,
    fsync: Fsync,
    privileges: Privileges,
}

impl Arguments {
    fn read(mut words: &[&str]) -> Result<Self> {
        let mut directory = None;
        let (mut fsync, mut privileges) = (Fsync::On, Privileges::TestStack);
        loop {
            words = match words {
                [] => break,
                ["--dir", given, rest @ ..] => {
                    directory = Some(std::path::absolute(given)?);
                    rest
                }
                ["--fsync", "on", rest @ ..] => {
                    fsync = Fsync::On;
                    rest
                }
                ["--fsync", "off", rest @ ..] => {
                    fsync = Fsync::Off;
                    rest
                }
                // For tests whose server has no superuser among its workloads.
                ["--ordinary", rest @ ..] => {
                    privileges = Privileges::Ordinary;
                    rest
                }
                ["--fsync", ..] => bail!("--fsync is `on` or `off`; it governs the database only"),
                [other, ..] => {
                    bail!("`{other}` is not an option here; known are --dir and --fsync")
                }
            };
        }
        let directory = directory.context("--dir DIR says where; it is missing")?;
        Ok(Self { directory, fsync, privileges })
    }

    fn options(&self) -> Options {
        detached::options(self.privileges, self.fsync)
    }
}

fn up(arguments: &Arguments) -> Result<()> {
    let started = wait::now();
    let stack = detached::up(&arguments.directory, &arguments.options(), &own_program()?)?;
    for part in &stack.took {
        println!("{:<26}{:>7.2} s", part.part, part.length.as_secs_f64());
    }
    println!("{:<26}{:>7.2} s", "up", started.elapsed().as_secs_f64());
    let facts = stack.leave_running()?;
    println!("\nRead how to reach it:  . {}/env", facts.folder.display());
    Ok(())
}

/// What stays beside the stack is this program too.
fn own_program() -> Result<StandIn> {
    Ok(StandIn::Program(std::env::current_exe()?))
}

fn down(arguments: &Arguments) -> Result<()> {
    detached::down(&arguments.directory)
}
