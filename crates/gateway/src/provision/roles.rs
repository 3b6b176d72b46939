//! Database roles on a server: the roles that stand for them, and what those hold in each database.

use std::collections::{BTreeMap, BTreeSet};

use model::kind::database_role::{DatabaseRole, Privileges};
use model::kind::server::{DatabaseServer, Databases};
use model::{DatabaseRoleName, Document, Revision, Snapshot};

use super::connection::{Connection, Trouble};
use super::engine::{SchemaOwner, Settled};
use super::seen::{Level, Rights, Roles};
use super::server::{Server, lock};
use super::{names, plan};

/// A database role and what it is on the server.
struct Role<'a> {
    name: String,
    document: &'a Document<DatabaseRole>,
}

impl Role<'_> {
    /// Its name on the server, and the mark that it carries.
    fn marked(&self) -> (String, String) {
        (self.name.clone(), names::role_mark(self.document.uid()))
    }
}

/// Which schema owners each `admin` role acts through.
#[derive(Debug, Default)]
struct Owners {
    by_role: BTreeMap<String, BTreeSet<String>>,
    /// A database could not be looked at: nothing is taken away on that ground.
    incomplete: bool,
}

/// What a look at all roles of a server brought.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// What could not be brought about, in words.
    pub(crate) findings: Vec<String>,
    taken_on: BTreeMap<DatabaseRoleName, Revision>,
}

impl Server {
    /// Returns at once when the server has taken on these roles as they are documented; else sees to it.
    pub(crate) async fn ensure_roles(
        &self,
        server: &Document<DatabaseServer>,
        roles: &BTreeSet<DatabaseRoleName>,
    ) -> Result<(), Trouble> {
        let mut taken_on = self.roles.lock().await;
        // Loaded when its turn has come: an older one would bring older documents back.
        let snapshot = self.control.snapshots().load();
        let current = |role: &DatabaseRoleName| {
            let revision =
                snapshot.database_roles.get(role).and_then(|role| role.metadata.revision);
            revision.is_some() && taken_on.get(role).copied() == revision
        };
        if roles.iter().all(current) {
            return Ok(());
        }
        let looked = self.look_at_roles(server, &snapshot).await?;
        *taken_on = looked.taken_on;
        self.end_sessions_of_narrowed(server).await
    }

    /// Brings every role of the server to its document.
    pub(crate) async fn reconcile_roles(
        &self,
        server: &Document<DatabaseServer>,
        snapshot: &Snapshot,
    ) -> Result<Vec<String>, Trouble> {
        let mut taken_on = self.roles.lock().await;
        let looked = self.look_at_roles(server, snapshot).await?;
        *taken_on = looked.taken_on;
        self.end_sessions_of_narrowed(server).await?;
        Ok(looked.findings)
    }

    async fn look_at_roles(
        &self,
        server: &Document<DatabaseServer>,
        snapshot: &Snapshot,
    ) -> Result<Looked, Trouble> {
        let mut looked = Looked::default();
        let connection = self.standing(server).await?;
        let mut roles: Vec<Role<'_>> = plan::roles_of(&self.name, snapshot)
            .filter_map(|document| {
                let name = connection.role_name(&DatabaseRoleName::new(document.name()).ok()?);
                Some(Role { name, document })
            })
            .collect();
        let asked: Vec<(String, String)> = roles.iter().map(Role::marked).collect();
        let mut observed = connection.observe_roles(&asked).await?;
        let created = missing(&mut roles, &observed, &mut looked);
        if !created.is_empty() {
            connection.create_roles(&created).await?;
            observed = connection.observe_roles(&asked).await?;
        }
        let stale = stale(&roles, &observed);
        let owners = self.databases(server, (&roles, &stale, &observed), &mut looked).await;
        self.settle_memberships(&connection, (&roles, &observed), &owners, &mut looked).await;
        for name in &stale {
            if let Err(trouble) = connection.drop_role(name).await {
                looked.findings.push(format!("role `{name}` stays: {trouble}"));
            }
        }
        Ok(looked)
    }

