//! Rules of database servers: what cannot change, where the gateway may dial, and that each route leads to one server.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use model::kind::server::{DatabaseServer, Databases, Engine, LocalInfile, SharedCredential};
use model::{Document, Refusal, Resource, Snapshot, code};

use super::{invalid, is_certificate, is_identifier, refuse};
use crate::resources::has_open_users;

type Server = Document<DatabaseServer>;

pub(super) fn check(
    server: &Server,
    before: Option<&Resource>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    match before {
        Some(Resource::DatabaseServer(before)) => unchanged(server, before)?,
        _ if has_open_users(server.name(), state) => {
            let why = "users of the former server of that name can still log in there";
            return Err(refuse(&code::CONFLICT, server, why).hint(
                "wait until `portcullis get databaseusers` shows them disabled, or take another name",
            ));
        }
        _ => {}
    }
    if server.spec.port == 0 {
        return Err(invalid(server, "`spec.port` is a TCP port"));
    }
    if server.spec.engine == Engine::PostgreSql && server.spec.local_infile == LocalInfile::Allowed
    {
        let why = "`spec.localInfile` is MySQL's: PostgreSQL never asks a client for a file";
        return Err(invalid(server, why));
    }
    shared_users(server)?;
    host(server)?;
    let authorities = server.spec.ca.trim();
    if !is_certificate(authorities) {
        return Err(invalid(server, "`spec.ca` takes certificates in PEM"));
    }
    if let Some(bad) = names(server).iter().find(|name| !is_identifier(name)) {
        return Err(invalid(server, &format!("`{bad}` is not the name of a database")));
    }
    one_route(server, state)
}

fn unchanged(server: &Server, before: &Server) -> Result<(), Refusal> {
    if server.spec.test_stack != before.spec.test_stack {
        let why = "`spec.testStack` is set at creation and never changes";
        return Err(refuse(&code::IMMUTABLE, server, why));
    }
    if server.spec.engine != before.spec.engine {
        let why = "`spec.engine` is set at creation and never changes";
        return Err(refuse(&code::IMMUTABLE, server, why));
    }
    Ok(())
}

/// Longer names lie in no folder of secrets.
const SECRET_NAME_BYTES_MAX: usize = 100;

fn shared_users(server: &Server) -> Result<(), Refusal> {
    let identity = &server.spec.upstream_identity;
    let shared = identity.shared_users();
    if !identity.is_certificate() && shared.is_empty() {
        return Err(invalid(server, "`spec.upstreamIdentity.sharedUsers` names one user at least"));
    }
    for (place, each) in shared.iter().enumerate() {
        let user = each.user.as_str();
        if !is_identifier(user) {
            return Err(invalid(server, &format!("`{user}` is not the name of a database user")));
        }
        if each.roles.is_empty() {
            return Err(invalid(server, &format!("the shared user `{user}` stands for no role")));
        }
        if shared.iter().take(place).any(|other| other.user == user || other.roles == each.roles) {
            let why = format!("the shared user `{user}`, or its roles, are named twice");
            return Err(invalid(server, &why));
        }
        match &each.credential {
            SharedCredential::Password { secret } if !is_secret_name(secret) => {
                let why = format!(
                    "`{secret}` is not the name of a secret: letters, digits, `.`, `_` and `-`, not \
                     beginning with a dot or with `portcullis`"
                );
                return Err(invalid(server, &why));
            }
            SharedCredential::EntraToken { client_id: Some(id) } if !is_secret_name(id) => {
                return Err(invalid(server, &format!("`{id}` is not a client id")));
            }
            SharedCredential::Password { .. } | SharedCredential::EntraToken { .. } => {}
        }
    }
    Ok(())
}

/// The name of a file in one folder, and of none outside. Names that begin so are Portcullis' own: systemd's folder of
/// credentials may hold the master key too.
fn is_secret_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    (1..=SECRET_NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with('.')
        && !name.starts_with("portcullis")
}

/// The gateway dials what is written here: not the metadata services of clouds, not "any", not many.
fn host(server: &Server) -> Result<(), Refusal> {
    let host = server.spec.host.as_str();
    if host.is_empty() || host.len() > 253 || host.chars().any(|c| c.is_whitespace() || c == '/') {
        return Err(invalid(server, "`spec.host` is a host name or an address"));
    }
    let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
        return Ok(());
    };
    if never_a_database(address.to_canonical()) {
        let why = format!("`spec.host` {address} is no address at which a database can be");
        return Err(invalid(server, &why));
    }
    Ok(())
}

fn never_a_database(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address == Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    link_local || address.is_unspecified() || address.is_multicast()
}

fn names(server: &Server) -> BTreeSet<&str> {
    match &server.spec.databases {
        Databases::Any => BTreeSet::new(),
        Databases::Only(names) => names.iter().map(String::as_str).collect(),
    }
}

/// Behind one listener a TLS server name, and a database name that routes, leads to one server.
fn one_route(server: &Server, state: &Snapshot) -> Result<(), Refusal> {
    let others = state.servers.iter().filter(|other| {
        other.name() != server.name() && !other.spec.listeners.is_disjoint(&server.spec.listeners)
    });
    for other in others {
        let same_name = server.spec.server_names.iter().find(|name| {
            other.spec.server_names.iter().any(|theirs| theirs.eq_ignore_ascii_case(name))
        });
        if let Some(name) = same_name {
            let why = format!("the TLS server name `{name}` leads to `{}` already", other.name());
            return Err(invalid(server, &why));
        }
        let theirs = names(other);
        // Servers that are told apart by TLS server names may hold databases of one name.
        let by_database = server.spec.server_names.is_empty() && other.spec.server_names.is_empty();
        if let Some(name) = names(server).into_iter().find(|name| theirs.contains(name))
            && by_database
        {
            let why = format!("the database name `{name}` leads to `{}` already", other.name());
            return Err(invalid(server, &why).hint("give the servers TLS `serverNames`"));
        }
    }
    Ok(())
}
