//! What a table shows of each kind.

use model::kind::activation::ActivationState;
use model::kind::conditional_access_policy::{
    ConditionalAccessPolicy, GrantControls, PolicyState, Servers,
};
use model::kind::database_role::Privileges;
use model::kind::database_user::DatabaseUserState;
use model::kind::managed_identity::{Assignment, ManagedIdentity};
use model::kind::revocation::RevokedTokens;
use model::kind::role_assignment::Assignee;
use model::kind::server::{Databases, PublicNetworkAccess};
use model::{Document, Kind, Resource, Timestamp};

/// The heading of a kind's table.
pub(crate) fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Tenant => &["NAME", "DISPLAY NAME", "DOMAINS", "ID"],
        Kind::User => &["NAME", "DISPLAY NAME", "ENABLED", "CONTROL ROLE"],
        Kind::Group => &["NAME", "MEMBERS", "DESCRIPTION"],
        Kind::Application => &["NAME", "DISPLAY NAME", "ENABLED", "CLIENT ID"],
        Kind::ManagedIdentity => &["NAME", "DISPLAY NAME", "ENABLED", "CLIENT ID", "HOST"],
        Kind::Host => &["NAME", "DISPLAY NAME", "ENABLED", "IDENTITIES", "CERTIFICATE UNTIL"],
        Kind::DatabaseServer => &["NAME", "ADDRESS", "DATABASES", "PUBLIC ACCESS", "FINDINGS"],
        Kind::DatabaseRole => &["NAME", "SERVER", "PRIVILEGES", "DATABASES"],
        Kind::RoleAssignment => &["NAME", "PRINCIPAL", "ROLE"],
        Kind::Eligibility => &["NAME", "USER", "GROUP", "FROM", "UNTIL"],
        Kind::AccessRules => &["NAME", "GROUP", "LONGEST", "JUSTIFICATION", "APPROVERS"],
        Kind::FirewallRule => &["NAME", "SERVER", "FROM", "TO"],
        Kind::NamedLocation => &["NAME", "RANGES", "DESCRIPTION"],
        Kind::ConditionalAccessPolicy => &["NAME", "STATE", "SERVERS", "DEMANDS", "DESCRIPTION"],
        Kind::PrincipalRisk => &["NAME", "PRINCIPAL", "LEVEL", "UNTIL", "REASON"],
        Kind::Activation => {
            &["ID", "USER", "GROUP", "STATE", "FOR", "UNTIL", "DECIDED BY", "BECAUSE"]
        }
        Kind::DatabaseUser => &["NAME", "SERVER", "USER", "STATE", "ROLES", "LEFT BEHIND"],
        Kind::SigningKey => &["KID", "SIGNS FROM", "VERIFIES UNTIL"],
        Kind::Revocation => &["NAME", "TOKENS", "KEPT UNTIL", "REASON"],
    }
}

