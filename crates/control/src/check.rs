//! What must hold between documents, whoever writes them.

use std::collections::{BTreeMap, BTreeSet};

use model::kind::access_rules::{Approver, ApproverRelation};
use model::kind::conditional_access_policy::{
    ConditionalAccessPolicy, Locations, Principals, Servers,
};
use model::kind::managed_identity::Assignment;
use model::kind::role_assignment::Assignee;
use model::{ControlRole, Kind, Refusal, Resource, Snapshot, code, suggest};

/// At most so many referrers are named in a refusal.
const REFERRERS_NAMED_MAX: usize = 5;

/// What no write may break, looked at before every commit.
pub(crate) fn invariants(before: &Snapshot, after: &Snapshot) -> Result<(), Refusal> {
    if owners(before) > 0 && owners(after) == 0 {
        let message = "after this nobody could administer Portcullis: no enabled owner is left";
        return Err(Refusal::new(&code::LAST_OWNER, message));
    }
    if before.tenants.len() == 1 && after.tenants.len() != 1 {
        return Err(Refusal::new(&code::INVALID, "an installation has exactly one tenant"));
    }
    Ok(())
}

fn owners(state: &Snapshot) -> usize {
    let owner = |role: ControlRole| role == ControlRole::Owner;
    state.users.iter().filter(|user| user.spec.enabled && owner(user.spec.control_role)).count()
}

/// A document that another one speaks of.
struct Reference<'a> {
    field: &'static str,
    kind: Kind,
    name: &'a str,
}

impl<'a> Reference<'a> {
    fn to(field: &'static str, kind: Kind, name: &'a str) -> Self {
        Self { field, kind, name }
    }
}

/// Documents that Portcullis itself wrote are history: they hold nobody back from deleting what they speak of.
fn references(resource: &Resource) -> Vec<Reference<'_>> {
    let to = Reference::to;
    match resource {
        Resource::Group(group) => {
            let members = group.spec.members.iter();
            let members = members.map(|user| to("members", Kind::User, user.as_str()));
            let groups = group.spec.groups.iter();
            members.chain(groups.map(|group| to("groups", Kind::Group, group.as_str()))).collect()
        }
        Resource::User(user) => {
            let manager = user.spec.manager.iter();
            manager.map(|manager| to("manager", Kind::User, manager.as_str())).collect()
        }
        Resource::DatabaseRole(role) => {
            vec![to("server", Kind::DatabaseServer, role.spec.server.as_str())]
        }
        Resource::RoleAssignment(assignment) => {
            let principal = match &assignment.spec.principal {
                Assignee::Group(group) => to("principal", Kind::Group, group.as_str()),
                Assignee::Application(application) => {
                    to("principal", Kind::Application, application.as_str())
                }
                Assignee::ManagedIdentity(identity) => {
                    to("principal", Kind::ManagedIdentity, identity.as_str())
                }
            };
            vec![principal, to("role", Kind::DatabaseRole, assignment.spec.role.as_str())]
        }
        Resource::Eligibility(eligibility) => {
            let spec = &eligibility.spec;
            let user = spec.user.iter().map(|user| to("user", Kind::User, user.as_str()));
            let members_of = spec.members_of.iter();
            let members_of = members_of.map(|group| to("membersOf", Kind::Group, group.as_str()));
            let group = to("group", Kind::Group, spec.group.as_str());
            user.chain(members_of).chain(std::iter::once(group)).collect()
        }
        Resource::AccessRules(rules) => {
            let group = to("group", Kind::Group, rules.spec.group.as_str());
            let approvers = rules.spec.every_approver().filter_map(|approver| match approver {
                Approver::User(user) => Some(to("approvers", Kind::User, user.as_str())),
                Approver::Relation(ApproverRelation::Group(group)) => {
                    Some(to("approvers", Kind::Group, group.as_str()))
                }
                Approver::Relation(ApproverRelation::Manager(_)) => None,
            });
            std::iter::once(group).chain(approvers).collect()
        }
        Resource::ConditionalAccessPolicy(policy) => policy_references(&policy.spec),
        Resource::FirewallRule(rule) => {
            vec![to("server", Kind::DatabaseServer, rule.spec.server.as_str())]
        }
        Resource::ManagedIdentity(identity) => match &identity.spec.assignment {
            Assignment::UserAssigned => Vec::new(),
            Assignment::SystemAssigned { host } => vec![to("assignment", Kind::Host, host)],
        },
        Resource::Host(host) => {
            let listed = host.spec.identities.iter().map(|listed| listed.identity.as_str());
            listed.map(|identity| to("identities", Kind::ManagedIdentity, identity)).collect()
        }
        Resource::Tenant(_)
        | Resource::Application(_)
        | Resource::DatabaseServer(_)
        | Resource::Activation(_)
        | Resource::NamedLocation(_)
        | Resource::PrincipalRisk(_)
        | Resource::DatabaseUser(_)
        | Resource::SigningKey(_)
        | Resource::Revocation(_) => Vec::new(),
    }
}

