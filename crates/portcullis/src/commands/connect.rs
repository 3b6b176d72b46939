//! `portcullis connect`: becomes a client that is signed in already.

use client::{ClientError, Invocation};
use runtime::Clock;

use crate::cli::{Common, Connect};
use crate::failure::Failure;
use crate::remote;

/// Returns only when it did not succeed: otherwise the process is the client from here on.
pub(crate) fn run(common: &Common, options: &Connect) -> Result<(), Failure> {
    let what = format!("connect to `{}`", options.server);
    start(common, options).map_err(|error| remote::failure(&what, &error))
}

fn start(common: &Common, options: &Connect) -> Result<(), ClientError> {
    let Connect { server, database, client: program, arguments } = options;
    let environment = remote::environment(common);
    let now = Clock::system().now();
    let (installation, token) = client::own_control_token(&environment, now)?;
    let connection = client::connection(&installation, &token, server, database.as_deref())?;
    connection.check()?;
    let ca = environment.ca.as_deref().ok_or(ClientError::AuthorityMissing)?;
    // Good for this server only, and short enough for every client.
    let (installation, token) = client::database_token(&environment, now)?;
    let handle = client::handle(&installation, &token, Some(server))?;
    let program = program.as_deref();
    let invocation = Invocation { connection: &connection, ca, program, arguments };
    Err(invocation.exec(&handle.handle))
}
