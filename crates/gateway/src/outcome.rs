//! How a connection can end, before and after it became a session.

use std::fmt;

use model::{Code, Refusal};
use tokio::net::TcpStream;

use crate::cancel::Asked;
use crate::session::Connection;
use crate::tls::Stream;

/// A refusal and its cause. The client sees the refusal; only the log sees the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What the client is told.
    pub refusal: Refusal,
    /// What the client is not told.
    pub cause: Option<String>,
    /// The server's own message, which the client gets as it is in place of ours.
    pub verbatim: Option<Vec<u8>>,
}

impl Denied {
    /// A refusal that needs no further cause.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Refusal::new(code, message).into()
    }

    /// The same with what happened underneath.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{} ({cause})", self.refusal),
            None => write!(f, "{}", self.refusal),
        }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, cause: None, verbatim: None }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        denied.refusal
    }
}

/// The client's side of a connection that is not open.
#[derive(Debug)]
pub(crate) enum Client {
    /// Before TLS.
    Plain(TcpStream),
    /// Inside TLS.
    Secured(Box<Stream>),
}

/// A connection turned away.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Whose, and what is known of it.
    pub connection: Connection,
    /// Where it is told.
    pub client: Client,
    /// Why.
    pub denied: Denied,
}

/// Why a connection did not become a session.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It was turned away.
    Refused(Box<Refused>),
    /// It asked for the cancellation of another session's statement.
    Cancel(Box<Asked>),
    /// It closed, or stayed silent, before it had said what it wants.
    Silent(&'static str),
}

impl Stop {
    /// Turned away inside TLS.
    pub(crate) fn refused(
        connection: Connection,
        client: Box<Stream>,
        denied: impl Into<Denied>,
    ) -> Self {
        let client = Client::Secured(client);
        Self::Refused(Box::new(Refused { connection, client, denied: denied.into() }))
    }

    /// Turned away before TLS.
    pub(crate) fn refused_plain(
        connection: Connection,
        client: TcpStream,
        denied: impl Into<Denied>,
    ) -> Self {
        let client = Client::Plain(client);
        Self::Refused(Box::new(Refused { connection, client, denied: denied.into() }))
    }
}
