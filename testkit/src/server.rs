//! What throw-away database servers share, whatever they speak.

mod account;
mod directly;
pub(crate) mod leftovers;
mod place;
pub(crate) mod template;
pub(crate) mod tls;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};

pub use account::Account;
pub use place::Place;
pub use tls::Direct;

/// A free port can be taken by someone else between the moment it was found and the moment the server binds it.
pub(crate) const START_TRIES_MAX: u32 = 5;

/// Whether the server waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// As in production: figures mean something.
    On,
    /// Faster; a power cut would lose the throw-away data.
    Off,
}

/// Whether a superuser can come in around the gateway, with a certificate of an authority made for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectAccess {
    /// Only through the gateway, and over the unix socket as the server's own account.
    None,
    /// [`Direct`] has the certificate; its authority belongs into the server's file of client authorities beside the
    /// gateway's. For comparison on test stacks only.
    Superuser,
}

/// Who comes in around the gateway.
#[derive(Clone, Copy, Debug)]
pub struct DirectLogin<'a> {
    /// Login user.
    pub user: &'a str,
    /// Database.
    pub database: &'a str,
    /// PEM file with the client certificate.
    pub certificate: &'a Path,
    /// PEM file with its key, 0600.
    pub key: &'a Path,
}

pub(crate) fn free_port() -> Result<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(probe.local_addr()?.port())
}

#[expect(clippy::print_stderr, reason = "a test that leaves something behind says so")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("testkit: {error:#}");
}
