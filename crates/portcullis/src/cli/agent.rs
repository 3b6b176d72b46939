//! What is typed about hosts: by an owner, and on the machines themselves.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use client::agent::Place;
use model::{HostName, Lifetime, ManagedIdentityName};

/// `portcullis host`.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Issue a token with which a machine joins as this host, printed once
    JoinToken {
        /// The host
        host: HostName,
    },
}

/// `portcullis agent`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Make this machine's key and join with it
    Join(Join),
    /// Hand out tokens to this machine's workloads, until told to stop
    Run(Run),
    /// Start a command that finds the agent in its environment, as on Azure App Service
    Exec(Exec),
}

/// `portcullis agent join`.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// As which host
    pub host: HostName,
    /// File with the join token; standard input when absent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    pub state: State,
}

/// Where a machine keeps what it joined with.
#[derive(Debug, Args)]
pub(crate) struct State {
    /// Folder with the machine's key and certificate; its owner alone may enter it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portcullis-agent", value_hint = ValueHint::DirPath)]
    pub state: PathBuf,
}

/// The agent's Unix socket.
#[derive(Debug, Args)]
pub(crate) struct Socket {
    /// The agent's Unix socket
    #[arg(long, value_name = "PATH", default_value = "/run/portcullis-agent/agent.sock", value_hint = ValueHint::FilePath)]
    pub socket: PathBuf,
}

/// `portcullis agent run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub state: State,
    #[command(flatten)]
    pub socket: Socket,
    /// Where processes ask: `127.0.0.1:PORT`, `169.254.169.254:80`, or NAMESPACE@ADDRESS in a network namespace of that
    /// name; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:40342")]
    pub listen: Vec<Place>,
    /// Once asked to stop, requests that were begun have so long
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub drain: Lifetime,
}

/// `portcullis agent exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub socket: Socket,
    /// The managed identity that it is when it names none
    #[arg(long, value_name = "NAME")]
    pub identity: Option<ManagedIdentityName>,
    /// What is started
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
