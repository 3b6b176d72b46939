//! What a PostgreSQL server says now, as [`crate::enroll::observe`] read it.

use model::kind::server::{DatabaseServer, Databases};
use serde::{Deserialize, Serialize};

/// What the server says now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub struct Observed {
    /// `server_version_num`.
    pub version: u32,
    /// The superuser that the server's own account becomes.
    pub superuser: String,
    /// The database that the provisioner will connect to.
    pub maintenance_database: String,
    /// Path of `pg_hba.conf`.
    pub hba_file: String,
    /// Its text.
    #[serde(default)]
    pub hba: String,
    /// Text of the client authority file, when it is there.
    #[serde(default)]
    pub client_authorities: Option<String>,
    /// Whether `ssl_cert_file` is there.
    #[serde(default)]
    pub has_certificate: bool,
    /// `ssl`, `ssl_ca_file`, `listen_addresses`.
    pub ssl: String,
    /// Where client authorities are read from.
    pub ssl_ca_file: String,
    /// Where it listens.
    pub listen_addresses: String,
    /// Values that `ALTER SYSTEM` gave to the first two, for the way back.
    #[serde(default)]
    pub altered: std::collections::BTreeMap<String, String>,
    /// Path of `ssl_cert_file`.
    #[serde(default)]
    pub ssl_cert_file: String,
    /// Roles that are not the server's own (`pg_…`).
    #[serde(default)]
    pub roles: Vec<ObservedRole>,
    /// Whether the function that names users with a password is there.
    #[serde(default)]
    pub password_probe: bool,
    /// Whether the provisioner may read the rules of `pg_hba.conf`.
    #[serde(default)]
    pub admission_probe: bool,
    /// Databases that can be connected to.
    #[serde(default)]
    pub databases: Vec<ObservedDatabase>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub struct ObservedRole {
    /// Its name.
    pub name: String,
    /// SUPERUSER.
    pub superuser: bool,
    /// CREATEROLE.
    pub creates_roles: bool,
    /// LOGIN.
    pub logs_in: bool,
    /// Of which roles it is a member.
    #[serde(default)]
    pub member_of: Vec<Membership>,
}

/// Membership of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Of which.
    pub role: String,
    /// Whether it can be handed on.
    pub admin: bool,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedDatabase {
    /// Its name.
    pub name: String,
    /// Whether PUBLIC holds CONNECT.
    pub public_connects: bool,
    /// Whether the provisioner holds CONNECT and can hand it on.
    pub provisioner_connects: bool,
    /// Schemas that are not the server's own.
    #[serde(default)]
    pub schemas: Vec<ObservedSchema>,
}

/// A schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub struct ObservedSchema {
    /// Its name.
    pub name: String,
    /// Who owns it; the database's owner where it is `pg_database_owner`.
    pub owner: String,
    /// Whether PUBLIC holds CREATE.
    pub public_creates: bool,
    /// Whether `portcullis_owner` holds USAGE and CREATE here and can hand them on.
    pub owner_role_creates: bool,
    /// Roles that own tables or sequences here, or may create some, other than superusers.
    #[serde(default)]
    pub creators: Vec<String>,
    /// Superusers that own tables or sequences here.
    #[serde(default)]
    pub superuser_owners: Vec<String>,
    /// Whether all that superusers own here is handed to `portcullis_owner`, today's and tomorrow's.
    pub superuser_objects_shared: bool,
}

impl Observed {
    /// What a server looks like on which nobody has enrolled anything.
    pub(crate) fn fresh(server: &DatabaseServer) -> Self {
        let mut names = std::collections::BTreeSet::from([&server.maintenance_database]);
        if let Databases::Only(reachable) = &server.databases {
            names.extend(reachable);
        }
        Self {
            superuser: "postgres".to_owned(),
            maintenance_database: server.maintenance_database.clone(),
            hba_file: "pg_hba.conf".to_owned(),
            has_certificate: true,
            ssl: "off".to_owned(),
            listen_addresses: "*".to_owned(),
            databases: names.into_iter().map(|name| ObservedDatabase::fresh(name)).collect(),
            ..Self::default()
        }
    }

    /// A role by name.
    pub fn role(&self, name: &str) -> Option<&ObservedRole> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Whether the name is a superuser's.
    pub(crate) fn is_superuser(&self, name: &str) -> bool {
        name == self.superuser || self.role(name).is_some_and(|role| role.superuser)
    }

    pub(crate) fn listens_on_loopback_only(&self) -> bool {
        let loopback = ["localhost", "127.0.0.1", "::1", ""];
        self.listen_addresses.split(',').all(|address| loopback.contains(&address.trim()))
    }
}

impl ObservedDatabase {
    fn fresh(name: &str) -> Self {
        let public = ObservedSchema {
            name: "public".to_owned(),
            owner: "postgres".to_owned(),
            public_creates: true,
            superuser_owners: vec!["postgres".to_owned()],
            ..ObservedSchema::default()
        };
        Self {
            name: name.to_owned(),
            public_connects: true,
            provisioner_connects: false,
            schemas: vec![public],
        }
    }
}
