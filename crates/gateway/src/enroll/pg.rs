//! A PostgreSQL server: TLS and the client authority by `ALTER SYSTEM`, who comes in by `pg_hba.conf`.

mod hba;
pub(super) mod host;

use model::Refusal;
use model::kind::database_role::Privileges;

use super::{Change, EnrollInput, Plan, Step, Whose, client_authority, notes, too_powerful};
use crate::enroll::CLIENT_AUTHORITY_FILE;
use crate::provision::pg::enrolment;

pub use crate::enrolment::pg::{
    Membership, Observed, ObservedDatabase, ObservedRole, ObservedSchema,
};

/// What is left to do.
pub(super) fn plan(input: &EnrollInput, observed: &Observed) -> Result<Plan, Refusal> {
    check(input, observed)?;
    let mut steps = Vec::new();
    steps.extend(client_authority(input, observed.client_authorities.as_deref()));
    steps.extend(enrolment::settings(observed, CLIENT_AUTHORITY_FILE));
    steps.extend(enrolment::roles(input, observed));
    for database in &observed.databases {
        steps.extend(enrolment::database(input, observed, database));
    }
    steps.extend(admission(input, observed, hba::LocalDoor::Open));
    let mut told = Vec::new();
    if !observed.has_certificate {
        told.push(
            "the server has no certificate of its own (`ssl_cert_file`): give it one that names the host which the \
             gateway dials, then enrol again"
                .to_owned(),
        );
    }
    let listens_here = observed.listens_on_loopback_only().then_some("listen_addresses");
    told.extend(notes(input, listens_here, "`--data-directory` and `--socket-directory`"));
    Ok(Plan {
        server: input.server.name().to_owned(),
        steps,
        obstacles: Vec::new(),
        restart: Vec::new(),
        findings: Vec::new(),
        notes: told,
    })
}

fn check(input: &EnrollInput, observed: &Observed) -> Result<(), Refusal> {
    for role in &input.roles {
        if let Privileges::ExistingRole(name) = &role.spec.privileges
            && observed.is_superuser(name)
        {
            return Err(too_powerful(role, name, "is a superuser"));
        }
    }
    Ok(())
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
        change: Change::File {
            path: observed.hba_file.clone(),
            content,
            whose: Whose::Servers,
        },
    })
}

/// The step that closes the unix socket to the server's own account too.
pub(super) fn offer(input: &EnrollInput, observed: &Observed) -> Option<Step> {
    let mut step = admission(input, observed, hba::LocalDoor::Closed)?;
    "close the unix socket to the server's own account".clone_into(&mut step.title);
    "it was needed for the enrolment only; who can become that account can open it again"
        .clone_into(&mut step.reason);
    Some(step)
}

#[cfg(test)]
mod tests;
