//! How the gateway shows a server who opens a session.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DatabaseRoleName;

/// How the gateway shows a server who opens a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UpstreamIdentity {
    /// Everyone has a database user of their own, and a client certificate minted for each session. No password exists.
    #[default]
    Certificate,
    /// Legacy, and Azure-managed servers: the gateway cannot make users there, or they take no certificates. Everyone
    /// who holds the same database roles logs in as the same user, whose rights an administrator has set.
    SharedUsers(Vec<SharedUser>),
}

/// A database user as whom all log in who hold these roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedUser {
    /// It stands for these database roles together: whoever holds all of them may log in as it.
    pub roles: BTreeSet<DatabaseRoleName>,
    /// Its name on the server.
    pub user: String,
    /// How the gateway logs in as it.
    pub credential: SharedCredential,
}

/// How the gateway logs in as a shared user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SharedCredential {
    /// With a password out of the gateway's secret store. PostgreSQL: SCRAM-SHA-256(-PLUS), MD5, clear text; MySQL and
    /// MariaDB: `caching_sha2_password`, `sha256_password`, `mysql_native_password`, `client_ed25519`, clear text.
    /// Always inside TLS, and only after the server's certificate was verified.
    Password {
        /// The file's name in the gateway's folder of secrets (`gateway.secrets`).
        secret: String,
    },
    /// With an Entra access token for the gateway's own managed identity, in place of a password (Azure Database).
    EntraToken {
        /// The user-assigned identity's client id; absent: the system-assigned one.
        #[serde(default, rename = "clientId", skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
}

impl UpstreamIdentity {
    /// Whether it is the default.
    pub fn is_certificate(&self) -> bool {
        *self == Self::Certificate
    }

    /// The shared users; none when everyone has their own.
    pub fn shared_users(&self) -> &[SharedUser] {
        match self {
            Self::Certificate => &[],
            Self::SharedUsers(users) => users,
        }
    }

    /// The shared user that stands for the most of these roles, and for no other; of several the first.
    pub fn shared_user_for(&self, held: &BTreeSet<DatabaseRoleName>) -> Option<&SharedUser> {
        let fits = |shared: &&SharedUser| shared.roles.is_subset(held);
        // The last of the greatest, so from the end.
        self.shared_users().iter().rev().filter(fits).max_by_key(|shared| shared.roles.len())
    }

    /// The shared user of this name.
    pub fn shared_user(&self, user: &str) -> Option<&SharedUser> {
        self.shared_users().iter().find(|shared| shared.user == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> BTreeSet<DatabaseRoleName> {
        names.iter().map(|name| DatabaseRoleName::new(*name).unwrap()).collect()
    }

    fn shared(user: &str, of: &[&str]) -> SharedUser {
        let credential = SharedCredential::Password { secret: user.to_owned() };
        SharedUser { roles: roles(of), user: user.to_owned(), credential }
    }

    #[test]
    fn nobody_logs_in_as_a_user_that_stands_for_more_than_they_hold() {
        let identity = UpstreamIdentity::SharedUsers(vec![
            shared("app_reader", &["reader"]),
            shared("app_auditor", &["auditor"]),
            shared("app_all", &["reader", "writer"]),
        ]);
        let user = |held: &[&str]| {
            identity.shared_user_for(&roles(held)).map(|shared| shared.user.as_str())
        };
        assert_eq!(user(&["reader"]), Some("app_reader"));
        assert_eq!(user(&["reader", "writer", "other"]), Some("app_all"));
        assert_eq!(user(&["auditor", "reader"]), Some("app_reader"));
        assert_eq!(user(&["writer"]), None);
        assert_eq!(user(&[]), None);
        assert_eq!(UpstreamIdentity::Certificate.shared_user_for(&roles(&["reader"])), None);
    }
}
