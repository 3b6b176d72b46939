//! What must happen to a database user: pure, from what is wanted and what is recorded.

use std::collections::BTreeSet;

use access::membership;
use model::kind::database_role::{DatabaseRole, Privileges};
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::{DatabaseRoleName, Document, ServerName, Snapshot, Timestamp};

/// What must happen to one database user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UserStep {
    /// It is as it should be, or the next login will see to it.
    Nothing,
    /// The principal holds no role any more, or an ending has begun and is not verified.
    Withdraw,
    /// Roles were gained or lost while others stay.
    Change(Change),
}

/// Roles gained and lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// All that are held now.
    pub(crate) roles: BTreeSet<DatabaseRoleName>,
    /// Those that came.
    pub(crate) gained: BTreeSet<DatabaseRoleName>,
    /// Those that went: sessions that began before keep them by `SET ROLE`, so they end.
    pub(crate) lost: BTreeSet<DatabaseRoleName>,
}

/// The roles that the principal of a database user holds now.
pub(crate) fn roles_now(
    user: &Document<DatabaseUser>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> BTreeSet<DatabaseRoleName> {
    let held = membership::active_roles(user.spec.principal, &user.spec.server, snapshot, now);
    held.into_iter().map(|held| held.role).collect()
}

/// What must happen to one database user now.
pub(crate) fn user_step(
    user: &Document<DatabaseUser>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> UserStep {
    let roles = roles_now(user, snapshot, now);
    match user.status.state {
        // An ending that has begun is finished first, also when the principal may come back meanwhile.
        DatabaseUserState::Revoking => UserStep::Withdraw,
        // It comes back at the next login, not before.
        DatabaseUserState::Disabled => UserStep::Nothing,
        DatabaseUserState::Planned | DatabaseUserState::Enabled if roles.is_empty() => {
            UserStep::Withdraw
        }
        DatabaseUserState::Planned => UserStep::Nothing,
        DatabaseUserState::Enabled => {
            let change = change(&user.status.roles, roles);
            if change.gained.is_empty() && change.lost.is_empty() {
                UserStep::Nothing
            } else {
                UserStep::Change(change)
            }
        }
    }
}

/// From the roles that are recorded to those that are held.
pub(crate) fn change(
    recorded: &BTreeSet<DatabaseRoleName>,
    roles: BTreeSet<DatabaseRoleName>,
) -> Change {
    let gained = roles.difference(recorded).cloned().collect();
    let lost = recorded.difference(&roles).cloned().collect();
    Change { roles, gained, lost }
}

/// Attributes of a login user. They are not inherited, so they are set on it and taken off it with the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// SUPERUSER.
    pub(crate) superuser: bool,
    /// REPLICATION.
    pub(crate) replication: bool,
}

/// The attributes that roles bring. On a server that is no test stack: none, whatever the documents say.
pub(crate) fn attributes(
    roles: &BTreeSet<DatabaseRoleName>,
    server: &ServerName,
    snapshot: &Snapshot,
) -> Attributes {
    let test_stack = snapshot.servers.get(server).is_some_and(|server| server.spec.test_stack);
    if !test_stack {
        return Attributes::default();
    }
    let documents = || roles.iter().filter_map(|role| snapshot.database_roles.get(role));
    Attributes {
        superuser: documents().any(|role| role.spec.privileges == Privileges::Superuser),
        replication: documents().any(|role| role.spec.replication),
    }
}

/// The database roles of one server.
pub(crate) fn roles_of<'a>(
    server: &'a ServerName,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = &'a Document<DatabaseRole>> {
    snapshot
        .database_roles
        .iter()
        .map(AsRef::as_ref)
        .filter(move |role| role.spec.server == *server)
}

/// The database users of one server.
pub(crate) fn users_of<'a>(
    server: &'a ServerName,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = &'a Document<DatabaseUser>> {
    snapshot
        .database_users
        .iter()
        .map(AsRef::as_ref)
        .filter(move |user| user.spec.server == *server)
}

#[cfg(test)]
mod tests;
