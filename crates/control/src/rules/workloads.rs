//! What workload identities must obey: ids that stay, and that are nobody else's.

use model::federated_credential::{FEDERATED_CREDENTIALS_MAX, FederatedCredential};
use model::kind::application::{Application, SubjectNameIssuer};
use model::kind::managed_identity::{Assignment, ManagedIdentity};
use model::redirect::unfit;
use model::{ApplicationId, Document, Refusal, Resource, Snapshot, Spec, Workload, code};

use super::{invalid, is_certificate, refuse};

/// Microsoft Graph's bounds on a federated credential's texts.
const NAME_CHARACTERS_MAX: usize = 120;
const CLAIM_BYTES_MAX: usize = 600;

pub(super) fn application(
    application: &Document<Application>,
    before: Option<&Resource>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    if application.spec.certificates.iter().any(|pem| !is_certificate(pem)) {
        return Err(invalid(application, "`spec.certificates` takes certificates in PEM"));
    }
    let unfit = application.spec.redirect_uris.iter().find_map(|uri| Some((uri, unfit(uri)?)));
    if let Some((uri, why)) = unfit {
        let why = format!("`spec.redirectUris`: `{uri}` is refused: {why}");
        return Err(invalid(application, &why));
    }
    let workload = &application.spec;
    let proves_itself = !workload.certificates.is_empty()
        || !workload.subject_name_issuers.is_empty()
        || !workload.federated_credentials.is_empty();
    if workload.public_client && proves_itself {
        let why =
            "a public client has no credential, so `spec.certificates` and the like must be empty";
        return Err(invalid(application, why));
    }
    let named = |issuer: &SubjectNameIssuer| !issuer.subject_name.is_empty();
    let issuers = &application.spec.subject_name_issuers;
    if issuers.iter().any(|issuer| !named(issuer) || !is_certificate(&issuer.authority)) {
        let why = "`spec.subjectNameIssuers` takes a name and an authority's certificate in PEM";
        return Err(invalid(application, why));
    }
    federated(application, &application.spec.federated_credentials)?;
    let in_force = match before {
        Some(Resource::Application(before)) => before.status.client_id,
        _ => None,
    };
    client_id(application, application.spec.client_id, in_force, state)
}

pub(super) fn managed_identity(
    identity: &Document<ManagedIdentity>,
    before: Option<&Resource>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    let before = match before {
        Some(Resource::ManagedIdentity(before)) => Some(before),
        _ => None,
    };
    federated(identity, &identity.spec.federated_credentials)?;
    let in_force = before.and_then(|before| before.status.client_id);
    client_id(identity, identity.spec.client_id, in_force, state)?;
    resource_id(identity, before, state)?;
    let fixed = before.is_none_or(|before| before.spec.assignment == identity.spec.assignment);
    if !fixed {
        return Err(refuse(&code::IMMUTABLE, identity, "`spec.assignment` never changes"));
    }
    let Assignment::SystemAssigned { host } = &identity.spec.assignment else { return Ok(()) };
    if model::name::check(host).is_err() {
        let why = format!("`spec.assignment.systemAssigned.host` is not a name: `{host}`");
        return Err(invalid(identity, &why));
    }
    let mut others =
        state.managed_identities.iter().filter(|other| other.name() != identity.name());
    match others.find(|other| other.spec.assignment == identity.spec.assignment) {
        Some(other) => {
            let why = format!("`{host}` has its system-assigned identity: `{}`", other.name());
            Err(invalid(identity, &why))
        }
        None => Ok(()),
    }
}

