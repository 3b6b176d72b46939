//! Portcullis in one binary: the command line for people, and the server.
#![forbid(unsafe_code)]

mod address;
mod cli;
mod commands;
mod documents;
mod events;
mod failure;
mod installation;
mod output;
mod remote;
mod server;
mod table;
mod views;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::failure::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return answer(&said),
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&failure.to_string());
            failure.exit.into()
        }
    }
}

/// Help and version are results; everything else that the parser says is about wrong usage.
fn answer(said: &clap::Error) -> ExitCode {
    // Nobody may be reading; that is their choice.
    drop(said.print());
    if said.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}
