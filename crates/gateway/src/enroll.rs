//! `portcullis server enroll`: what an operator must change on a database server so that only the gateway reaches it,
//! and why. The plan is pure; [`host`] looks at the server, [`journal`] applies the plan and takes it back.
//!
//! What holds for every server stands here; what differs stands in the folder of its engine, and the SQL in `provision`.

mod account;
mod files;
mod host;
mod journal;
pub mod mysql;
pub mod pg;
mod print;

use std::net::IpAddr;

use model::finding::Finding;
use model::kind::database_role::DatabaseRole;
use model::kind::server::{DatabaseServer, Engine};
use model::{Document, Refusal, code};
use serde::{Deserialize, Serialize};

pub use host::{Host, HostError, Local, close_local_door, engine_of, observe};
pub use journal::{Undone, apply, undo};

/// The file with the authorities whose client certificates the server accepts, in its data directory.
pub const CLIENT_AUTHORITY_FILE: &str = "portcullis-client-ca.pem";

/// All that the plan depends on. Everything but `observed` is Portcullis' side and can be fetched from its API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollInput {
    /// The server.
    pub server: Document<DatabaseServer>,
    /// Its database roles: they say which existing roles must be handed on, and whether replication is allowed.
    #[serde(default)]
    pub roles: Vec<Document<DatabaseRole>>,
    /// PEM of this one server's client authority.
    pub client_authority: String,
    /// From which the gateway dials.
    pub gateway_addresses: Vec<IpAddr>,
    /// PEM of further authorities; refused unless the server has `testStack: true`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_authorities: Vec<String>,
    /// What the server says now. Absent: the plan shows everything that a fresh server needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// What a server says now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "engine")]
pub enum Observed {
    /// A PostgreSQL server.
    #[serde(rename = "postgresql")]
    PostgreSql(pg::Observed),
    /// A MariaDB server.
    #[serde(rename = "mysql")]
    MySql(mysql::Observed),
}

/// What must change, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The server's resource name.
    pub server: String,
    /// In the order in which they are applied; empty when nothing is left to do.
    pub steps: Vec<Step>,
    /// Why it is not applied as things stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<String>,
    /// Settings that the server reads at its start only, and does not go by yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
    /// What the plan leaves as it is, although it weakens the whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What the plan cannot do, or what the operator should know.
    pub notes: Vec<String>,
}

impl Plan {
    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// One change and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What, in a few words.
    pub title: String,
    /// Why.
    pub reason: String,
    /// How.
    pub change: Change,
}

/// How a step changes the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A file is written. A relative path starts at the data directory.
    #[serde(rename_all = "camelCase")]
    File {
        /// Where.
        path: String,
        /// All of it.
        content: String,
        /// What of it was there before us.
        #[serde(default)]
        whose: Whose,
    },
    /// SQL that a superuser runs; on PostgreSQL in one transaction unless it is `ALTER SYSTEM`.
    #[serde(rename_all = "camelCase")]
    Sql {
        /// Connected to this database.
        database: String,
        /// In this order.
        statements: Vec<String>,
        /// What takes them back, in this order.
        undo: Vec<String>,
    },
}

/// Statements and what takes them back.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) statements: Vec<String>,
    undo: Vec<String>,
}

impl Script {
    /// One more, which is taken back before those that came earlier.
    pub(crate) fn add(&mut self, statement: String, undo: String) {
        self.statements.push(statement);
        self.undo.insert(0, undo);
    }

    /// A step, unless nothing has to be done.
    pub(crate) fn step(self, database: &str, title: &str, reason: &str) -> Option<Step> {
        (!self.statements.is_empty()).then(|| Step {
            title: title.to_owned(),
            reason: reason.to_owned(),
            change: Change::Sql {
                database: database.to_owned(),
                statements: self.statements,
                undo: self.undo,
            },
        })
    }
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Whose {
    /// Ours alone: one of that name that we did not write is never written over.
    #[default]
    Ours,
    /// The server's own, with our lines in it.
    Servers,
}

/// What is left to do. Refused when it asks for something that this server must not have.
pub fn plan(input: &EnrollInput) -> Result<Plan, Refusal> {
    check(input)?;
    let spec = &input.server.spec;
    match (spec.engine, &input.observed) {
        (Engine::PostgreSql, None) => pg::plan(input, &pg::Observed::fresh(spec)),
        (Engine::PostgreSql, Some(Observed::PostgreSql(observed))) => pg::plan(input, observed),
        (Engine::MySql, None) => mysql::plan(input, &mysql::Observed::fresh(spec)),
        (Engine::MySql, Some(Observed::MySql(observed))) => mysql::plan(input, observed),
        (Engine::PostgreSql, Some(Observed::MySql(_)))
        | (Engine::MySql, Some(Observed::PostgreSql(_))) => {
            let message = format!("`{}` is not of the engine that was found", input.server.name());
            Err(Refusal::new(&code::INVALID, message).hint("compare `spec.engine` with the server"))
        }
    }
}

fn check(input: &EnrollInput) -> Result<(), Refusal> {
    if input.gateway_addresses.is_empty() {
        let message = "the gateway's configuration names no address from which it dials";
        return Err(Refusal::new(&code::INVALID, message).hint("set `gateway.addresses`"));
    }
    if !input.additional_authorities.is_empty() && !input.server.spec.test_stack {
        let message = "only a test stack's server trusts a second client authority";
        return Err(Refusal::new(&code::TEST_STACK_ONLY, message));
    }
    Ok(())
}

/// A role that is handed on although it holds the whole server.
fn too_powerful(role: &Document<DatabaseRole>, existing: &str, what: &str) -> Refusal {
    let message = format!("`{}` hands on `{existing}`, which {what}", role.name());
    Refusal::new(&code::INVALID, message)
        .hint("whoever may become it holds everything; name a role without attributes")
}

/// The one authority that can make certificates for this server's users. `current` is the file's text, when it is there.
fn client_authority(input: &EnrollInput, current: Option<&str>) -> Option<Step> {
    let mut content = String::new();
    for pem in std::iter::once(&input.client_authority).chain(&input.additional_authorities) {
        content.push_str(pem.trim_end());
        content.push('\n');
    }
    (current != Some(content.as_str())).then(|| Step {
        title: "trust this server's own client authority, and no other".to_owned(),
        reason: "the gateway mints a certificate for each session with it; a certificate of any other authority, \
                 and one for another server, opens nothing here"
            .to_owned(),
        change: Change::File {
            path: CLIENT_AUTHORITY_FILE.to_owned(),
            content,
            whose: Whose::Ours,
        },
    })
}

/// What an operator should know whatever the engine. `listens_here` is the setting by which the server can be reached
/// from its own host only.
fn notes(input: &EnrollInput, listens_here: Option<&str>, flags: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let from_elsewhere = input.gateway_addresses.iter().any(|address| !address.is_loopback());
    if let Some(setting) = listens_here
        && from_elsewhere
    {
        notes.push(format!(
            "`{setting}` lets only this host connect; set it to the address that the gateway dials and restart the server"
        ));
    }
    if input.observed.is_none() {
        notes.push(format!(
            "this is what a fresh server needs; run it on the server's host with {flags} to see only what is left to do \
             there"
        ));
    }
    notes
}

#[cfg(test)]
mod tests;
