//! Everything a login needs, immutable: what decisions read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::kind::{
    access_rules::AccessRules, activation::Activation, application::Application,
    database_role::DatabaseRole, database_user::DatabaseUser, eligibility::Eligibility,
    firewall::FirewallRule, group::Group, revocation::Revocation, role_assignment::RoleAssignment,
    server::DatabaseServer, signing_key::SigningKey, tenant::Tenant, user::User,
};
use crate::{Document, PrincipalId, Resource, Revision, Spec, Timestamp};

/// Documents of one kind, by name and by object id.
#[derive(Clone, Debug)]
pub struct Table<S: Spec> {
    by_name: BTreeMap<String, Arc<Document<S>>>,
    by_uid: HashMap<Uuid, Arc<Document<S>>>,
}

impl<S: Spec> Default for Table<S> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_uid: HashMap::new() }
    }
}

impl<S: Spec> Table<S> {
    /// By `metadata.name`.
    pub fn get(&self, name: impl AsRef<str>) -> Option<&Arc<Document<S>>> {
        self.by_name.get(name.as_ref())
    }

    /// By `metadata.uid`.
    pub fn by_uid(&self, uid: Uuid) -> Option<&Arc<Document<S>>> {
        self.by_uid.get(&uid)
    }

    /// All, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Document<S>>> {
        self.by_name.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn insert(&mut self, document: Document<S>) {
        let document = Arc::new(document);
        self.by_uid.insert(document.uid(), Arc::clone(&document));
        self.by_name.insert(document.metadata.name.clone(), document);
    }
}

/// The state of the directory at one revision. Cheap to share, never changed.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The store's revision that it shows.
    pub revision: Revision,
    /// When that revision was committed: the moment from which a cut is measured.
    pub committed_at: Timestamp,
    /// The installation's directory; exactly one after `init`.
    pub tenants: Table<Tenant>,
    /// People.
    pub users: Table<User>,
    /// Sets of people.
    pub groups: Table<Group>,
    /// Workloads.
    pub applications: Table<Application>,
    /// Protected servers.
    pub servers: Table<DatabaseServer>,
    /// Roles on them.
    pub database_roles: Table<DatabaseRole>,
    /// Who holds which.
    pub role_assignments: Table<RoleAssignment>,
    /// Who may ask.
    pub eligibilities: Table<Eligibility>,
    /// What asking needs.
    pub access_rules: Table<AccessRules>,
    /// Address ranges.
    pub firewall_rules: Table<FirewallRule>,
    /// Time-bound memberships.
    pub activations: Table<Activation>,
    /// Login users that the gateway made.
    pub database_users: Table<DatabaseUser>,
    /// Public halves of the keys that sign tokens.
    pub signing_keys: Table<SigningKey>,
    /// Tokens that no longer count.
    pub revocations: Table<Revocation>,
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::EPOCH
    }
}

impl Snapshot {
    /// The snapshot that shows these documents.
    pub fn of(
        revision: Revision,
        committed_at: Timestamp,
        resources: impl IntoIterator<Item = Resource>,
    ) -> Self {
        let mut snapshot = Self { revision, committed_at, ..Self::default() };
        for resource in resources {
            snapshot.insert(resource);
        }
        snapshot
    }

    fn insert(&mut self, resource: Resource) {
        match resource {
            Resource::Tenant(document) => self.tenants.insert(document),
            Resource::User(document) => self.users.insert(document),
            Resource::Group(document) => self.groups.insert(document),
            Resource::Application(document) => self.applications.insert(document),
            Resource::DatabaseServer(document) => self.servers.insert(document),
            Resource::DatabaseRole(document) => self.database_roles.insert(document),
            Resource::RoleAssignment(document) => self.role_assignments.insert(document),
            Resource::Eligibility(document) => self.eligibilities.insert(document),
            Resource::AccessRules(document) => self.access_rules.insert(document),
            Resource::FirewallRule(document) => self.firewall_rules.insert(document),
            Resource::Activation(document) => self.activations.insert(document),
            Resource::DatabaseUser(document) => self.database_users.insert(document),
            Resource::SigningKey(document) => self.signing_keys.insert(document),
            Resource::Revocation(document) => self.revocations.insert(document),
        }
    }

    /// The installation's directory.
    pub fn tenant(&self) -> Option<&Arc<Document<Tenant>>> {
        self.tenants.iter().next()
    }

    /// The user or application whose object id this is.
    pub fn principal(&self, id: PrincipalId) -> Option<Principal> {
        if let Some(user) = self.users.by_uid(id.0) {
            return Some(Principal::user(user));
        }
        self.applications.by_uid(id.0).map(|application| Principal::application(application))
    }
}

/// What kind of principal it is; people and workloads differ in how long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A workload.
    Application,
}

/// A user or workload identity, as decisions and the audit log name it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Object id: the identity.
    pub id: PrincipalId,
    /// User principal name or application name: what people read.
    pub name: String,
    /// A person or a workload.
    pub kind: PrincipalKind,
    /// Whether it may sign in at all.
    pub enabled: bool,
}

impl Principal {
    /// A person.
    pub fn user(user: &Document<User>) -> Self {
        Self {
            id: PrincipalId(user.uid()),
            name: user.name().to_owned(),
            kind: PrincipalKind::User,
            enabled: user.spec.enabled,
        }
    }

    /// A workload.
    pub fn application(application: &Document<Application>) -> Self {
        Self {
            id: PrincipalId(application.uid()),
            name: application.name().to_owned(),
            kind: PrincipalKind::Application,
            enabled: application.spec.enabled,
        }
    }
}
