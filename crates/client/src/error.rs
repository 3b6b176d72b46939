//! Why a client's work did not succeed: one variant for each thing that a person can act on.

use std::io;
use std::path::PathBuf;

use model::Refusal;

/// Why a client's work did not succeed. No secret stands in any of them.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody said where the installation is.
    #[error("the address of the installation is not known")]
    AddressMissing,
    /// The address is not one that can be used.
    #[error("`{address}` is not the address of an installation; it looks like https://host:port")]
    AddressInvalid {
        /// As given.
        address: String,
    },
    /// Nobody said which authority to trust.
    #[error("the certificate of the installation's authority is not known")]
    AuthorityMissing,
    /// The authority's file holds no certificate.
    #[error("`{path}` holds no PEM certificate", path = path.display())]
    AuthorityInvalid {
        /// The file.
        path: PathBuf,
    },
    /// Nothing answers.
    #[error("{origin} cannot be reached: {cause}")]
    Unreachable {
        /// The installation.
        origin: String,
        /// What the network said.
        cause: String,
    },
    /// Something answers whose certificate is not the installation's.
    #[error("the certificate of {origin} cannot be trusted: {cause}")]
    Untrusted {
        /// The installation.
        origin: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The installation refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The token endpoint refused.
    #[error("{description}")]
    TokenRefused {
        /// OAuth error.
        error: String,
        /// In words, with Entra's number.
        description: String,
    },
    /// The answer is not what this version understands.
    #[error("the answer of {origin} is not understood: {reason}")]
    Unintelligible {
        /// The installation.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody is signed in on this machine.
    #[error("nobody is signed in to {origin} on this machine")]
    NotSignedIn {
        /// The installation.
        origin: String,
    },
    /// The sign-in on this machine is over.
    #[error("the sign-in of `{user}` is over: {reason}")]
    SignInOver {
        /// Whose.
        user: String,
        /// Why.
        reason: String,
    },
    /// There is no device key.
    #[error("there is no device key in `{path}`", path = path.display())]
    NotEnrolled {
        /// Where it would be.
        path: PathBuf,
    },
    /// A code is needed, and there is no file to make it from.
    #[error("the code of your authenticator is needed")]
    CodeNeeded,
    /// The challenge is for another installation: someone in between, or another name for the same.
    #[error("the installation calls itself `{named}`, but was reached as `{origin}`")]
    OtherOrigin {
        /// As reached.
        origin: String,
        /// As it calls itself.
        named: String,
    },
    /// Where state is kept is not known.
    #[error("there is no folder for device key and tokens")]
    HomeMissing,
    /// A file cannot be used.
    #[error("cannot {task} `{path}`: {source}", path = path.display())]
    File {
        /// What was tried.
        task: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can read what is only the owner's.
    #[error("others can read `{path}` (mode {mode:04o})", path = path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error("`{path}` is not {expected}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// No agent listens on this machine.
    #[error("cannot reach the agent at `{socket}`: {cause}", socket = socket.display())]
    AgentAway {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The machine has no key of its own.
    #[error("this machine has not joined: there is no `{path}`", path = path.display())]
    NotJoined {
        /// Where the key would be.
        path: PathBuf,
    },
    /// A variable of the environment is missing, or is not what it should be.
    #[error("{variable} is {problem}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No client is installed that speaks the server's protocol.
    #[error("there is no {} on this machine", programs.join(" and no "))]
    NoClient {
        /// What was looked for.
        programs: Vec<String>,
        /// How it is installed.
        remedy: &'static str,
    },
    /// A client is there but does not start.
    #[error("`{program}` cannot be started: {source}")]
    Unstartable {
        /// What was started.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The address to listen on cannot be used.
    #[error("it cannot listen on {address}: {source}")]
    Unbindable {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The agent of this machine says no.
    #[error("the agent refuses: {reason}")]
    AgentRefused {
        /// Its words.
        reason: String,
    },
    /// Our own work broke off.
    #[error("the work on the {task} broke off")]
    Unfinished {
        /// What it was for.
        task: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The cryptography library failed.
    #[error("the cryptography library failed to {task}")]
    Cryptography {
        /// What it was doing.
        task: &'static str,
    },
}

impl ClientError {
    /// What to do next.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::AddressMissing | Self::AddressInvalid { .. } => {
                Some("set PORTCULLIS_URL, or add --url https://host:port")
            }
            Self::AuthorityMissing | Self::AuthorityInvalid { .. } => Some(
                "set PORTCULLIS_CA, or add --ca FILE, to the PEM file that `portcullis init` wrote",
            ),
            Self::Unreachable { .. } => Some("check the address, and that the server runs"),
            Self::Untrusted { .. } => Some(
                "check that PORTCULLIS_CA is this installation's authority, and the name in the address",
            ),
            Self::Refused(refusal) => refusal.hint.as_deref(),
            Self::NotSignedIn { .. } | Self::SignInOver { .. } => {
                Some("sign in with `portcullis login`")
            }
            Self::NotEnrolled { .. } => Some(
                "ask an owner for a Temporary Access Pass, then run `portcullis login USER --pass`",
            ),
            Self::AgentAway { .. } => Some(
                "start it with `portcullis agent run`, as deploy/portcullis-agent.service does; --socket names another place",
            ),
            Self::NotJoined { .. } => Some(
                "an owner runs `portcullis host join-token HOST`; then `portcullis agent join HOST` here reads the token",
            ),
            Self::CodeNeeded => Some("add --code DIGITS or --totp-secret-file FILE"),
            Self::OtherOrigin { .. } => {
                Some("use the address by which the installation calls itself")
            }
            Self::HomeMissing => Some("set PORTCULLIS_HOME or HOME"),
            Self::Exposed { .. } => Some("take the permission away: chmod go= FILE"),
            Self::NoClient { remedy, .. } => Some(remedy),
            Self::Unbindable { .. } => {
                Some("give it another address: --listen 127.0.0.1:PORT, or --listen unix:PATH")
            }
            Self::AgentRefused { .. } => Some(
                "an owner can add the identity and its callers to the Host; the agent's log says what it saw",
            ),
            Self::TokenRefused { .. }
            | Self::Unstartable { .. }
            | Self::Unfinished { .. }
            | Self::Unintelligible { .. }
            | Self::File { .. }
            | Self::Malformed { .. }
            | Self::Environment { .. }
            | Self::Cryptography { .. } => None,
        }
    }

    /// Whether it may be over by itself in a while: the network, or the installation, is away.
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.code.http >= 500,
            _ => false,
        }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}
