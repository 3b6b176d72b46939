//! What only the data path knows of database servers. It is injected, so that the API depends on no other door.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;

use access::Condition;
use axum::Json as Answer;
use axum::extract::{Path, State};
use control::keyring::{RotatedAuthority, SigningRotation, WhoseAuthority};
use control::{Caller, Verb, allowed};
use model::finding::Finding;
use model::kind::server::{DatabaseServer, Databases, Engine};
use model::{Kind, Refusal, ServerName, Timestamp, code};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Api;
use crate::authenticate::Authenticated;
use crate::body::{Asked, Json};
use crate::problem::{Problem, invalid};

/// What a trait object's method returns.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// An existing database user, and whose it becomes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adopt {
    /// Its name on the server.
    pub user: String,
    /// The person or workload.
    pub principal: String,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entrance {
    /// The name to connect to; the gateway's certificate has it.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What the gateway does for the API.
pub trait DatabaseServers: fmt::Debug + Send + Sync {
    /// What an operator must change on the server, as `portcullis server enroll` understands it.
    fn enrollment<'a>(&'a self, server: &'a ServerName) -> Future<'a, Result<Value, Refusal>>;
    /// Takes an existing database user over. The caller has been authorised.
    fn adopt<'a>(
        &'a self,
        caller: &'a Caller,
        server: &'a ServerName,
        adopt: Adopt,
    ) -> Future<'a, Result<Value, Refusal>>;
    /// Where clients that give a token as their password reach the server; nowhere when no listener leads there.
    fn entrance(&self, server: &DatabaseServer) -> Option<Entrance>;
    /// What is wrong with the installation and its servers, asked afresh.
    fn examine(&self) -> Future<'_, Vec<Finding>>;
}

/// What the doctor found, and the time here, for whoever compares clocks.
#[derive(Debug, Serialize)]
pub(crate) struct Examined {
    now: Timestamp,
    items: Vec<Finding>,
}

pub(crate) async fn doctor(
    State(api): State<Api>,
    caller: Authenticated,
) -> Result<Answer<Examined>, Problem> {
    authorise(&caller.caller, Verb::Diagnose, "ask for a diagnosis")?;
    let items = api.servers.examine().await;
    Ok(Answer(Examined { now: api.clock.now(), items }))
}

/// Which database somebody wants to open; the server's first when none is named.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Wanted {
    database: Option<String>,
}

/// All that a client needs to connect, but a token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connection {
    engine: Engine,
    #[serde(flatten)]
    entrance: Entrance,
    user: String,
    /// The one that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// Those that are reachable; empty when any is.
    databases: BTreeSet<String>,
    /// Why it would be refused now. The address is not asked about: databases may be reached from another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    unmet: Option<Condition>,
}

