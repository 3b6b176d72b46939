//! `portcullis agent …`: a machine's instance metadata service, and how the machine joins.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use client::agent::{self, Agent, Folder, Parts};
use client::{ClientError, Installation};
use runtime::config::LogFormat;
use runtime::{Clock, Secret, Shutdown, Tasks, telemetry};
use serde::Serialize;
use tracing::info;

use super::signals::Signals;
use crate::cli::{AgentCommand, Common, Exec, Join, Run};
use crate::failure::Failure;
use crate::{installation, output, remote};

/// A join token has some fifty bytes.
const TOKEN_BYTES_MAX: u64 = 4_096;

pub(crate) fn run(common: &Common, command: &AgentCommand) -> Result<(), Failure> {
    match command {
        AgentCommand::Join(options) => join(common, options),
        AgentCommand::Run(options) => serve(common, options),
        AgentCommand::Exec(options) => exec(options),
    }
}

/// What is printed once the machine has joined.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Joined<'a> {
    host: &'a str,
    certificate_until: String,
}

fn join(common: &Common, options: &Join) -> Result<(), Failure> {
    let what = format!("join as `{}`", options.host);
    let failed = |error: ClientError| remote::failure(&what, &error);
    let environment = remote::environment(common);
    let installation =
        Installation::new(environment.url.as_deref(), environment.ca.as_deref()).map_err(failed)?;
    let folder = Folder::open(&options.state.state).map_err(failed)?;
    let token = token(options.token_file.as_deref())
        .map_err(|error| Failure::new(format!("cannot {what}"), error))?;
    let joined = folder.join(&installation, &options.host, &token).map_err(failed)?;
    let shown = Joined { host: &joined.name, certificate_until: joined.not_after.to_string() };
    output::show(common.output, &shown, || {
        format!(
            "this machine is {}; its certificate ends at {} and is renewed while the agent runs\n",
            shown.host, shown.certificate_until
        )
    })
}

/// Never from the command line, which every process can read.
fn token(file: Option<&Path>) -> Result<Secret<String>, String> {
    let mut text = Secret::new(String::new());
    let read = match file {
        None => std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(text.expose_mut()),
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(text.expose_mut())),
    };
    match read {
        Ok(_) if text.expose().trim().is_empty() => Err("there is no join token".to_owned()),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("the join token cannot be read: {error}")),
    }
}

/// What is printed once the agent listens.
#[derive(Debug, Serialize)]
struct Listening {
    host: String,
    addresses: Vec<String>,
}

fn serve(common: &Common, options: &Run) -> Result<(), Failure> {
    let what = "run the agent";
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("cannot {what}"), error);
    let environment = remote::environment(common);
    telemetry::start(LogFormat::Auto, environment.log.as_deref())
        .map_err(|error| failed(&error))?;
    let said = |error: ClientError| remote::failure(what, &error);
    let authority = environment.ca.ok_or(ClientError::AuthorityMissing).map_err(said)?;
    let folder = Folder::open(&options.state.state).map_err(said)?;
    installation::block_on(async {
        let mut signals = Signals::new().map_err(|error| failed(&error))?;
        let tasks = Tasks::new(Shutdown::new());
        let agent = Agent::start(Parts {
            folder,
            authority,
            listen: options.listen.clone(),
            socket: options.socket.socket.clone(),
            clock: Clock::system(),
            tasks,
        })
        .await
        .map_err(said)?;
        let listening = Listening {
            host: agent.host.clone(),
            addresses: agent.addresses.iter().map(ToString::to_string).collect(),
        };
        output::show(common.output, &listening, || {
            format!("{} hands out tokens at {}\n", listening.host, listening.addresses.join(", "))
        })?;
        signals.stop().await;
        info!("asked to stop");
        agent.drain(options.drain.duration()).await;
        Ok(())
    })
}

/// The command takes this process's place, and with it what the agent saw of it.
fn exec(options: &Exec) -> Result<(), Failure> {
    let identity = options.identity.as_ref().map(model::ManagedIdentityName::as_str);
    let environment = agent::environment(&options.socket.socket, identity)
        .map_err(|error| remote::failure("get the command's environment", &error))?;
    let Some((program, arguments)) = options.command.split_first() else {
        return Err(Failure::new("cannot start a command", "none is named"));
    };
    let error = Command::new(program)
        .args(arguments)
        .env("IDENTITY_ENDPOINT", environment.endpoint)
        .env("IDENTITY_HEADER", environment.header)
        .exec();
    Err(Failure::new(format!("cannot start `{}`", program.display()), error))
}
