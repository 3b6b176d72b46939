//! What an enrolment knows of a server and plans for it: data only. `enroll` looks, plans and applies, `provision` has the SQL;
//! both speak in these.

pub(crate) mod mysql;
pub(crate) mod pg;

use std::net::IpAddr;

use model::Document;
use model::finding::Finding;
use model::kind::database_role::DatabaseRole;
use model::kind::server::DatabaseServer;
use serde::{Deserialize, Serialize};

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
    /// A MariaDB or MySQL server.
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
