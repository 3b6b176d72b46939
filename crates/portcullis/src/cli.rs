//! The command line: every verb, option and word of help. What they do is in `commands/`.

mod agent;
mod audit;
mod connect;
mod kubernetes;
mod operate;
mod scim;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use model::{
    ActivationId, ApplicationName, GroupName, Kind, Lifetime, ServerName, SessionId, Timestamp,
    TokenId, UserName,
};

pub(crate) use agent::{AgentCommand, Exec, HostCommand, Join, Run};
pub(crate) use audit::{Audit, AuditCommand, AuditSearch};
pub(crate) use connect::{Connect, Proxy};
pub(crate) use kubernetes::{KubernetesCommand, Manifests};
pub(crate) use operate::{Cut, CutWhat, Doctor, Sessions};
pub(crate) use scim::{ScimCommand, ScimCredentialCommand};

/// Zero trust in front of PostgreSQL: no passwords, access that is asked for, approved, recorded and taken away.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the rules, 4 not signed in, 5 unreachable,
            6 `doctor` found something
Environment: PORTCULLIS_URL, PORTCULLIS_CA, PORTCULLIS_HOME (device key and tokens)";

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Address of the installation, such as `https://portcullis.example.com:8443` [env: PORTCULLIS_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub url: Option<String>,
    /// PEM file of the installation's authority [env: PORTCULLIS_CA]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub ca: Option<PathBuf>,
    /// How to print what was asked for
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, help_heading = "Output")]
    pub output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people
    #[default]
    Table,
    /// JSON, for machines
    Json,
    /// YAML, for files
    Yaml,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server, or prepare a database server for it
    Server(Server),
    /// Create an installation: keys, tenant and first owner
    Init(Init),
    /// Sign in; with a Temporary Access Pass: enrol this machine
    Login(Login),
    /// Forget the tokens kept on this machine
    Logout,
    /// Print a token that clients give as their password
    Token(Token),
    /// Start psql, mariadb or another client, signed in
    Connect(Connect),
    /// Listen on this machine for tools and applications that know no tokens, and add the token
    Proxy(Proxy),
    /// Create and change resources from files
    Apply(Apply),
    /// List resources, or show one
    Get(Get),
    /// Show one resource with everything that is known of it
    Describe(Named),
    /// Delete a resource
    Delete(Named),
    /// Print the JSON Schema of a kind
    Schema {
        /// Such as group or databaseserver
        #[arg(value_parser = kind)]
        kind: Kind,
    },
    /// Say why someone may, or may not, connect: every condition and its outcome
    Explain(Explain),
    /// Ask for membership of a group for a while
    Request(Request),
    /// Approve a request
    Approve(Decide),
    /// Deny a request
    Deny(Decide),
    /// Take your own request back
    Cancel(Decide),
    /// End your own membership early
    Deactivate(Decide),
    /// End someone's membership now; their sessions are cut
    Revoke(Decide),
    /// Policies of conditional access
    #[command(subcommand)]
    ConditionalAccess(ConditionalAccessCommand),
    /// People's sign-in
    #[command(subcommand)]
    User(UserCommand),
    /// Workloads' credentials
    #[command(subcommand)]
    Application(ApplicationCommand),
    /// Directories that push people and groups
    #[command(subcommand)]
    Scim(ScimCommand),
    /// Machines whose workloads get tokens from an agent
    #[command(subcommand)]
    Host(HostCommand),
    /// The agent of this machine
    #[command(subcommand)]
    Agent(AgentCommand),
    /// List live sessions
    Sessions(Sessions),
    /// Cut live sessions
    Cut(Cut),
    /// Say how and why a session was refused, or ended
    Why {
        /// Its id, as the client's error and the audit log name it
        #[arg(value_parser = session)]
        session: SessionId,
    },
    /// Look for the usual mistakes, and say what to do about each
    Doctor(Doctor),
    /// Read the audit log, or verify it
    Audit(Audit),
    /// Back the store up, or restore it
    #[command(subcommand)]
    Store(StoreCommand),
    /// Authorities that sign certificates
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// The key that signs tokens
    #[command(subcommand)]
    SigningKey(SigningKeyCommand),
    /// The key that seals all other keys
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
    /// Run in, or install into, a Kubernetes cluster
    #[command(subcommand)]
    Kubernetes(KubernetesCommand),
    /// Make an owner able to sign in again, on the server's own host
    RecoverOwner(RecoverOwner),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the reference pages of the documentation
    #[command(hide = true)]
    Docs {
        /// Folder to write to
        #[arg(long = "to", value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

/// `portcullis server`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Server {
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub config: Option<PathBuf>,
    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
}

/// What can be done to a protected database server.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Print, or apply, what must change on a database server so that only Portcullis reaches it
    Enroll(Enroll),
    /// Give up the users of a deleted server that does not exist any more
    Abandon {
        /// The former database server
        server: ServerName,
        /// Why
        #[arg(long = "because", value_name = "TEXT")]
        reason: String,
    },
    /// Let Portcullis manage a database user that it did not create
    Adopt {
        /// The database server
        server: ServerName,
        /// The user's name on that server
        #[arg(long, value_name = "NAME")]
        user: String,
        /// The person or workload whose user it becomes, for ever
        #[arg(long, value_name = "NAME")]
        principal: String,
    },
}

