//! What a MariaDB server says now, as [`crate::enroll::observe`] read it.

use std::collections::{BTreeMap, BTreeSet};

use model::kind::server::{DatabaseServer, Databases};
use serde::{Deserialize, Serialize};

use super::OPTION_FILE;
use crate::provision::mysql::weakness::Weak;

/// What the server says now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "settings of the server's")]
pub struct Observed {
    /// `datadir`.
    pub data_directory: String,
    /// Path of the option file that is ours alone.
    pub option_file_path: String,
    /// Its text, when it is there.
    #[serde(default)]
    pub option_file: Option<String>,
    /// Whether the server has been started since it was written.
    #[serde(default)]
    pub started_after_option_file: bool,
    /// Text of the client authority file, when it is there.
    #[serde(default)]
    pub client_authorities: Option<String>,
    /// Where client authorities are read from.
    pub ssl_ca: String,
    /// Whether plain text is refused.
    pub require_secure_transport: bool,
    /// Whether accounts are told apart by addresses only.
    pub skip_name_resolve: bool,
    /// Where it listens.
    pub bind_address: String,
    /// Databases that are not the server's own.
    #[serde(default)]
    pub databases: BTreeSet<String>,
    /// All roles.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// The accounts of the provisioner's name.
    #[serde(default)]
    pub provisioners: Vec<Provisioner>,
    /// What may weaken the whole.
    pub weak: Weak,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Whether it holds nothing on the server as a whole.
    pub plain: bool,
}

/// An account of the provisioner's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioner {
    /// From where.
    pub host: String,
    /// ACCOUNT LOCK.
    pub locked: bool,
    /// Whether something other than a certificate is asked for, or may stand in its place.
    pub other_way_in: bool,
    /// The clause that asks for a certificate: `REQUIRE …`.
    pub require: String,
    /// Privileges on the server as a whole.
    #[serde(default)]
    pub global: Held,
    /// Privileges by database, as GRANT keeps the name.
    #[serde(default)]
    pub databases: BTreeMap<String, Held>,
    /// Roles that it may hand on.
    #[serde(default)]
    pub hands_on: BTreeSet<String>,
}

/// Privileges that somebody holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// In the server's words.
    pub privileges: BTreeSet<String>,
    /// WITH GRANT OPTION.
    pub grantable: bool,
}

impl Observed {
    /// What a server looks like on which nobody has enrolled anything.
    pub(in crate::enroll) fn fresh(server: &DatabaseServer) -> Self {
        let databases = match &server.databases {
            Databases::Only(reachable) => reachable.clone(),
            Databases::Any => BTreeSet::new(),
        };
        Self {
            data_directory: "/var/lib/mysql".to_owned(),
            option_file_path: format!("/etc/mysql/mariadb.conf.d/{OPTION_FILE}"),
            bind_address: "*".to_owned(),
            databases,
            weak: Weak::none(),
            ..Self::default()
        }
    }

    pub(super) fn listens_on_loopback_only(&self) -> bool {
        let loopback = ["localhost", "127.0.0.1", "::1"];
        self.bind_address.split(',').all(|address| loopback.contains(&address.trim()))
    }

    /// The provisioner's account from an address.
    pub(crate) fn provisioner(&self, host: &str) -> Option<&Provisioner> {
        self.provisioners.iter().find(|known| known.host == host)
    }
}