/// The cells of one document, in the order of the heading.
pub(crate) fn cells(resource: &Resource) -> Vec<String> {
    let name = resource.name().to_owned();
    match resource {
        Resource::Tenant(document) => {
            let spec = &document.spec;
            let domains = spec.domains.join(", ");
            vec![name, spec.display_name.clone(), domains, document.uid().to_string()]
        }
        Resource::User(document) => {
            let spec = &document.spec;
            let role = spec.control_role.to_string();
            vec![name, spec.display_name.clone(), yes_no(spec.enabled), role]
        }
        Resource::Group(document) => {
            let spec = &document.spec;
            vec![name, joined(&spec.members), spec.description.clone().unwrap_or_default()]
        }
        Resource::Application(document) => {
            let spec = &document.spec;
            let client_id = document.status.client_id.or(spec.client_id);
            vec![name, spec.display_name.clone(), yes_no(spec.enabled), optional(client_id)]
        }
        Resource::DatabaseServer(document) => {
            let spec = &document.spec;
            let databases = match &spec.databases {
                Databases::Any => "any".to_owned(),
                Databases::Only(names) => joined(names),
            };
            let access = match spec.public_network_access {
                PublicNetworkAccess::Disabled => "disabled",
                PublicNetworkAccess::Enabled => "enabled",
            };
            // Hidden from those who need not know it.
            let address = match spec.host.as_str() {
                "" => String::new(),
                host => format!("{host}:{}", spec.port),
            };
            vec![name, address, databases, access.to_owned(), count(&document.status.findings)]
        }
        Resource::DatabaseRole(document) => {
            let spec = &document.spec;
            let privileges = privileges(&spec.privileges);
            vec![name, spec.server.to_string(), privileges, joined(&spec.databases)]
        }
        Resource::RoleAssignment(document) => {
            let principal = match &document.spec.principal {
                Assignee::Group(group) => format!("group {group}"),
                Assignee::Application(application) => format!("application {application}"),
                Assignee::ManagedIdentity(identity) => format!("managed identity {identity}"),
            };
            vec![name, principal, document.spec.role.to_string()]
        }
        other => more_cells(name, other),
    }
}

fn more_cells(name: String, resource: &Resource) -> Vec<String> {
    match resource {
        Resource::ManagedIdentity(document) => managed_identity(name, document),
        Resource::Host(document) => {
            let spec = &document.spec;
            let identities = joined(spec.identities.iter().map(|listed| &listed.identity));
            let until = optional(document.status.certificate_ends_at.map(seconds));
            vec![name, spec.display_name.clone(), yes_no(spec.enabled), identities, until]
        }
        Resource::Eligibility(document) => {
            let spec = &document.spec;
            let (from, until) = (optional(spec.starts_at), optional(spec.ends_at));
            let who = match (&spec.user, &spec.members_of) {
                (Some(user), _) => user.to_string(),
                (None, Some(group)) => format!("members of {group}"),
                (None, None) => String::new(),
            };
            vec![name, who, spec.group.to_string(), from, until]
        }
        Resource::AccessRules(document) => {
            let spec = &document.spec;
            let justification = format!("{:?}", spec.justification).to_lowercase();
            let longest = spec.duration_max.to_string();
            let approvers: Vec<String> =
                spec.approval().iter().map(|stage| joined(&stage.approvers)).collect();
            vec![name, spec.group.to_string(), longest, justification, approvers.join(", then ")]
        }
        Resource::NamedLocation(document) => {
            let spec = &document.spec;
            vec![name, joined(&spec.ranges), spec.description.clone().unwrap_or_default()]
        }
        Resource::ConditionalAccessPolicy(document) => conditional_access(name, &document.spec),
        Resource::PrincipalRisk(document) => {
            let spec = &document.spec;
            let level = format!("{:?}", spec.level).to_lowercase();
            let until = optional(spec.ends_at.map(seconds));
            vec![name, spec.principal.to_string(), level, until, spec.reason.clone()]
        }
        Resource::FirewallRule(document) => {
            let spec = &document.spec;
            let (from, to) = (spec.start_ip_address, spec.end_ip_address);
            vec![name, spec.server.to_string(), from.to_string(), to.to_string()]
        }
        Resource::Activation(document) => {
            let (spec, status) = (&document.spec, &document.status);
            vec![
                name,
                spec.user.to_string(),
                spec.group.to_string(),
                state(status.state).to_owned(),
                spec.duration.to_string(),
                optional(status.active_until.map(seconds)),
                optional(status.decided_by.as_ref()),
                spec.justification.clone().unwrap_or_default(),
            ]
        }
        other => cells_of_portcullis(name, other),
    }
}

