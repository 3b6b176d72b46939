//! What whoever is on call types: sessions, cut, doctor.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use model::{ServerName, SessionId};

use super::session;

/// `portcullis sessions`.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// Only sessions of this person or workload
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// Only sessions on this server
    #[arg(long, value_name = "NAME")]
    pub server: Option<ServerName>,
}

/// `portcullis cut`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Cut {
    #[command(flatten)]
    pub what: CutWhat,
    /// Why; the client is told
    #[arg(long = "because", value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Which sessions.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CutWhat {
    /// One session
    #[arg(value_parser = session)]
    pub session: Option<SessionId>,
    /// Every session of this person or workload
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// Every session on this server
    #[arg(long, value_name = "NAME")]
    pub server: Option<ServerName>,
}

/// `portcullis doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Also look at this host: files, disks and listeners of this server's configuration; as the service's own account
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Only look at this host, and ask no server
    #[arg(long, requires = "config")]
    pub offline: bool,
    /// The same as --output json
    #[arg(long)]
    pub json: bool,
}
