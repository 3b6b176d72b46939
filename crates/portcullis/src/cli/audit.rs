//! The command line's words for the audit log.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use model::{ServerName, SessionId};

/// `portcullis audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    #[command(flatten)]
    pub search: AuditSearch,
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
}

/// What to read of the audit log.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub(crate) struct AuditSearch {
    /// Not before: an instant, or so long ago (30m, 8h, 2d)
    #[arg(long, value_name = "WHEN", default_value = "1d")]
    pub since: String,
    /// Before: an instant, or so long ago
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// By this person or workload
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// On this server
    #[arg(long, value_name = "NAME")]
    pub server: Option<ServerName>,
    /// In this session
    #[arg(long, value_name = "ID")]
    pub session: Option<SessionId>,
    /// Only these kinds of events, such as statement or activationChanged; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Refused, cut or failed with this code: one of ours, or a SQLSTATE
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Only statements that affected this table, or may have: schema.name, or name in any schema
    #[arg(long, value_name = "TABLE", conflicts_with = "follow")]
    pub table: Option<String>,
    /// Only those that read the table
    #[arg(long, requires = "table", conflicts_with = "wrote")]
    pub read: bool,
    /// Only those that changed the table
    #[arg(long, requires = "table")]
    pub wrote: bool,
    /// With this text in it
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    pub limit: u32,
    /// Go on printing events as they happen
    #[arg(long)]
    pub follow: bool,
}

/// `portcullis audit …`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show one statement with its outcome, its tables, its session and the approvals that it ran under
    Show {
        /// The session's id
        #[arg(value_name = "SESSION")]
        session: SessionId,
        /// The statement's number in it
        #[arg(value_name = "NUMBER")]
        number: u64,
    },
    /// Prove that the log is whole, or name the place where it is not; works offline
    Verify {
        /// Folder of the log
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, required_unless_present = "config")]
        directory: Option<PathBuf>,
        /// The log's public key, 64 hex digits or a file with them
        #[arg(long, value_name = "KEY", required_unless_present = "config")]
        public_key: Option<String>,
        /// File with the last checkpoint that was kept elsewhere
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        checkpoint: Option<PathBuf>,
        /// The gateway whose log it is; the checkpoint's when absent
        #[arg(long, value_name = "NAME")]
        gateway: Option<String>,
        /// Take folder, key and checkpoint from this server's configuration and store
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["directory", "public_key", "gateway"])]
        config: Option<PathBuf>,
    },
    /// Print the latest signed checkpoint and the public key, to keep elsewhere
    Checkpoint,
    /// Begin another log when this one is lost for good; on the server's own host, while it is stopped
    BeginAnew {
        /// Configuration file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
        /// Why: the first words of the new log
        #[arg(long = "because", value_name = "TEXT")]
        reason: String,
    },
}