/// `portcullis server enroll`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("local").args(["socket_directory", "socket"])))]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub(crate) struct Enroll {
    /// The database server
    pub server: ServerName,
    /// Change the server; without it the changes are only printed
    #[arg(long, requires = "data_directory")]
    pub apply: bool,
    /// Take the changes back
    #[arg(long, conflicts_with = "apply", requires = "data_directory")]
    pub undo: bool,
    /// Once all works, on PostgreSQL: close the Unix socket to the server's own account too
    #[arg(long, conflicts_with = "undo", requires = "apply")]
    pub close_local_door: bool,
    /// Its data directory; PostgreSQL's has postgresql.conf and pg_hba.conf
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "local")]
    pub data_directory: Option<PathBuf>,
    /// PostgreSQL: where its Unix socket is
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "data_directory")]
    pub socket_directory: Option<PathBuf>,
    /// MariaDB, MySQL: its Unix socket
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        requires = "data_directory",
        requires = "configuration_directory"
    )]
    pub socket: Option<PathBuf>,
    /// MariaDB, MySQL: a folder that its option files include, such as /etc/mysql/mariadb.conf.d
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "socket")]
    pub configuration_directory: Option<PathBuf>,
    /// MariaDB, MySQL: its own client, when `mariadb` or `mysql` is not found by that name
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "socket")]
    pub client: Option<PathBuf>,
    /// The operating system account that it runs as; `postgres` or `mysql` when absent
    #[arg(long, value_name = "NAME")]
    pub os_user: Option<String>,
    /// The database superuser that this account becomes; the account's own name when absent
    #[arg(long, value_name = "NAME")]
    pub superuser: Option<String>,
    /// PEM of a second client authority; a test stack's server only
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide = true)]
    pub additional_authority: Vec<PathBuf>,
}

/// `portcullis init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    /// Name of the tenant, shown to people
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// Domain of its people, such as example.com
    #[arg(long)]
    pub domain: String,
    /// The first owner, such as admin@example.com
    #[arg(long, value_name = "USER")]
    pub owner: UserName,
}

/// `portcullis login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Who signs in, such as ada@example.com; the last one when absent
    pub user: Option<UserName>,
    /// The same as the argument
    #[arg(long = "user", value_name = "USER", conflicts_with = "user", hide = true)]
    pub user_option: Option<UserName>,
    /// Enrol this machine with a Temporary Access Pass: it is asked for, or read from standard input
    #[arg(long = "pass", visible_alias = "tap")]
    pub access_pass: bool,
    /// Device key to sign with, or to create; the one in PORTCULLIS_HOME when absent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// File with the TOTP secret, for machines; written when enrolling
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub totp_secret_file: Option<PathBuf>,
    /// The six digits of your authenticator; they are asked for when absent
    #[arg(long, value_name = "DIGITS")]
    pub code: Option<String>,
    /// Approve a sign-in on another device that shows this code
    #[arg(long, value_name = "CODE")]
    pub device_code: Option<String>,
    /// Approve or deny it without asking; needed where there is no terminal to ask on
    #[arg(long, value_enum, requires = "device_code")]
    pub decision: Option<DeviceDecision>,
}

/// What to answer to another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceDecision {
    /// Let it sign in as you
    Approve,
    /// Do not
    Deny,
}

/// `portcullis token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Print a short handle (pct_…, at most 100 characters) instead of the token itself
    #[arg(long)]
    pub handle: bool,
    /// The only server that the handle opens
    #[arg(long, value_name = "NAME", requires = "handle")]
    pub server: Option<ServerName>,
}

/// `portcullis apply`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub(crate) struct Apply {
    /// YAML or JSON file, folder of them, or - for standard input; may be repeated
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Delete what files made before and no longer name
    #[arg(long)]
    pub prune: bool,
    /// Check and show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where files and a change made elsewhere disagree, let the files win
    #[arg(long)]
    pub overwrite: bool,
}

/// `portcullis get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Such as groups, databaseservers or activations
    #[arg(value_parser = kind)]
    pub kind: Kind,
    /// Only this one
    pub name: Option<String>,
}

/// One resource.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Such as group or databaseserver
    #[arg(value_parser = kind)]
    pub kind: Kind,
    /// Its name
    pub name: String,
}

/// `portcullis explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A person or workload; you when absent
    pub principal: Option<String>,
    /// The database server; the only one that you see when absent
    #[arg(long, value_name = "NAME")]
    pub server: Option<ServerName>,
    /// The database; when absent the first that is reachable, or any where all are
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// The address that they would come from
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
}

/// `portcullis conditional-access`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConditionalAccessCommand {
    /// Say whose sessions of the last days a policy would have refused, before it stands
    WhatIf(WhatIf),
}

