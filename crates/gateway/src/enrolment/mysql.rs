//! What a MariaDB or MySQL server says now, as [`crate::enroll::observe`] read it.

use std::collections::{BTreeMap, BTreeSet};

use model::Document;
use model::kind::server::{DatabaseServer, Databases, Product};
use serde::{Deserialize, Serialize};

/// The option file's name in the folder that the server's own include. Later files win, and they are read by name.
pub(crate) const OPTION_FILE: &str = "zz-portcullis.cnf";

/// What the server says now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "settings of the server's")]
pub struct Observed {
    /// Which server it is; absent: MariaDB, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    /// Whether names of databases are no patterns in a GRANT.
    #[serde(default)]
    pub partial_revokes: bool,
    /// Whether it has not read the client authorities since they were written: it reads them at its start only.
    #[serde(default)]
    pub client_authorities_unread: bool,
    /// Whether it does not start when its own certificate is signed by none of its client authorities.
    #[serde(default)]
    pub tls_certificates_enforced_validation: bool,
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
    pub(crate) fn fresh(server: &Document<DatabaseServer>) -> Self {
        let product = server.status.product;
        let databases = match &server.spec.databases {
            Databases::Only(reachable) => reachable.clone(),
            Databases::Any => BTreeSet::new(),
        };
        let folder =
            if product == Some(Product::MySql) { "mysql.conf.d" } else { "mariadb.conf.d" };
        Self {
            product,
            data_directory: "/var/lib/mysql".to_owned(),
            option_file_path: format!("/etc/mysql/{folder}/{OPTION_FILE}"),
            bind_address: "*".to_owned(),
            databases,
            weak: Weak::none(),
            ..Self::default()
        }
    }

    pub(crate) fn listens_on_loopback_only(&self) -> bool {
        let loopback = ["localhost", "127.0.0.1", "::1"];
        self.bind_address.split(',').all(|address| loopback.contains(&address.trim()))
    }

    /// The provisioner's account from an address.
    pub(crate) fn provisioner(&self, host: &str) -> Option<&Provisioner> {
        self.provisioners.iter().find(|known| known.host == host)
    }
}

/// What may weaken a server, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Weak {
    /// As the server writes it.
    pub version: String,
    /// Whether it speaks TLS.
    pub has_certificate: bool,
    /// Whether it may ask clients for their files.
    pub local_infile: bool,
    /// The folder out of which nobody reads and writes files; empty: any.
    pub secure_file_priv: String,
    /// A folder of further client authorities.
    pub ssl_capath: String,
    /// Everyone who can log in.
    pub accounts: Vec<Account>,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub struct Account {
    /// Who.
    pub user: String,
    /// From where.
    pub host: String,
    /// ACCOUNT LOCK.
    pub locked: bool,
    /// Whether a password opens it.
    pub password: bool,
    /// Whether it takes being a certain account of this host.
    pub socket: bool,
    /// Whether it takes a certificate.
    pub certificate: bool,
}

impl Weak {
    /// A server of which nothing is known.
    pub(crate) fn none() -> Self {
        Self {
            version: "MariaDB".to_owned(),
            has_certificate: true,
            secure_file_priv: "unknown".to_owned(),
            ..Self::default()
        }
    }
}
