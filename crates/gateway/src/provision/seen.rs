//! What a server says of itself, and what it must be, in words that hold for every server. How it is asked and told stands in
//! the folder of its engine.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::plan::Attributes;

/// A role as the server has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub(crate) struct ObservedUser {
    pub(crate) oid: u32,
    pub(crate) login: bool,
    pub(crate) superuser: bool,
    pub(crate) replication: bool,
    pub(crate) create_role: bool,
    pub(crate) create_db: bool,
    pub(crate) bypass_rls: bool,
    /// The comment on it.
    pub(crate) mark: Option<String>,
    pub(crate) memberships: Vec<ObservedMembership>,
}

/// Membership of a role, once for each who granted it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct ObservedMembership {
    pub(crate) role: String,
    pub(crate) grantor: String,
}

/// What a login user must be.
#[derive(Clone, Debug)]
pub(crate) struct WantedUser<'a> {
    pub(crate) user: &'a str,
    /// The comment by which it is known to be ours.
    pub(crate) mark: &'a str,
    /// Names of the server's roles; exactly these.
    pub(crate) roles: BTreeSet<String>,
    pub(crate) attributes: Attributes,
    /// Sessions at a time; absent: no bound.
    pub(crate) connections_max: Option<u32>,
}

/// Which backends of a user have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backends {
    /// All of them.
    All,
    /// Those that began before this instant of the server's own clock, as it wrote it.
    Before(String),
}

/// The server as a whole, as far as database roles go.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Roles {
    /// Databases that can be connected to, templates excepted.
    pub(crate) databases: Vec<String>,
    /// Roles that are asked for by name, and those that carry our mark.
    pub(crate) roles: Vec<Role>,
    /// Databases in which a role of ours holds something.
    pub(crate) held_in: Vec<String>,
    /// Roles that must never be handed on: superusers and their like, people's login users, whoever can become one of
    /// them, and roles of ours.
    pub(crate) dangerous: BTreeSet<String>,
}

/// A role.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) mark: Option<String>,
    /// Whether it can log in or holds any attribute.
    pub(crate) plain: bool,
    pub(crate) member_of: Vec<ObservedMembership>,
}

impl Roles {
    /// By name.
    pub(crate) fn by_name(&self) -> BTreeMap<&str, &Role> {
        self.roles.iter().map(|role| (role.name.as_str(), role)).collect()
    }
}

/// How much a role may do with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing of its own: it is a member of an existing role.
    None,
    /// SELECT.
    Read,
    /// SELECT, INSERT, UPDATE, DELETE; sequences.
    Write,
    /// The same, and DDL: where schemas have owners, through these.
    Define,
}

/// What one role must hold in one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// The server's role.
    pub(crate) role: String,
    /// Whether it may connect to the database at all.
    pub(crate) connects: bool,
    pub(crate) level: Level,
    pub(crate) schemas: BTreeSet<String>,
}

/// Longer lists are cut; the objects have moved all the same.
pub(crate) const NAMED_MAX: usize = 50;

/// Where a user has something.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Places {
    /// Databases in which it owns objects or holds privileges. The maintenance database stands for what belongs to the
    /// whole server.
    pub(crate) databases: Vec<String>,
    /// Prepared transactions.
    pub(crate) prepared: Vec<Prepared>,
}

/// A prepared transaction.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Its name.
    pub(crate) gid: String,
    /// Where it was prepared; only there can it be ended.
    pub(crate) database: String,
}

impl std::fmt::Display for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "prepared transaction {} in {}", self.gid, self.database)
    }
}

/// Settings and figures.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its clock: microseconds since 1970.
    pub(crate) now: i64,
    /// Connections that users without special rights can have together.
    pub(crate) connections_max: u32,
    /// How many are taken.
    pub(crate) connections_used: u32,
}