pub(crate) async fn connection(
    State(api): State<Api>,
    caller: Authenticated,
    Path(name): Path<ServerName>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<Connection>, Problem> {
    // What the caller may not see does not exist for them.
    api.control.get(&caller.caller, Kind::DatabaseServer, name.as_str())?;
    let gone = || Refusal::new(&code::NOT_FOUND, format!("there is no DatabaseServer `{name}`"));
    let server = caller.snapshot.servers.get(&name).ok_or_else(gone)?;
    let nowhere = || {
        let message =
            format!("no listener of the gateway leads to `{name}` with a token as the password");
        Refusal::new(&code::SERVER_UNKNOWN, message)
            .hint("an owner must name one of the gateway's listeners in its `listeners`")
    };
    let entrance = api.servers.entrance(&server.spec).ok_or_else(nowhere)?;
    let database = wanted.database.or_else(|| first_database(&server.spec));
    let principal = caller.caller.principal;
    let source = caller.caller.source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let asked = database.clone().unwrap_or_default();
    let request = access::Request::hypothetical(&principal, name, asked, source);
    let conditions = access::explain(&request, &caller.snapshot, api.clock.now());
    let unmet = conditions.into_iter().find(|it| !it.met && it.name != access::NETWORK);
    let databases = match &server.spec.databases {
        Databases::Only(names) => names.clone(),
        Databases::Any => BTreeSet::new(),
    };
    let (engine, user) = (server.spec.engine, principal.name);
    Ok(Answer(Connection { engine, entrance, user, database, databases, unmet }))
}

/// The database that is meant when none is named. MySQL's clients need not open any.
fn first_database(server: &DatabaseServer) -> Option<String> {
    match (&server.databases, server.engine) {
        (Databases::Only(names), _) => names.first().cloned(),
        (Databases::Any, Engine::PostgreSql) => Some(server.maintenance_database.clone()),
        (Databases::Any, Engine::MySql) => None,
    }
}

pub(crate) async fn enrollment(
    State(api): State<Api>,
    caller: Authenticated,
    Path(server): Path<ServerName>,
) -> Result<Answer<Value>, Problem> {
    authorise(&caller.caller, Verb::EnrollServer, "enroll servers")?;
    Ok(Answer(api.servers.enrollment(&server).await?))
}

pub(crate) async fn adopt(
    State(api): State<Api>,
    caller: Authenticated,
    Path(server): Path<ServerName>,
    Json(adopt): Json<Adopt>,
) -> Result<Answer<Value>, Problem> {
    authorise(&caller.caller, Verb::AdoptDatabaseUser, "adopt database users")?;
    Ok(Answer(api.servers.adopt(&caller.caller, &server, adopt).await?))
}

/// Whose authority takes a step of its rotation; the installation's own when neither is named.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Whose {
    server: Option<ServerName>,
    #[serde(default)]
    hosts: bool,
}

pub(crate) async fn rotate_authority(
    State(api): State<Api>,
    caller: Authenticated,
    Json(Whose { server, hosts }): Json<Whose>,
) -> Result<Answer<RotatedAuthority>, Problem> {
    let whose = match (server, hosts) {
        (Some(server), false) => WhoseAuthority::Server(server),
        (None, true) => WhoseAuthority::Hosts,
        (None, false) => WhoseAuthority::Installation,
        (Some(_), true) => return Err(invalid("name either a `server` or `hosts`")),
    };
    let rotated = api.keyring.rotate_authority(&caller.caller, &whose).await;
    Ok(Answer(rotated.map_err(Refusal::from)?))
}

/// How the next key that signs tokens takes over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rotation {
    #[serde(default)]
    at_once: bool,
}

/// The next key, and from when on it signs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NextKey {
    kid: String,
    signs_from: Timestamp,
}

pub(crate) async fn rotate_signing_key(
    State(api): State<Api>,
    caller: Authenticated,
    Json(Rotation { at_once }): Json<Rotation>,
) -> Result<Answer<NextKey>, Problem> {
    authorise(&caller.caller, Verb::RotateSigningKey, "rotate signing keys")?;
    let rotation = if at_once { SigningRotation::AtOnce } else { SigningRotation::Overlap };
    let rotated = api.keyring.rotate_signing_key(Some(&caller.caller), rotation).await;
    let (kid, signs_from) = rotated.map_err(Refusal::from)?;
    Ok(Answer(NextKey { kid, signs_from }))
}

/// Why a server is given up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GivenUp {
    reason: String,
}

/// Users that count as gone.
#[derive(Debug, Serialize)]
pub(crate) struct Abandoned {
    users: Vec<String>,
}

pub(crate) async fn abandon(
    State(api): State<Api>,
    caller: Authenticated,
    Path(server): Path<ServerName>,
    Json(GivenUp { reason }): Json<GivenUp>,
) -> Result<Answer<Abandoned>, Problem> {
    let users = api.control.abandon(&caller.caller, server, reason).await?;
    Ok(Answer(Abandoned { users }))
}

fn authorise(caller: &Caller, verb: Verb, what: &str) -> Result<(), Refusal> {
    if allowed(verb, caller.role) {
        return Ok(());
    }
    Err(Refusal::new(&code::FORBIDDEN, format!("role `{}` does not {what}", caller.role)))
}
