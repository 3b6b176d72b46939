//! Which server a connection is for: by TLS server name, else by database name, else the listener's only server.

use std::sync::Arc;

use model::kind::server::{DatabaseServer, Databases};
use model::{Document, Refusal, Snapshot, code};

/// What a connection says about where it wants to go.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The listener that it came through.
    pub listener: &'a str,
    /// TLS server name (SNI), when the client sent one.
    pub server_name: Option<&'a str>,
    /// The database of the start-up message.
    pub database: &'a str,
}

/// The server that the connection is for.
pub fn route(
    asked: &Asked<'_>,
    snapshot: &Snapshot,
) -> Result<Arc<Document<DatabaseServer>>, Refusal> {
    let behind: Vec<_> = snapshot
        .servers
        .iter()
        .filter(|server| server.spec.listeners.contains(asked.listener))
        .collect();
    if let Some(name) = asked.server_name {
        let named = |known: &String| known.eq_ignore_ascii_case(name);
        if let Some(server) =
            behind.iter().find(|server| server.spec.server_names.iter().any(named))
        {
            return Ok(Arc::clone(server));
        }
    }
    let by_database: Vec<_> =
        behind.iter().filter(|server| lists(server, asked.database)).collect();
    match (by_database.as_slice(), behind.as_slice()) {
        ([server], _) => Ok(Arc::clone(server)),
        ([], [only]) => Ok(Arc::clone(only)),
        ([], []) => {
            Err(Refusal::new(&code::SERVER_UNKNOWN, "no server is protected behind this listener"))
        }
        _ => Err(Refusal::new(
            &code::SERVER_UNKNOWN,
            format!("the database name `{}` does not say which server is meant", asked.database),
        )
        .hint("connect under one of the server's own host names (its `serverNames`)")),
    }
}

fn lists(server: &Document<DatabaseServer>, database: &str) -> bool {
    match &server.spec.databases {
        Databases::Any => false,
        Databases::Only(names) => names.contains(database),
    }
}
