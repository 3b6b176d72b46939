//! Everything a login needs, immutable: what decisions read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::kind::{
    access_rules::AccessRules, activation::Activation, application::Application,
    conditional_access_policy::ConditionalAccessPolicy, database_role::DatabaseRole,
    database_user::DatabaseUser, eligibility::Eligibility, firewall::FirewallRule, group::Group,
    host::Host, managed_identity::ManagedIdentity, named_location::NamedLocation,
    principal_risk::PrincipalRisk, revocation::Revocation, role_assignment::RoleAssignment,
    server::DatabaseServer, signing_key::SigningKey, tenant::Tenant, user::User,
};
use crate::{Document, Kind, PrincipalId, Resource, Revision, Spec, Timestamp};

/// Documents of one kind, by name and by object id. Cheap to copy: copies share what neither has changed.
#[derive(Clone, Debug)]
pub struct Table<S: Spec> {
    rows: Arc<Rows<S>>,
}

#[derive(Clone, Debug)]
struct Rows<S: Spec> {
    by_name: BTreeMap<Arc<str>, Arc<Document<S>>>,
    by_uid: HashMap<Uuid, Arc<Document<S>>>,
}

impl<S: Spec> Default for Table<S> {
    fn default() -> Self {
        Self { rows: Arc::new(Rows { by_name: BTreeMap::new(), by_uid: HashMap::new() }) }
    }
}

impl<S: Spec> PartialEq for Table<S> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rows, &other.rows)
            || (self.rows.by_name == other.rows.by_name && self.rows.by_uid == other.rows.by_uid)
    }
}

impl<S: Spec> Table<S> {
    /// By `metadata.name`.
    pub fn get(&self, name: impl AsRef<str>) -> Option<&Arc<Document<S>>> {
        self.rows.by_name.get(name.as_ref())
    }

    /// By `metadata.uid`.
    pub fn by_uid(&self, uid: Uuid) -> Option<&Arc<Document<S>>> {
        self.rows.by_uid.get(&uid)
    }

    /// All, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Document<S>>> {
        self.rows.by_name.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rows.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.by_name.is_empty()
    }

    fn insert(&mut self, document: Document<S>) {
        let document = Arc::new(document);
        let rows = Arc::make_mut(&mut self.rows);
        let before = rows.by_name.insert(document.name().into(), Arc::clone(&document));
        if let Some(before) = before {
            rows.by_uid.remove(&before.uid());
        }
        rows.by_uid.insert(document.uid(), document);
    }

    fn remove(&mut self, name: &str) {
        let rows = Arc::make_mut(&mut self.rows);
        if let Some(before) = rows.by_name.remove(name) {
            rows.by_uid.remove(&before.uid());
        }
    }
}

