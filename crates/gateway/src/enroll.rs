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

use model::kind::database_role::DatabaseRole;
use model::kind::server::Engine;
use model::{Document, Refusal, code};

pub use crate::enrolment::{Change, EnrollInput, Observed, Plan, Step, Whose};
pub use host::{Host, HostError, Local, close_local_door, engine_of, observe};
pub use journal::{Undone, apply, undo};

/// The file with the authorities whose client certificates the server accepts, in its data directory.
pub const CLIENT_AUTHORITY_FILE: &str = "portcullis-client-ca.pem";

/// What is left to do. Refused when it asks for something that this server must not have.
pub fn plan(input: &EnrollInput) -> Result<Plan, Refusal> {
    check(input)?;
    let spec = &input.server.spec;
    match (spec.engine, &input.observed) {
        (Engine::PostgreSql, None) => pg::plan(input, &pg::Observed::fresh(spec)),
        (Engine::PostgreSql, Some(Observed::PostgreSql(observed))) => pg::plan(input, observed),
        (Engine::MySql, None) => mysql::plan(input, &mysql::Observed::fresh(&input.server)),
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