    /// Every database in which a role must, or does, hold something. Returns which schema owners each role acts through.
    async fn databases(
        &self,
        server: &Document<DatabaseServer>,
        (roles, stale, observed): (&[Role<'_>], &[String], &Roles),
        looked: &mut Looked,
    ) -> Owners {
        let mut owners = Owners::default();
        let held: BTreeSet<&String> = observed.held_in.iter().collect();
        for role in roles {
            for missing in role
                .document
                .spec
                .databases
                .iter()
                .filter(|name| !observed.databases.contains(name))
            {
                looked.findings.push(format!(
                    "`{}` names database `{missing}`, which does not exist",
                    role.document.name()
                ));
            }
        }
        for database in &observed.databases {
            let mut wanted: Vec<Rights> =
                roles.iter().map(|role| wanted(role, database, server)).collect();
            wanted.extend(stale.iter().map(|name| nothing(name)));
            if !held.contains(database) && wanted.iter().all(|wanted| !wanted.connects) {
                continue;
            }
            match self.database(server, database, &wanted).await {
                Ok(settled) => {
                    for name in &settled.narrowed {
                        self.narrow(roles.iter().find(|role| role.name == *name));
                    }
                    looked.findings.extend(settled.findings);
                    note_owners(&settled.owners, roles, &wanted, &mut owners);
                }
                Err(trouble) => {
                    owners.incomplete = true;
                    looked
                        .findings
                        .push(format!("database `{database}` was left as it is: {trouble}"));
                }
            }
        }
        owners
    }

    async fn database(
        &self,
        server: &Document<DatabaseServer>,
        database: &str,
        wanted: &[Rights],
    ) -> Result<Settled, Trouble> {
        let connection = self.dialler.connect(server, database).await?;
        connection.settle_rights(database, wanted).await
    }

    /// `admin` acts through the schema owners, an existing role through itself, the others through nothing.
    async fn settle_memberships(
        &self,
        connection: &Connection,
        (roles, observed): (&[Role<'_>], &Roles),
        owners: &Owners,
        looked: &mut Looked,
    ) {
        let known = observed.by_name();
        for role in roles {
            let mut through = match &role.document.spec.privileges {
                Privileges::Admin => owners.by_role.get(&role.name).cloned().unwrap_or_default(),
                Privileges::ExistingRole(name) => BTreeSet::from([name.clone()]),
                Privileges::Reader | Privileges::Writer | Privileges::Superuser => BTreeSet::new(),
            };
            let Some(now) = known.get(role.name.as_str()) else { continue };
            if owners.incomplete && role.document.spec.privileges == Privileges::Admin {
                through.extend(now.member_of.iter().map(|held| held.role.clone()));
            }
            through.retain(|name| {
                let dangerous = observed.dangerous.contains(name);
                if dangerous {
                    looked.findings.push(format!(
                        "`{}` would act through `{name}`, which is one of Portcullis' own, or is, or can become, more than a \
                         role with rights on data; it does not",
                        role.document.name()
                    ));
                }
                !dangerous
            });
            let extra: BTreeSet<String> = now
                .member_of
                .iter()
                .filter(|held| !through.contains(&held.role))
                .map(|held| held.role.clone())
                .collect();
            let stuck = lock(&self.stuck).remove(&role.name).unwrap_or_default();
            // What could not be taken away at the last look is no reason to end sessions at each.
            if !extra.is_subset(&stuck) {
                self.narrow(Some(role));
            }
            if let Err(trouble) = connection.settle_role(now, &through).await {
                looked.findings.push(format!("`{}`: {trouble}", role.document.name()));
                lock(&self.stuck).insert(role.name.clone(), extra);
            }
        }
    }

    /// A session keeps by `SET ROLE`, or by the database that it is in, what its roles gave when it began.
    fn narrow(&self, role: Option<&Role<'_>>) {
        let name = role.and_then(|role| DatabaseRoleName::new(role.document.name()).ok());
        lock(&self.narrowed).extend(name);
    }
}

/// Names and marks of those that are missing. A role of that name that is not ours is left alone, and not used.
fn missing(
    roles: &mut Vec<Role<'_>>,
    observed: &Roles,
    looked: &mut Looked,
) -> Vec<(String, String)> {
    let known = observed.by_name();
    let mut missing = Vec::new();
    roles.retain(|role| {
        let mark = names::role_mark(role.document.uid());
        let revision = role.document.metadata.revision.unwrap_or_default();
        match known.get(role.name.as_str()) {
            None => missing.push(role.marked()),
            Some(known) if known.mark.as_deref() == Some(mark.as_str()) && known.plain => {}
            Some(_) => {
                looked.findings.push(format!(
                    "the server's role `{}` is not the one that Portcullis made for `{}`; it is not used",
                    role.name,
                    role.document.name()
                ));
                return false;
            }
        }
        if let Ok(name) = DatabaseRoleName::new(role.document.name()) {
            looked.taken_on.insert(name, revision);
        }
        true
    });
    missing
}

/// Roles that we made for documents that are gone.
fn stale(roles: &[Role<'_>], observed: &Roles) -> Vec<String> {
    let marks: BTreeSet<String> =
        roles.iter().map(|role| names::role_mark(role.document.uid())).collect();
    let ours = observed.roles.iter().filter(|role| {
        let mark = role.mark.as_deref().unwrap_or_default();
        role.plain && mark.starts_with(names::ROLE_MARK) && !marks.contains(mark)
    });
    ours.map(|role| role.name.clone()).collect()
}

fn wanted(role: &Role<'_>, database: &str, server: &Document<DatabaseServer>) -> Rights {
    let spec = &role.document.spec;
    let reachable = match &server.spec.databases {
        Databases::Any => true,
        Databases::Only(names) => names.contains(database),
    };
    let named = spec.databases.is_empty() || spec.databases.iter().any(|name| name == database);
    let level = match &spec.privileges {
        Privileges::Reader => Level::Read,
        Privileges::Writer => Level::Write,
        Privileges::Admin => Level::Define,
        Privileges::ExistingRole(_) => Level::None,
        // The attribute lies on the login user.
        Privileges::Superuser => return nothing(&role.name),
    };
    if !reachable || !named {
        return nothing(&role.name);
    }
    let schemas = match level {
        Level::None => BTreeSet::new(),
        Level::Read | Level::Write | Level::Define => spec.schemas.iter().cloned().collect(),
    };
    Rights { role: role.name.clone(), connects: true, level, schemas }
}

fn nothing(role: &str) -> Rights {
    Rights { role: role.to_owned(), connects: false, level: Level::None, schemas: BTreeSet::new() }
}

fn note_owners(seen: &[SchemaOwner], roles: &[Role<'_>], wanted: &[Rights], owners: &mut Owners) {
    for (role, wanted) in roles.iter().zip(wanted) {
        if role.document.spec.privileges != Privileges::Admin {
            continue;
        }
        let schemas = seen.iter().filter(|(schema, _)| wanted.schemas.contains(schema));
        owners
            .by_role
            .entry(role.name.clone())
            .or_default()
            .extend(schemas.map(|(_, owner)| owner.clone()));
    }
}