/// `portcullis conditional-access what-if`.
#[derive(Debug, Args)]
pub(crate) struct WhatIf {
    /// The file with the ConditionalAccessPolicy; `-` is standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub file: PathBuf,
    /// How many days to look back
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=90))]
    pub days: u16,
}

/// `portcullis request`.
#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The group
    pub group: GroupName,
    /// For how long, such as 30m; the longest that the rules allow when absent
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<Lifetime>,
    /// Why
    #[arg(long = "because", value_name = "TEXT")]
    pub justification: Option<String>,
    /// The ticket that it belongs to, where the rules demand one
    #[arg(long, value_name = "NUMBER")]
    pub ticket: Option<String>,
    /// Where the ticket is kept
    #[arg(long, value_name = "NAME", requires = "ticket")]
    pub ticket_system: Option<String>,
    /// When membership is to begin, such as 2026-12-01T06:00:00Z; with the approval when absent
    #[arg(long = "at", value_name = "TIME", conflicts_with = "extend")]
    pub starts_at: Option<Timestamp>,
    /// Let the membership that is active now go on for so long after its end
    #[arg(long)]
    pub extend: bool,
    /// Wait until it is decided; exit code 3 when it is denied
    #[arg(long)]
    pub wait: bool,
}

/// A step of an activation.
#[derive(Debug, Args)]
pub(crate) struct Decide {
    /// The activation's id; `portcullis get activations` lists them
    #[arg(value_parser = activation)]
    pub activation: ActivationId,
    /// What to say to it
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// `portcullis user`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Issue a Temporary Access Pass, printed once
    Pass {
        /// For whom
        user: UserName,
    },
    /// End every sign-in and token of a person
    RevokeTokens {
        /// Whose
        user: UserName,
        /// Why
        #[arg(long = "because", value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// `portcullis application`.
#[derive(Debug, Subcommand)]
pub(crate) enum ApplicationCommand {
    /// Client secrets
    #[command(subcommand)]
    Secret(SecretCommand),
    /// End every token of a workload, or one token
    RevokeTokens {
        /// Whose
        application: ApplicationName,
        /// Only the token with this `jti`
        #[arg(long, value_name = "ID")]
        token: Option<TokenId>,
        /// Why
        #[arg(long = "because", value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// `portcullis application secret`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Create a client secret, printed once
    Add {
        /// For which application
        application: ApplicationName,
        /// How long it is valid
        #[arg(long, value_name = "DURATION", default_value = "90d")]
        lifetime: Lifetime,
    },
    /// Remove a client secret
    Remove {
        /// Of which application
        application: ApplicationName,
        /// Its id, printed when it was created
        id: String,
    },
}

/// `portcullis store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Write a consistent copy of the store while the server runs
    Backup {
        /// Configuration file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
        /// File to write; it must not exist
        #[arg(long = "to", value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Put a copy in the place of the store; the server must be stopped
    Restore {
        /// Configuration file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
        /// The copy
        #[arg(long = "from", value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// `portcullis authority`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityCommand {
    /// Create a new authority beside the present one; both count until the old one ends
    Rotate {
        /// The client authority of this database server; the installation's own when absent
        #[arg(long, value_name = "NAME")]
        server: Option<ServerName>,
        /// The authority of hosts' certificates; leave a day between the two steps
        #[arg(long, conflicts_with = "server")]
        hosts: bool,
    },
}

/// `portcullis signing-key`.
#[derive(Debug, Subcommand)]
pub(crate) enum SigningKeyCommand {
    /// Make the next key: published now, it signs in 24 hours
    Rotate {
        /// It signs now, and every token, handle and session of before ends: the key was lost or stolen
        #[arg(long)]
        at_once: bool,
    },
}

/// `portcullis master-key`.
#[derive(Debug, Subcommand)]
pub(crate) enum MasterKeyCommand {
    /// Seal every key again under a new master key; the server must be stopped
    Rotate {
        /// Configuration file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
    },
}

/// `portcullis recover-owner`.
#[derive(Debug, Args)]
pub(crate) struct RecoverOwner {
    /// Configuration file; the server must be stopped
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    /// The owner
    pub owner: UserName,
}

fn activation(text: &str) -> Result<ActivationId, String> {
    text.parse().map_err(|_| "it is not an id; `portcullis get activations` lists them".to_owned())
}

fn session(text: &str) -> Result<SessionId, String> {
    text.parse().map_err(|_| "it is not an id; `portcullis sessions` lists live ones".to_owned())
}

fn kind(text: &str) -> Result<Kind, String> {
    if let Some(kind) = Kind::find(text) {
        return Ok(kind);
    }
    let plurals = || Kind::ALL.iter().map(|kind| kind.plural());
    let hint = match model::suggest::nearest(text, plurals()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("kinds are: {}", plurals().collect::<Vec<_>>().join(", ")),
    };
    Err(format!("there is no such kind; {hint}"))
}

#[cfg(test)]
mod tests;
