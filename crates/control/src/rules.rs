//! What a document must obey beyond its schema, kind by kind. Sizes first: every text that people send has a bound.

mod conditional_access;
mod hosts;
mod people;
mod provisioned;
mod servers;
mod workloads;

use std::net::IpAddr;

use model::kind::database_role::{DatabaseRole, Privileges};
use model::kind::firewall::FirewallRule;
use model::kind::role_assignment::RoleAssignment;
use model::kind::tenant::Tenant;
use model::{Code, Document, Kind, Refusal, Resource, Snapshot, Spec, code};
use serde_json::Value;

pub(crate) use provisioned::deletable;

/// Texts of people: descriptions, display names.
const TEXT_BYTES_MAX: usize = 1024;
/// A chain of certificates in PEM.
const PEM_BYTES_MAX: usize = 64 * 1024;
/// Elements of one list.
const ELEMENTS_MAX: usize = 10_000;
/// PostgreSQL's `NAMEDATALEN` - 1.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Checks a document against its own rules and the state that it becomes part of.
pub(crate) fn check(
    before: Option<&Resource>,
    after: &Resource,
    state: &Snapshot,
) -> Result<(), Refusal> {
    provisioned::untouched(before, after)?;
    check_own(before, after, state)
}

/// The same for what a directory writes of its own.
pub(crate) fn check_own(
    before: Option<&Resource>,
    after: &Resource,
    state: &Snapshot,
) -> Result<(), Refusal> {
    sizes(after)?;
    match after {
        Resource::Tenant(tenant) => self::tenant(tenant),
        Resource::Application(application) => {
            alone(application, before, state)?;
            workloads::application(application, before, state)
        }
        Resource::ManagedIdentity(identity) => {
            alone(identity, before, state)?;
            workloads::managed_identity(identity, before, state)
        }
        Resource::Host(host) => hosts::check(host, state),
        Resource::DatabaseServer(server) => servers::check(server, before, state),
        Resource::DatabaseRole(role) => database_role(role, before, state),
        Resource::AccessRules(rules) => people::access_rules(rules, state),
        Resource::Eligibility(eligibility) => people::eligibility(eligibility),
        Resource::FirewallRule(rule) => firewall_rule(rule),
        Resource::NamedLocation(location) => conditional_access::location(location),
        Resource::ConditionalAccessPolicy(policy) => conditional_access::policy(policy, state),
        Resource::PrincipalRisk(risk) => conditional_access::risk(risk, state),
        Resource::RoleAssignment(assignment) => role_assignment(assignment, state),
        Resource::User(user) => {
            alone(user, before, state)?;
            people::user(user)
        }
        Resource::Group(group) => people::group(group, state),
        Resource::Activation(_)
        | Resource::DatabaseUser(_)
        | Resource::SigningKey(_)
        | Resource::Revocation(_) => Ok(()),
    }
}

fn refuse<S: Spec>(code: &'static Code, document: &Document<S>, why: &str) -> Refusal {
    Refusal::new(code, format!("`{}/{}`: {why}", S::KIND, document.name()))
}

fn invalid<S: Spec>(document: &Document<S>, why: &str) -> Refusal {
    refuse(&code::INVALID, document, why)
}

/// People and workloads are cut, revoked and explained by name: one name, one of them.
fn alone<S: Spec>(
    document: &Document<S>,
    before: Option<&Resource>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    if before.is_some() {
        return Ok(());
    }
    let mut others = [Kind::User, Kind::Application, Kind::ManagedIdentity].into_iter();
    let twin = others.find(|kind| *kind != S::KIND && state.get(*kind, document.name()).is_some());
    match twin {
        Some(kind) => {
            let why = format!("the name is that of the {kind} `{}`", document.name());
            Err(invalid(document, &why)
                .hint("people and workloads have different names; choose another"))
        }
        None => Ok(()),
    }
}

fn sizes(resource: &Resource) -> Result<(), Refusal> {
    let document = serde_json::to_value(resource).unwrap_or_default();
    let Some(spec) = document.get("spec") else { return Ok(()) };
    match too_large("spec", spec) {
        None => Ok(()),
        Some(what) => {
            let (kind, name) = (resource.kind(), resource.name());
            Err(Refusal::new(&code::TOO_LARGE, format!("`{kind}/{name}`: {what}")))
        }
    }
}

