//! The seam between protocols: how a connection begins, how a credential is asked for, how the server is logged in to,
//! how a refusal, a notice and a cut are spelled. Everything else in this crate is the same for every protocol.

use std::fmt;

use crate::cancel::Asked;
use crate::session::Connection;
use crate::tls::{Hello, Stream};

mod pg;

pub(crate) use pg::cancel::{cancel_upstream, request_tls};
pub(crate) use pg::credential::{ask_credential, credential_refused, newest};
pub(crate) use pg::first::first;
pub(crate) use pg::login::{Login, log_in};
pub(crate) use pg::say::{notice, refusal};
pub(crate) use pg::start::start;

/// What a connection is for, before TLS.
#[derive(Debug)]
pub(crate) enum First {
    /// TLS begins.
    Tls(Box<Hello>),
    /// Cancel another session's statement.
    Cancel(Box<Asked>),
}

/// A connection that has said what it wants.
#[derive(Debug)]
pub(crate) struct Started {
    /// What it carries along.
    pub connection: Connection,
    /// The client.
    pub client: Box<Stream>,
    /// TLS server name (SNI).
    pub server_name: Option<String>,
    /// What it wants.
    pub startup: Startup,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Startup {
    /// As whom.
    pub user: String,
    /// Which database.
    pub database: String,
    /// As the client names itself.
    pub application_name: Option<String>,
    /// Whether the replication protocol is asked for.
    pub replication: bool,
    /// As it was said.
    pub packet: wire::pg::startup::Startup,
}

/// What a client needs to cancel a statement: the backend's process id and a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CancelKey {
    /// The backend.
    pub pid: u32,
    /// 4 bytes, or up to 256 from protocol 3.2 on.
    pub secret: Vec<u8>,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelKey({}, [secret])", self.pid)
    }
}