fn policy_references(policy: &ConditionalAccessPolicy) -> Vec<Reference<'_>> {
    let to = Reference::to;
    let mut all = Vec::new();
    for (field, principals) in
        [("include", Some(&policy.include)), ("exclude", policy.exclude.as_ref())]
    {
        let Some(Principals { all: _, users, groups, workloads: _ }) = principals else { continue };
        all.extend(users.iter().map(|user| to(field, Kind::User, user.as_str())));
        all.extend(groups.iter().map(|group| to(field, Kind::Group, group.as_str())));
    }
    if let Servers::Only(names) = &policy.servers {
        all.extend(names.iter().map(|name| to("servers", Kind::DatabaseServer, name.as_str())));
    }
    if let Some(Locations { include, exclude }) = &policy.conditions.locations {
        let places = include.iter().chain(exclude);
        let field = "conditions.locations";
        all.extend(places.map(|place| to(field, Kind::NamedLocation, place.as_str())));
    }
    all
}

/// Everything that the document speaks of exists in this state.
pub(crate) fn resolved(resource: &Resource, state: &Snapshot) -> Result<(), Refusal> {
    for Reference { field, kind, name } in references(resource) {
        if state.get(kind, name).is_some() {
            continue;
        }
        let message = format!(
            "`{}/{}` refers in `spec.{field}` to the {kind} `{name}`, which does not exist",
            resource.kind(),
            resource.name()
        );
        let refusal = Refusal::new(&code::REFERENCE_UNKNOWN, message);
        let known = state.list(kind);
        let near = suggest::nearest(name, known.iter().map(Resource::name));
        return Err(match near {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal,
        });
    }
    Ok(())
}

/// Nothing in this state speaks of any document that has gone.
pub(crate) fn unreferenced(
    gone: &BTreeSet<(Kind, String)>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    let mut referrers: BTreeMap<(Kind, String), Vec<String>> = BTreeMap::new();
    if gone.is_empty() {
        return Ok(());
    }
    for resource in Kind::ALL.iter().flat_map(|kind| state.list(*kind)) {
        for Reference { field: _, kind, name } in references(&resource) {
            let key = (kind, name.to_owned());
            if gone.contains(&key) {
                let referrer = format!("`{}/{}`", resource.kind(), resource.name());
                referrers.entry(key).or_default().push(referrer);
            }
        }
    }
    let Some(((kind, name), mut referrers)) = referrers.pop_first() else { return Ok(()) };
    let more = referrers.len().saturating_sub(REFERRERS_NAMED_MAX);
    referrers.truncate(REFERRERS_NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("`{kind}/{name}` cannot go: {}{more} refer to it", referrers.join(", "));
    Err(Refusal::new(&code::REFERENCED, message))
}
