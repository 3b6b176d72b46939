//! `portcullis server enroll`: what an operator must change on a database server so that only the gateway reaches it,
//! and why. The plan is pure; [`host`] looks at the server, applies the plan and takes it back.

mod hba;
mod host;
mod observed;
mod print;

use std::net::IpAddr;

use model::kind::database_role::{DatabaseRole, Privileges};
use model::kind::server::DatabaseServer;
use model::{Document, Refusal, code};
use serde::{Deserialize, Serialize};

use crate::provision::pg::enrolment;

pub use host::{Host, HostError, apply, close_local_door, observe, undo};
pub use observed::{Membership, Observed, ObservedDatabase, ObservedRole, ObservedSchema};

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

/// What must change, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The server's resource name.
    pub server: String,
    /// In the order in which they are applied; empty when nothing is left to do.
    pub steps: Vec<Step>,
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
    },
    /// SQL that a superuser runs, in one transaction unless it is `ALTER SYSTEM`.
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

/// What is left to do. Refused when it asks for something that this server must not have.
pub fn plan(input: &EnrollInput) -> Result<Plan, Refusal> {
    let fresh = Observed::fresh(&input.server.spec);
    let observed = input.observed.as_ref().unwrap_or(&fresh);
    check(input, observed)?;
    let mut steps = Vec::new();
    steps.extend(client_authority(input, observed));
    steps.extend(enrolment::settings(observed, CLIENT_AUTHORITY_FILE));
    steps.extend(enrolment::roles(input, observed));
    for database in &observed.databases {
        steps.extend(enrolment::database(input, observed, database));
    }
    steps.extend(admission(input, observed, hba::LocalDoor::Open));
    Ok(Plan { server: input.server.name().to_owned(), steps, notes: notes(input, observed) })
}

fn check(input: &EnrollInput, observed: &Observed) -> Result<(), Refusal> {
    if input.gateway_addresses.is_empty() {
        let message = "the gateway's configuration names no address from which it dials";
        return Err(Refusal::new(&code::INVALID, message).hint("set `gateway.addresses`"));
    }
    if !input.additional_authorities.is_empty() && !input.server.spec.test_stack {
        let message = "only a test stack's server trusts a second client authority";
        return Err(Refusal::new(&code::TEST_STACK_ONLY, message));
    }
    for role in &input.roles {
        if let Privileges::ExistingRole(name) = &role.spec.privileges
            && observed.is_superuser(name)
        {
            let message = format!("`{}` hands on `{name}`, which is a superuser", role.name());
            return Err(Refusal::new(&code::INVALID, message)
                .hint("whoever may become it holds everything; name a role without attributes"));
        }
    }
    Ok(())
}

/// The one authority that can make certificates for this server's users.
fn client_authority(input: &EnrollInput, observed: &Observed) -> Option<Step> {
    let mut content = String::new();
    for pem in std::iter::once(&input.client_authority).chain(&input.additional_authorities) {
        content.push_str(pem.trim_end());
        content.push('\n');
    }
    (observed.client_authorities.as_deref() != Some(content.as_str())).then(|| Step {
        title: "trust this server's own client authority, and no other".to_owned(),
        reason: "the gateway mints a certificate for each session with it; a certificate of any other authority, \
                 and one for another server, opens nothing here"
            .to_owned(),
        change: Change::File { path: CLIENT_AUTHORITY_FILE.to_owned(), content },
    })
}

/// `pg_hba.conf`, last: everything that it lets in is ready by then.
fn admission(input: &EnrollInput, observed: &Observed, local_door: hba::LocalDoor) -> Option<Step> {
    let replicates = input.roles.iter().any(|role| role.spec.replication);
    let wanted = hba::Wanted {
        gateway_addresses: &input.gateway_addresses,
        replication: if replicates {
            hba::Replication::Allowed
        } else {
            hba::Replication::Withheld
        },
        superuser: &observed.superuser,
        local_door,
    };
    let content = hba::edit(&observed.hba, &wanted);
    (content != observed.hba).then(|| Step {
        title: "let in the gateway only, with a client certificate over TLS".to_owned(),
        reason: "no password, no other address and no unencrypted connection is accepted any more; the one `local` \
                 line is the server's own account, which TLS and certificates cannot reach (they do not exist on unix \
                 sockets), and can go once the enrolment is done"
            .to_owned(),
        change: Change::File { path: observed.hba_file.clone(), content },
    })
}

/// The step that closes the unix socket to the server's own account too.
pub fn offer(input: &EnrollInput) -> Option<Step> {
    let observed = input.observed.as_ref()?;
    let mut step = admission(input, observed, hba::LocalDoor::Closed)?;
    "close the unix socket to the server's own account".clone_into(&mut step.title);
    "it was needed for the enrolment only; who can become that account can open it again"
        .clone_into(&mut step.reason);
    Some(step)
}

fn notes(input: &EnrollInput, observed: &Observed) -> Vec<String> {
    let mut notes = Vec::new();
    if !observed.has_certificate {
        notes.push(
            "the server has no certificate of its own (`ssl_cert_file`): give it one that names the host which the \
             gateway dials, then enrol again"
                .to_owned(),
        );
    }
    let from_elsewhere = input.gateway_addresses.iter().any(|address| !address.is_loopback());
    if from_elsewhere && observed.listens_on_loopback_only() {
        notes.push(
            "`listen_addresses` lets only this host connect; set it to the address that the gateway dials and restart \
             the server"
                .to_owned(),
        );
    }
    if input.observed.is_none() {
        notes.push(
            "this is what a fresh server needs; run it on the server's host with `--data-directory` and \
             `--socket-directory` to see only what is left to do there"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests;
