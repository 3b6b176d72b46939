//! What a role sees. Owners and auditors see everything; approvers what they decide on; everyone what is theirs.

use std::collections::BTreeSet;

use access::activation::{approves_for, has_a_say};
use access::membership::{is_eligible, standing_groups};
use model::kind::role_assignment::Assignee;
use model::kind::server::{DatabaseServer, DatabaseServerStatus};
use model::{ControlRole, Document, GroupName, Principal, Resource, Snapshot, Timestamp};

/// Someone who reads, and what concerns them.
#[derive(Debug)]
pub(crate) struct Viewer<'a> {
    principal: &'a Principal,
    role: ControlRole,
    state: &'a Snapshot,
    /// Groups of which they are a standing member, or for which they are or were eligible.
    groups: BTreeSet<GroupName>,
    /// Groups whose rules name them as an approver.
    decides_for: BTreeSet<&'a GroupName>,
    now: Timestamp,
}

impl<'a> Viewer<'a> {
    pub(crate) fn new(
        principal: &'a Principal,
        role: ControlRole,
        (state, now): (&'a Snapshot, Timestamp),
    ) -> Self {
        let name = principal.name.as_str();
        let mut groups = standing_groups(name, state);
        let eligible = state.eligibilities.iter().map(|eligibility| &eligibility.spec);
        let eligible = eligible.filter(|spec| is_eligible(name, spec, state));
        groups.extend(eligible.map(|spec| spec.group.clone()));
        let rules = state.access_rules.iter().map(|rules| &rules.spec);
        let decides_for = rules.filter(|rules| approves_for(rules, name, state, now));
        let decides_for = decides_for.map(|rules| &rules.group).collect();
        Self { principal, role, state, groups, decides_for, now }
    }

    /// The document as the viewer may see it.
    pub(crate) fn sees(&self, resource: Resource) -> Option<Resource> {
        match self.role {
            ControlRole::Owner | ControlRole::Auditor => Some(resource),
            ControlRole::Approver | ControlRole::User => self.own(resource),
        }
    }

    fn own(&self, resource: Resource) -> Option<Resource> {
        let name = self.principal.name.as_str();
        let visible = match &resource {
            Resource::Tenant(_) | Resource::Group(_) | Resource::SigningKey(_) => true,
            Resource::User(user) => user.uid() == self.principal.id.0,
            Resource::Application(application) => application.uid() == self.principal.id.0,
            Resource::ManagedIdentity(identity) => identity.uid() == self.principal.id.0,
            Resource::DatabaseServer(server) => return self.server(server),
            Resource::DatabaseRole(role) => self.reaches(role.spec.server.as_str()),
            Resource::RoleAssignment(assignment) => self.is_theirs(&assignment.spec.principal),
            Resource::Eligibility(eligibility) => {
                is_eligible(name, &eligibility.spec, self.state)
                    || self.decides_for.contains(&eligibility.spec.group)
            }
            Resource::AccessRules(rules) => {
                let group = &rules.spec.group;
                self.groups.contains(group) || self.decides_for.contains(group)
            }
            Resource::Activation(activation) => {
                activation.spec.user.as_str() == name
                    || has_a_say(activation, (name, self.role), self.state, self.now)
            }
            Resource::DatabaseUser(user) => user.spec.principal == self.principal.id,
            Resource::Host(_)
            | Resource::FirewallRule(_)
            | Resource::NamedLocation(_)
            | Resource::ConditionalAccessPolicy(_)
            | Resource::PrincipalRisk(_)
            | Resource::Revocation(_) => false,
        };
        visible.then_some(resource)
    }

    fn is_theirs(&self, assignee: &Assignee) -> bool {
        match assignee {
            Assignee::Group(group) => self.groups.contains(group),
            Assignee::Application(application) => {
                let found = self.state.applications.get(application);
                found.is_some_and(|application| application.uid() == self.principal.id.0)
            }
            Assignee::ManagedIdentity(identity) => {
                let found = self.state.managed_identities.get(identity);
                found.is_some_and(|identity| identity.uid() == self.principal.id.0)
            }
        }
    }

    /// Whether some role on the server is, or can become, theirs.
    fn reaches(&self, server: &str) -> bool {
        self.state.role_assignments.iter().any(|assignment| {
            let role = self.state.database_roles.get(&assignment.spec.role);
            role.is_some_and(|role| role.spec.server.as_str() == server)
                && self.is_theirs(&assignment.spec.principal)
        })
    }

    /// What one needs to connect through the gateway; where the gateway dials is not theirs to know.
    fn server(&self, server: &Document<DatabaseServer>) -> Option<Resource> {
        if !self.reaches(server.name()) {
            return None;
        }
        let mut shown = server.clone();
        shown.spec.host = String::new();
        shown.spec.port = 0;
        shown.spec.ca = String::new();
        shown.spec.server_name = None;
        shown.status = DatabaseServerStatus::default();
        Some(shown.into())
    }
}
