//! A MariaDB or MySQL server: one option file of ours, the client authority beside the data, and the provisioner's accounts.

pub(super) mod host;
mod option_file;

use model::Refusal;
use model::kind::database_role::Privileges;

use super::{
    CLIENT_AUTHORITY_FILE, Change, EnrollInput, Plan, Step, Whose, client_authority, notes,
    too_powerful,
};
use crate::provision::mysql::catalog::Catalog;
use crate::provision::mysql::enrolment;
use crate::provision::mysql::weakness;

pub(crate) use crate::enrolment::mysql::OPTION_FILE;
pub use crate::enrolment::mysql::{Account, Held, Observed, Provisioner, Role, Weak};

/// What is left to do.
pub(super) fn plan(input: &EnrollInput, observed: &Observed) -> Result<Plan, Refusal> {
    check(input, observed)?;
    let wanted = option_file::Wanted {
        section: observed.catalog().section(),
        client_authority: client_authority_path(observed),
    };
    let mut steps = Vec::new();
    let authority = client_authority(input, observed.client_authorities.as_deref());
    let unread = observed.catalog() != Catalog::MariaDb
        && (authority.is_some() || observed.client_authorities_unread);
    steps.extend(authority);
    let accounts = enrolment::accounts(input, observed);
    steps.extend(accounts.steps);
    steps.extend(options(observed, &wanted)?);
    steps.extend(enrolment::secure_transport(observed));
    let mut obstacles = accounts.obstacles;
    obstacles.extend(without_certificate(observed));
    obstacles.extend(would_not_start(observed));
    Ok(Plan {
        server: input.server.name().to_owned(),
        steps,
        obstacles,
        restart: restart(observed, &wanted, unread),
        findings: weakness::findings(input.server.name(), &observed.weak),
        notes: told(input, observed, &wanted),
    })
}

fn check(input: &EnrollInput, observed: &Observed) -> Result<(), Refusal> {
    for role in &input.roles {
        if let Privileges::ExistingRole(name) = &role.spec.privileges
            && observed.roles.iter().any(|known| known.name == *name && !known.plain)
        {
            return Err(too_powerful(role, name, "holds privileges on the whole server"));
        }
    }
    Ok(())
}

/// Absolute: the server reads its option files from wherever it was started.
fn client_authority_path(observed: &Observed) -> String {
    format!("{}/{CLIENT_AUTHORITY_FILE}", observed.data_directory.trim_end_matches('/'))
}

fn options(observed: &Observed, wanted: &option_file::Wanted) -> Result<Option<Step>, Refusal> {
    let content = option_file::text(wanted)?;
    Ok((observed.option_file.as_deref() != Some(content.as_str())).then(|| Step {
        title: "refuse plain text, trust the client authority, compare addresses only".to_owned(),
        reason: "`require_secure_transport` keeps every token and every row inside TLS, `ssl_ca` names the one authority \
                 whose client certificates count, and with `skip_name_resolve` an account is told from another by the \
                 address that it comes from, not by what a name server says"
            .to_owned(),
        change: Change::File {
            path: observed.option_file_path.clone(),
            content,
            whose: Whose::Ours,
        },
    }))
}

/// Nobody would get in any more: plain text is refused, and TLS is not spoken.
fn without_certificate(observed: &Observed) -> Option<String> {
    (!observed.weak.has_certificate).then(|| {
        "the server has no certificate of its own (`ssl_cert`, `ssl_key`), and would refuse everybody: give it one that \
         names the host which the gateway dials, restart it and enrol again"
            .to_owned()
    })
}

/// MySQL can be told that its own certificate must be signed by an authority whose client certificates it takes.
fn would_not_start(observed: &Observed) -> Option<String> {
    observed.tls_certificates_enforced_validation.then(|| {
        "`tls_certificates_enforced_validation` is on: the server would not start with a client authority that has not \
         signed its own certificate, and whoever signed that must not vouch for people; set it to OFF, restart the server \
         and enrol again"
            .to_owned()
    })
}

/// Read at the start only, and not yet what they must be.
fn restart(observed: &Observed, wanted: &option_file::Wanted, unread: bool) -> Vec<String> {
    let differs = [
        ("ssl_ca", unread || observed.ssl_ca != wanted.client_authority),
        ("skip_name_resolve", !observed.skip_name_resolve),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

fn told(input: &EnrollInput, observed: &Observed, wanted: &option_file::Wanted) -> Vec<String> {
    let mut told = Vec::new();
    let waiting = restart(observed, wanted, false);
    if !waiting.is_empty() && observed.started_after_option_file {
        told.push(format!(
            "the server has been started since {} was written, and does not go by it: its option files do not include \
             that folder, or something that is read later says otherwise (`my_print_defaults {}`)",
            observed.option_file_path,
            wanted.section
        ));
    }
    told.extend(enrolment::former_accounts(input, observed));
    let listens_here = observed.listens_on_loopback_only().then_some("bind_address");
    let flags = "`--data-directory`, `--socket` and `--configuration-directory`";
    told.extend(notes(input, listens_here, flags));
    if input.observed.is_none() && observed.product.is_none() {
        told.push(
            "this is what MariaDB needs; MySQL's own servers are told apart on their host"
                .to_owned(),
        );
    }
    told
}

#[cfg(test)]
mod tests;