/// The state of the directory at one revision. Cheap to share and to copy; a published one never changes.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Workloads without a credential.
    pub managed_identities: Table<ManagedIdentity>,
    /// Machines with an agent.
    pub hosts: Table<Host>,
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
    /// Places by name.
    pub named_locations: Table<NamedLocation>,
    /// Conditional access.
    pub conditional_access_policies: Table<ConditionalAccessPolicy>,
    /// What is feared of whom.
    pub principal_risks: Table<PrincipalRisk>,
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

    /// Adds a document, or puts it in the place of the one with its kind and name. Only that kind's table is copied.
    pub fn insert(&mut self, resource: Resource) {
        match resource {
            Resource::Tenant(document) => self.tenants.insert(document),
            Resource::User(document) => self.users.insert(document),
            Resource::Group(document) => self.groups.insert(document),
            Resource::Application(document) => self.applications.insert(document),
            Resource::ManagedIdentity(document) => self.managed_identities.insert(document),
            Resource::Host(document) => self.hosts.insert(document),
            Resource::DatabaseServer(document) => self.servers.insert(document),
            Resource::DatabaseRole(document) => self.database_roles.insert(document),
            Resource::RoleAssignment(document) => self.role_assignments.insert(document),
            Resource::Eligibility(document) => self.eligibilities.insert(document),
            Resource::AccessRules(document) => self.access_rules.insert(document),
            Resource::NamedLocation(document) => self.named_locations.insert(document),
            Resource::ConditionalAccessPolicy(document) => {
                self.conditional_access_policies.insert(document);
            }
            Resource::PrincipalRisk(document) => self.principal_risks.insert(document),
            Resource::FirewallRule(document) => self.firewall_rules.insert(document),
            Resource::Activation(document) => self.activations.insert(document),
            Resource::DatabaseUser(document) => self.database_users.insert(document),
            Resource::SigningKey(document) => self.signing_keys.insert(document),
            Resource::Revocation(document) => self.revocations.insert(document),
        }
    }

    /// Takes a document out, if it is there.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Tenant => self.tenants.remove(name),
            Kind::User => self.users.remove(name),
            Kind::Group => self.groups.remove(name),
            Kind::Application => self.applications.remove(name),
            Kind::ManagedIdentity => self.managed_identities.remove(name),
            Kind::Host => self.hosts.remove(name),
            Kind::DatabaseServer => self.servers.remove(name),
            Kind::DatabaseRole => self.database_roles.remove(name),
            Kind::RoleAssignment => self.role_assignments.remove(name),
            Kind::Eligibility => self.eligibilities.remove(name),
            Kind::AccessRules => self.access_rules.remove(name),
            Kind::NamedLocation => self.named_locations.remove(name),
            Kind::ConditionalAccessPolicy => self.conditional_access_policies.remove(name),
            Kind::PrincipalRisk => self.principal_risks.remove(name),
            Kind::FirewallRule => self.firewall_rules.remove(name),
            Kind::Activation => self.activations.remove(name),
            Kind::DatabaseUser => self.database_users.remove(name),
            Kind::SigningKey => self.signing_keys.remove(name),
            Kind::Revocation => self.revocations.remove(name),
        }
    }

    /// The document of any kind with that name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Resource> {
        fn of<S: Spec>(table: &Table<S>, name: &str) -> Option<Resource>
        where
            Resource: From<Document<S>>,
        {
            table.get(name).map(|document| Document::clone(document).into())
        }
        match kind {
            Kind::Tenant => of(&self.tenants, name),
            Kind::User => of(&self.users, name),
            Kind::Group => of(&self.groups, name),
            Kind::Application => of(&self.applications, name),
            Kind::ManagedIdentity => of(&self.managed_identities, name),
            Kind::Host => of(&self.hosts, name),
            Kind::DatabaseServer => of(&self.servers, name),
            Kind::DatabaseRole => of(&self.database_roles, name),
            Kind::RoleAssignment => of(&self.role_assignments, name),
            Kind::Eligibility => of(&self.eligibilities, name),
            Kind::AccessRules => of(&self.access_rules, name),
            Kind::NamedLocation => of(&self.named_locations, name),
            Kind::ConditionalAccessPolicy => of(&self.conditional_access_policies, name),
            Kind::PrincipalRisk => of(&self.principal_risks, name),
            Kind::FirewallRule => of(&self.firewall_rules, name),
            Kind::Activation => of(&self.activations, name),
            Kind::DatabaseUser => of(&self.database_users, name),
            Kind::SigningKey => of(&self.signing_keys, name),
            Kind::Revocation => of(&self.revocations, name),
        }
    }

    /// All documents of a kind, in the order of names.
    pub fn list(&self, kind: Kind) -> Vec<Resource> {
        fn of<S: Spec>(table: &Table<S>) -> Vec<Resource>
        where
            Resource: From<Document<S>>,
        {
            table.iter().map(|document| Document::clone(document).into()).collect()
        }
        match kind {
            Kind::Tenant => of(&self.tenants),
            Kind::User => of(&self.users),
            Kind::Group => of(&self.groups),
            Kind::Application => of(&self.applications),
            Kind::ManagedIdentity => of(&self.managed_identities),
            Kind::Host => of(&self.hosts),
            Kind::DatabaseServer => of(&self.servers),
            Kind::DatabaseRole => of(&self.database_roles),
            Kind::RoleAssignment => of(&self.role_assignments),
            Kind::Eligibility => of(&self.eligibilities),
            Kind::AccessRules => of(&self.access_rules),
            Kind::NamedLocation => of(&self.named_locations),
            Kind::ConditionalAccessPolicy => of(&self.conditional_access_policies),
            Kind::PrincipalRisk => of(&self.principal_risks),
            Kind::FirewallRule => of(&self.firewall_rules),
            Kind::Activation => of(&self.activations),
            Kind::DatabaseUser => of(&self.database_users),
            Kind::SigningKey => of(&self.signing_keys),
            Kind::Revocation => of(&self.revocations),
        }
    }

    /// The installation's directory.
    pub fn tenant(&self) -> Option<&Arc<Document<Tenant>>> {
        self.tenants.iter().next()
    }

    /// The person or workload whose object id this is.
    pub fn principal(&self, id: PrincipalId) -> Option<Principal> {
        if let Some(user) = self.users.by_uid(id.0) {
            return Some(Principal::user(user));
        }
        if let Some(application) = self.applications.by_uid(id.0) {
            return Some(Principal::application(application));
        }
        self.managed_identities.by_uid(id.0).map(|identity| Principal::managed_identity(identity))
    }

    /// The person or workload of that name.
    pub fn principal_named(&self, name: &str) -> Option<Principal> {
        if let Some(user) = self.users.get(name) {
            return Some(Principal::user(user));
        }
        if let Some(application) = self.applications.get(name) {
            return Some(Principal::application(application));
        }
        self.managed_identities.get(name).map(|identity| Principal::managed_identity(identity))
    }
}

/// What kind of principal it is; people and workloads differ in how long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A workload with a credential of its own.
    Application,
    /// A workload without one.
    ManagedIdentity,
}

impl PrincipalKind {
    /// A person: their sessions age, and they are spoken to.
    pub const fn is_person(self) -> bool {
        match self {
            Self::User => true,
            Self::Application | Self::ManagedIdentity => false,
        }
    }
}

/// A user or workload identity, as decisions and the audit log name it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Object id: the identity.
    pub id: PrincipalId,
    /// User principal name or the workload's name: what people read.
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

    /// A workload without a credential.
    pub fn managed_identity(identity: &Document<ManagedIdentity>) -> Self {
        Self {
            id: PrincipalId(identity.uid()),
            name: identity.name().to_owned(),
            kind: PrincipalKind::ManagedIdentity,
            enabled: identity.spec.enabled,
        }
    }
}
