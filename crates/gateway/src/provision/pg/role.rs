//! SQL for the server's roles that stand for database roles.

use std::collections::BTreeSet;

use access::database_user::PROVISIONER;
use tokio_postgres::types::Type;

use super::connection::Connection;
use super::quote::{ident, literal};
use super::user;
use crate::provision::connection::Trouble;
use crate::provision::seen::{ObservedMembership, Roles};

const OBSERVE: &str = "\
WITH RECURSIVE ours AS (
  SELECT r.oid, r.rolname, shobj_description(r.oid, 'pg_authid') AS mark, NOT (r.rolcanlogin OR r.rolsuper OR
    r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls) AS plain
  FROM pg_roles r WHERE r.rolname = ANY($1) OR shobj_description(r.oid, 'pg_authid') ~ '^portcullis-role:'),
dangerous (oid) AS (
  SELECT r.oid FROM pg_roles r
  WHERE r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
    OR shobj_description(r.oid, 'pg_authid') ~ '^portcullis:'
  UNION SELECT m.member FROM pg_auth_members m JOIN dangerous d ON d.oid = m.roleid)
SELECT json_build_object(
  'databases', (SELECT coalesce(json_agg(d.datname ORDER BY d.datname), '[]') FROM pg_database d
    WHERE d.datallowconn AND NOT d.datistemplate),
  'roles', (SELECT coalesce(json_agg(json_build_object('name', o.rolname, 'mark', o.mark, 'plain', o.plain,
      'member_of', (SELECT coalesce(json_agg(json_build_object('role', g.rolname, 'grantor', b.rolname)), '[]')
        FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles b ON b.oid = m.grantor
        WHERE m.member = o.oid))), '[]') FROM ours o),
  'held_in', (SELECT coalesce(json_agg(DISTINCT d.datname), '[]') FROM pg_shdepend s
    JOIN ours o ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = o.oid
    JOIN pg_database d ON d.oid = CASE WHEN s.classid = 'pg_database'::regclass THEN s.objid ELSE s.dbid END),
  'dangerous', (SELECT coalesce(json_agg(r.rolname), '[]') FROM pg_roles r WHERE r.oid IN (SELECT oid FROM dangerous)
    OR r.oid IN (SELECT oid FROM ours) OR r.rolname = ANY($1)))::text";

/// What the server says about these roles, and about all that carry our mark.
pub(crate) async fn observe(connection: &Connection, names: &[String]) -> Result<Roles, Trouble> {
    connection.ask("list roles", OBSERVE, &[(&names, Type::TEXT_ARRAY)]).await
}

/// Makes a role that nobody logs in as. The provisioner is a member, so that it can act for it.
pub(crate) fn create(name: &str, mark: &str, connection: &Connection) -> String {
    let (name, provisioner, mark) = (ident(name), ident(PROVISIONER), literal(mark));
    // From PostgreSQL 16 on whoever makes a role can hand it on anyway, but is no member of it.
    let membership = if connection.version >= 160_000 {
        format!("GRANT {name} TO {provisioner} WITH INHERIT TRUE, SET TRUE;\n")
    } else {
        format!("GRANT {name} TO {provisioner} WITH ADMIN OPTION;\n")
    };
    format!(
        "CREATE ROLE {name} NOLOGIN INHERIT NOCREATEDB NOCREATEROLE;\n\
         COMMENT ON ROLE {name} IS {mark};\n{membership}"
    )
}

/// Makes a role a member of exactly these.
pub(crate) fn memberships(
    name: &str,
    member_of: &[ObservedMembership],
    wanted: &BTreeSet<String>,
    connection: &Connection,
) -> String {
    let mut sql = Vec::new();
    for extra in member_of.iter().filter(|held| !wanted.contains(&held.role)) {
        sql.push(user::revoke(name, extra, connection.version));
    }
    for missing in wanted.iter().filter(|role| !member_of.iter().any(|held| held.role == **role)) {
        sql.push(format!("GRANT {} TO {};\n", ident(missing), ident(name)));
    }
    sql.concat()
}

/// Removes a role that holds nothing any more.
pub(crate) fn drop(name: &str) -> String {
    format!("DROP ROLE {};\n", ident(name))
}
