//! What developers and applications type to reach a database: connect, proxy.

use std::ffi::OsString;

use clap::{Args, ValueHint};
use client::proxy::Endpoint;
use model::{Lifetime, ServerName};

/// `portcullis connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The database server
    pub server: ServerName,
    /// The database; the server's first when absent
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Start this instead of psql, mariadb or mysql: pg_dump, mariadb-dump, pgcli, …
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::CommandName)]
    pub client: Option<OsString>,
    /// What the client is given besides
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<OsString>,
}

/// `portcullis proxy`.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// The database server
    pub server: ServerName,
    /// Where clients connect: `127.0.0.1:PORT`, `[::1]:PORT` or `unix:PATH`; 127.0.0.1 with port 15432 (PostgreSQL) or
    /// 13306 (MySQL) when absent
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Endpoint>,
    /// Once asked to stop, open connections have so long to end by themselves
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub drain: Lifetime,
}
