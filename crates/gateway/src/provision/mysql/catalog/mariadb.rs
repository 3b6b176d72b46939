//! MariaDB: `mysql.global_priv` holds everything about an account in one JSON text.

/// Plugins with a hash that may also say that no password opens.
const HASHES: &str = "'', 'mysql_native_password', 'mysql_old_password'";
/// So many ways in are looked at one by one; one of them stands outside the list.
const ALTERNATIVES_MAX: usize = 5;

pub(super) const MAPPINGS: &str = "SELECT User, Host, Role FROM mysql.roles_mapping";

pub(super) const ROLES: &str = "\
SELECT User, JSON_VALUE(Priv, '$.access') = 0, '' FROM mysql.global_priv
WHERE Host = '' AND JSON_VALUE(Priv, '$.is_role') = 1";

pub(super) const SPEAKS_TLS: &str = "@@have_ssl = 'YES'";

/// An account of this host that only its unix socket lets in is the server's own.
pub(super) fn accounts() -> String {
    let (password, socket) = (password(), SOCKET);
    format!(
        "SELECT g.User, g.Host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) AS locked, u.Super_priv, \
         u.Create_user_priv, u.Repl_slave_priv, JSON_VALUE(Priv, '$.access') <> 0 AS global, u.default_role, \
         '' AS mark, COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) AS is_role, \
         COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0) = 3 AS by_subject, \
         COALESCE(JSON_VALUE(Priv, '$.x509_subject'), '') AS subject, \
         COALESCE(JSON_VALUE(Priv, '$.x509_issuer'), '') AS issuer, {password} AS password, \
         g.Host = 'localhost' AND NOT {password} \
         AND ({socket} OR JSON_VALUE(Priv, '$.authentication_string') = 'invalid') AS bootstrap, \
         {socket} AS socket, COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0) >= 2 AS certificate \
         FROM mysql.global_priv g JOIN mysql.user u ON u.Host = g.Host AND u.User = g.User"
    )
}

/// Whether an account of `mysql.global_priv` can be opened as a certain account of the host.
const SOCKET: &str = "LOCATE('\"unix_socket\"', Priv) > 0";

/// Whether a password opens an account of `mysql.global_priv`, by any of its ways in. More ways than are looked at count as
/// one.
fn password() -> String {
    let others = (0..ALTERNATIVES_MAX).map(|number| way(&format!("$.auth_or[{number}]")));
    let ways: Vec<String> = std::iter::once(way("$")).chain(others).collect();
    format!(
        "({} OR COALESCE(JSON_LENGTH(Priv, '$.auth_or'), 0) > {ALTERNATIVES_MAX})",
        ways.join(" OR ")
    )
}

/// Whether one way in is a secret that can be carried away: a hash, or whatever other plugins ask for.
fn way(way: &str) -> String {
    let plugin = format!("COALESCE(JSON_VALUE(Priv, '{way}.plugin'), '')");
    let hash = format!("COALESCE(JSON_VALUE(Priv, '{way}.authentication_string'), '')");
    format!(
        "({plugin} IN ({HASHES}) AND {hash} NOT IN ('', 'invalid') OR {plugin} NOT IN ({HASHES}, 'unix_socket'))"
    )
}

pub(super) fn provisioners(name: &str) -> String {
    format!(
        "SELECT Host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0), \
         {} OR {SOCKET} OR COALESCE(JSON_VALUE(Priv, '$.authentication_string'), '') <> '' OR JSON_EXISTS(Priv, '$.auth_or'), \
         COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0), COALESCE(JSON_VALUE(Priv, '$.x509_subject'), ''), \
         COALESCE(JSON_VALUE(Priv, '$.x509_issuer'), ''), COALESCE(JSON_VALUE(Priv, '$.ssl_cipher'), '') \
         FROM mysql.global_priv WHERE User = {name}",
        password()
    )
}