/// Each on its own, and no two that the same token would match by the same words.
fn federated<S: Spec>(
    document: &Document<S>,
    credentials: &[FederatedCredential],
) -> Result<(), Refusal> {
    if credentials.len() > FEDERATED_CREDENTIALS_MAX {
        let why = format!(
            "`spec.federatedCredentials` has {} elements; {FEDERATED_CREDENTIALS_MAX} are allowed",
            credentials.len()
        );
        return Err(invalid(document, &why));
    }
    for (number, credential) in credentials.iter().enumerate() {
        let at = |why: &str| {
            let name: String = credential.name.chars().take(NAME_CHARACTERS_MAX).collect();
            invalid(document, &format!("`spec.federatedCredentials`, `{name}`: {why}"))
        };
        sound(credential).map_err(|why| at(&why))?;
        let others = credentials.iter().take(number);
        for other in others {
            if other.name == credential.name {
                return Err(at("the name is there twice"));
            }
            let who = |of: &FederatedCredential| {
                (of.issuer.clone(), of.subject.clone(), of.claims_matching_expression.clone())
            };
            if who(other) == who(credential) {
                return Err(at(&format!("`{}` has the same issuer and subject", other.name)));
            }
        }
    }
    Ok(())
}

fn sound(credential: &FederatedCredential) -> Result<(), String> {
    let FederatedCredential { name, issuer, subject, claims_matching_expression, .. } = credential;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(plain) {
        return Err(format!("a name has 1 to {NAME_CHARACTERS_MAX} letters, digits and `- _ . ~`"));
    }
    if !is_issuer(issuer) {
        return Err(format!(
            "`{issuer}` is not an issuer: `https://`, a host, a path, nothing behind it"
        ));
    }
    let texts = [Some(issuer), subject.as_ref(), Some(&credential.audience)];
    if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > CLAIM_BYTES_MAX) {
        return Err(format!("issuer, subject and audience have 1 to {CLAIM_BYTES_MAX} bytes"));
    }
    match (subject, claims_matching_expression) {
        (Some(_), None) => Ok(()),
        (None, Some(expression)) => match access::token::Expression::parse(expression) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("`claimsMatchingExpression`: {error}")),
        },
        (Some(_), Some(_)) | (None, None) => {
            Err("it has either `subject` or `claimsMatchingExpression`".to_owned())
        }
    }
}

fn is_issuer(issuer: &str) -> bool {
    issuer.strip_prefix("https://").is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        !authority.is_empty()
            && !authority.contains('@')
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte))
    })
}

/// Immutable, and no other workload's.
fn client_id<S: Spec>(
    document: &Document<S>,
    wanted: Option<ApplicationId>,
    in_force: Option<ApplicationId>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    let Some(wanted) = wanted else { return Ok(()) };
    if let Some(in_force) = in_force.filter(|in_force| *in_force != wanted) {
        let why = format!("`spec.clientId` is {in_force} for ever");
        return Err(refuse(&code::IMMUTABLE, document, &why));
    }
    let other = |workload: &Workload| workload.principal().name != document.name();
    let mut others = state.workloads().filter(other);
    match others.find(|workload| workload.client_id() == Some(wanted)) {
        Some(taken) => {
            let why = format!("`spec.clientId` is that of `{}` already", taken.principal().name);
            Err(invalid(document, &why))
        }
        None => Ok(()),
    }
}

/// Immutable, and no other identity's; clients write it in any case.
fn resource_id(
    identity: &Document<ManagedIdentity>,
    before: Option<&Document<ManagedIdentity>>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    let Some(wanted) = &identity.spec.resource_id else { return Ok(()) };
    let plain = wanted.starts_with('/') && wanted.bytes().all(|b| b.is_ascii_graphic());
    if !plain {
        return Err(invalid(identity, "`spec.resourceId` begins with `/` and has no spaces"));
    }
    let in_force = before.and_then(|before| before.status.resource_id.as_deref());
    if let Some(in_force) = in_force.filter(|in_force| in_force != wanted) {
        let why = format!("`spec.resourceId` is `{in_force}` for ever");
        return Err(refuse(&code::IMMUTABLE, identity, &why));
    }
    let mut others =
        state.workloads().filter(|workload| workload.principal().name != identity.name());
    let taken = others.find(|workload| {
        workload.resource_id().is_some_and(|taken| taken.eq_ignore_ascii_case(wanted))
    });
    match taken {
        Some(taken) => {
            let why = format!("`spec.resourceId` is that of `{}` already", taken.principal().name);
            Err(invalid(identity, &why))
        }
        None => Ok(()),
    }
}
