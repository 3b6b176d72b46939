//! MySQL's own servers: an account is a row of `mysql.user`, a role is an account that nobody can log in as, and what an
//! account is for may be said in its attributes.

/// Where roles come from.
pub(super) const ANY_HOST: &str = "%";

/// What an account is marked with. Only whoever may make accounts changes it.
const MARK: &str =
    "COALESCE(JSON_UNQUOTE(JSON_EXTRACT(u.User_attributes, '$.metadata.portcullis')), '')";

/// A role as it is named here: with its host when that is not any.
fn name(user: &str, host: &str) -> String {
    format!(
        "IF({host} = '{ANY_HOST}' AND LOCATE('@', {user}) = 0, {user}, CONCAT({user}, '@', {host}))"
    )
}

/// Nobody of ours is from any host but roles.
pub(super) fn mappings() -> String {
    let role = name("FROM_USER", "FROM_HOST");
    format!(
        "SELECT TO_USER AS User, IF(TO_HOST = '{ANY_HOST}', '', TO_HOST) AS Host, {role} AS Role FROM mysql.role_edges"
    )
}

pub(super) const SPEAKS_TLS: &str = "\
(SELECT VALUE = 'Yes' FROM performance_schema.tls_channel_status WHERE CHANNEL = 'mysql_main' AND PROPERTY = 'Enabled')";

/// Privileges on the server as a whole that have a column of their own; the others are in `mysql.global_grants`.
const GLOBAL: &str = "\
'Y' IN (u.Select_priv, u.Insert_priv, u.Update_priv, u.Delete_priv, u.Create_priv, u.Drop_priv, u.Reload_priv, \
u.Shutdown_priv, u.Process_priv, u.File_priv, u.Grant_priv, u.References_priv, u.Index_priv, u.Alter_priv, \
u.Show_db_priv, u.Super_priv, u.Create_tmp_table_priv, u.Lock_tables_priv, u.Execute_priv, u.Repl_slave_priv, \
u.Repl_client_priv, u.Create_view_priv, u.Show_view_priv, u.Create_routine_priv, u.Alter_routine_priv, \
u.Create_user_priv, u.Event_priv, u.Trigger_priv, u.Create_tablespace_priv, u.Create_role_priv, u.Drop_role_priv)";

/// Plugins whose empty secret says that no password is asked for.
const HASHES: &str = "'caching_sha2_password', 'sha256_password', 'mysql_native_password'";
/// Plugins that let nobody in by a secret.
const WITHOUT: &str = "'auth_socket', 'mysql_no_login'";

fn is_global() -> String {
    format!(
        "({GLOBAL} OR EXISTS (SELECT 1 FROM mysql.global_grants d WHERE d.USER = u.User AND d.HOST = u.Host))"
    )
}

/// An account has all its roles as default roles when as many are so.
pub(super) fn accounts() -> String {
    let (global, password) = (is_global(), password());
    format!(
        "SELECT u.User, u.Host, u.account_locked AS locked, u.Super_priv, u.Create_user_priv, u.Repl_slave_priv, \
         {global} AS global, \
         (SELECT COUNT(*) FROM mysql.role_edges e WHERE e.TO_USER = u.User AND e.TO_HOST = u.Host) \
         = (SELECT COUNT(*) FROM mysql.default_roles d WHERE d.USER = u.User AND d.HOST = u.Host) AS default_role, \
         {MARK} AS mark, FALSE AS is_role, u.ssl_type = 'SPECIFIED' AS by_subject, u.x509_subject AS subject, \
         u.x509_issuer AS issuer, {password} AS password, \
         u.Host = 'localhost' AND u.plugin = 'auth_socket' AS bootstrap, u.plugin = 'auth_socket' AS socket, \
         u.ssl_type IN ('X509', 'SPECIFIED') AS certificate FROM mysql.user u"
    )
}

/// Whether a secret opens an account: a hash, a second one beside it, whatever other plugins ask for, a further factor.
fn password() -> String {
    format!(
        "(u.plugin NOT IN ({WITHOUT}) AND (u.authentication_string <> '' OR u.plugin NOT IN ({HASHES})) \
         OR COALESCE(JSON_CONTAINS_PATH(u.User_attributes, 'one', '$.additional_password', \
         '$.multi_factor_authentication'), 0))"
    )
}

/// Whoever can log in is no role, and neither is who holds the server.
pub(super) fn roles() -> String {
    let (name, global) = (name("u.User", "u.Host"), is_global());
    format!("SELECT {name}, u.account_locked = 'Y' AND NOT {global}, {MARK} FROM mysql.user u")
}

pub(super) fn provisioners(name: &str) -> String {
    format!(
        "SELECT u.Host, u.account_locked, {} OR u.plugin <> 'caching_sha2_password', \
         FIELD(u.ssl_type, '', 'ANY', 'X509', 'SPECIFIED') - 1, u.x509_subject, u.x509_issuer, u.ssl_cipher \
         FROM mysql.user u WHERE u.User = {name}",
        password()
    )
}