fn too_large(path: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let pem = text.starts_with("-----BEGIN ");
            let bound = if pem { PEM_BYTES_MAX } else { TEXT_BYTES_MAX };
            let bytes = text.len();
            (bytes > bound).then(|| format!("`{path}` has {bytes} bytes; {bound} are allowed"))
        }
        Value::Array(elements) if elements.len() > ELEMENTS_MAX => {
            Some(format!("`{path}` has {} elements; {ELEMENTS_MAX} are allowed", elements.len()))
        }
        Value::Array(elements) => elements.iter().find_map(|element| too_large(path, element)),
        Value::Object(members) => {
            members.iter().find_map(|(name, member)| too_large(&format!("{path}.{name}"), member))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn tenant(tenant: &Document<Tenant>) -> Result<(), Refusal> {
    let plain = |domain: &str| {
        let mut labels = domain.split('.');
        domain.contains('.')
            && labels.all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
    };
    match tenant.spec.domains.iter().find(|domain| !plain(domain)) {
        Some(domain) => Err(invalid(tenant, &format!("`{domain}` is not a domain"))),
        None => Ok(()),
    }
}

fn is_certificate(pem: &str) -> bool {
    let pem = pem.trim();
    pem.starts_with("-----BEGIN CERTIFICATE-----") && pem.ends_with("-----END CERTIFICATE-----")
}

fn database_role(
    role: &Document<DatabaseRole>,
    before: Option<&Resource>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    let server = &role.spec.server;
    let own_name = role.name().strip_prefix(server.as_str()).and_then(|n| n.strip_prefix('.'));
    if own_name.is_none_or(str::is_empty) {
        let why = format!("the name of a role on `{server}` begins with `{server}.`");
        return Err(invalid(role, &why));
    }
    if let Some(Resource::DatabaseRole(before)) = before
        && before.spec.server != *server
    {
        let why = format!("`spec.server` is `{}` for ever", before.spec.server);
        return Err(refuse(&code::IMMUTABLE, role, &why));
    }
    let identifiers = role.spec.databases.iter().chain(&role.spec.schemas);
    let existing = match &role.spec.privileges {
        Privileges::ExistingRole(existing) => Some(existing),
        Privileges::Reader | Privileges::Writer | Privileges::Admin | Privileges::Superuser => None,
    };
    if let Some(bad) = identifiers.chain(existing).find(|name| !is_identifier(name)) {
        let why = format!("`{bad}` has not 1 to {IDENTIFIER_BYTES_MAX} bytes without controls");
        return Err(invalid(role, &why));
    }
    // The name of every role and user that the gateway makes begins so; being a member of them is its to give.
    if existing.is_some_and(|name| name.starts_with("portcullis_")) {
        return Err(invalid(role, "`spec.privileges.existingRole` names one of Portcullis' own"));
    }
    let users = || state.database_users.iter().filter(|user| user.spec.server == *server);
    if existing.is_some_and(|name| users().any(|user| user.spec.user == *name)) {
        return Err(invalid(role, "`spec.privileges.existingRole` names someone's database user"));
    }
    // Attributes are not inherited: they are set on the login user, which takes a superuser to do.
    let test_stack = state.servers.get(server).is_some_and(|server| server.spec.test_stack);
    let attribute = role.spec.privileges == Privileges::Superuser || role.spec.replication;
    if attribute && !test_stack {
        let why = format!("`{server}` was not created with `testStack: true`");
        return Err(refuse(&code::TEST_STACK_ONLY, role, &why));
    }
    Ok(())
}

fn is_identifier(name: &str) -> bool {
    (1..=IDENTIFIER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn firewall_rule(rule: &Document<FirewallRule>) -> Result<(), Refusal> {
    let (first, last) = (rule.spec.start_ip_address, rule.spec.end_ip_address);
    if [first, last].iter().any(is_mapped) {
        let why = "write an IPv4 address as such, not mapped into IPv6";
        return Err(invalid(rule, why));
    }
    if first.is_ipv4() != last.is_ipv4() {
        return Err(invalid(rule, "both ends of the range are of one address family"));
    }
    if first > last {
        let why = "`spec.startIpAddress` comes after `spec.endIpAddress`";
        return Err(invalid(rule, why));
    }
    Ok(())
}

fn is_mapped(address: &IpAddr) -> bool {
    match address {
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
        IpAddr::V4(_) => false,
    }
}

fn role_assignment(assignment: &Document<RoleAssignment>, state: &Snapshot) -> Result<(), Refusal> {
    let mut others = state.role_assignments.iter();
    let twin =
        others.find(|other| other.name() != assignment.name() && other.spec == assignment.spec);
    match twin {
        // Deleting one of the two would look like taking the role away, and would not.
        Some(twin) => Err(invalid(assignment, &format!("`{}` says the same", twin.name()))),
        None => Ok(()),
    }
}