/// What Portcullis itself writes.
fn cells_of_portcullis(name: String, resource: &Resource) -> Vec<String> {
    match resource {
        Resource::DatabaseUser(document) => {
            let (spec, status) = (&document.spec, &document.status);
            let state = match status.state {
                DatabaseUserState::Planned => "planned",
                DatabaseUserState::Enabled => "enabled",
                DatabaseUserState::Revoking => "revoking",
                DatabaseUserState::Disabled => "disabled",
            };
            let (roles, left) = (joined(&status.roles), count(&status.left_behind));
            vec![name, spec.server.to_string(), spec.user.clone(), state.to_owned(), roles, left]
        }
        Resource::SigningKey(document) => {
            let spec = &document.spec;
            vec![name, seconds(spec.signs_from), seconds(spec.verifies_until)]
        }
        Resource::Revocation(document) => {
            let spec = &document.spec;
            let tokens = match &spec.tokens {
                RevokedTokens::Token(token) => format!("token {token}"),
                RevokedTokens::SignIn(sign_in) => format!("of the sign-in {sign_in}"),
                RevokedTokens::IssuedBefore { principal, before } => {
                    format!("of {principal}, issued before {}", seconds(*before))
                }
                RevokedTokens::EveryIssuedBefore { before } => {
                    format!("every one issued before {}", seconds(*before))
                }
            };
            let reason = spec.reason.clone().unwrap_or_default();
            vec![name, tokens, seconds(spec.keep_until), reason]
        }
        // The other kinds are in `cells`.
        _ => vec![name],
    }
}

fn managed_identity(name: String, document: &Document<ManagedIdentity>) -> Vec<String> {
    let spec = &document.spec;
    let client_id = document.status.client_id.or(spec.client_id);
    let host = match &spec.assignment {
        Assignment::UserAssigned => String::new(),
        Assignment::SystemAssigned { host } => host.clone(),
    };
    let (shown, enabled) = (spec.display_name.clone(), yes_no(spec.enabled));
    vec![name, shown, enabled, optional(client_id), host]
}

/// The state as people read it.
pub(crate) fn state(state: ActivationState) -> &'static str {
    match state {
        ActivationState::Requested => "requested",
        ActivationState::Scheduled => "scheduled",
        ActivationState::Denied => "denied",
        ActivationState::Cancelled => "cancelled",
        ActivationState::Active => "active",
        ActivationState::Expired => "expired",
        ActivationState::Revoked => "revoked",
        ActivationState::Deactivated => "deactivated",
    }
}

fn privileges(privileges: &Privileges) -> String {
    match privileges {
        Privileges::Reader => "reader".to_owned(),
        Privileges::Writer => "writer".to_owned(),
        Privileges::Admin => "admin".to_owned(),
        Privileges::ExistingRole(role) => format!("role {role}"),
        Privileges::Superuser => "superuser (test stack)".to_owned(),
    }
}

/// Without fractions of a second: enough for a table.
pub(crate) fn seconds(at: Timestamp) -> String {
    Timestamp::from_seconds(at.seconds()).to_string()
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn count<T>(items: &[T]) -> String {
    if items.is_empty() { String::new() } else { items.len().to_string() }
}

fn conditional_access(name: String, policy: &ConditionalAccessPolicy) -> Vec<String> {
    let state = match policy.state {
        PolicyState::Enabled => "enabled",
        PolicyState::ReportOnly => "report only",
        PolicyState::Disabled => "disabled",
    };
    let servers = match &policy.servers {
        Servers::Any => "any".to_owned(),
        Servers::Only(names) => joined(names),
    };
    let demands = match &policy.grant {
        GrantControls::Block => "block".to_owned(),
        GrantControls::All(controls) => joined(controls),
        GrantControls::Any(controls) => {
            controls.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        }
    };
    let fresh = policy.sign_in_frequency.map(|within| format!("a sign-in within {within}"));
    let demands: Vec<String> =
        [demands].into_iter().filter(|it| !it.is_empty()).chain(fresh).collect();
    let description = policy.description.clone().unwrap_or_default();
    vec![name, state.to_owned(), servers, demands.join("; "), description]
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
