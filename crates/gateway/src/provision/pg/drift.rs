//! How a server is asked for what no resource explains.

use access::database_user::PROVISIONER;
use tokio_postgres::types::Type;

use super::connection::{Connection, Parameter};
use crate::provision::connection::Trouble;
use crate::provision::drift::found::{InDatabase, Observed};

const OBSERVE: &str = "\
SELECT json_build_object(
  'users', (SELECT coalesce(json_agg(json_build_object('name', r.rolname, 'oid', r.oid::int8, 'login', r.rolcanlogin,
      'bootstrap', r.oid = 10, 'superuser', r.rolsuper,
      'attributes', r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls,
      'member_of', (SELECT coalesce(json_agg(DISTINCT g.rolname), '[]') FROM pg_auth_members m
        JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid),
      'mark', shobj_description(r.oid, 'pg_authid'),
      'entered', r.rolname = ANY($1) AND EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles p ON p.oid = m.member
        WHERE m.roleid = r.oid AND p.rolname = $2
          AND (current_setting('server_version_num')::int < 160000 OR m.grantor = p.oid))) ORDER BY r.rolname), '[]')
    FROM pg_roles r WHERE r.rolcanlogin OR r.rolname = ANY($1)),
  'open_databases', (SELECT coalesce(json_agg(d.datname ORDER BY d.datname), '[]') FROM pg_database d
    WHERE d.datallowconn AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT')),
  'strangers', (SELECT coalesce(json_agg(json_build_array(g.rolname, u.rolname)), '[]') FROM pg_auth_members m
    JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
    WHERE u.rolname <> $2 AND NOT u.rolname = ANY($1)
      AND (g.rolname = ANY($1) OR shobj_description(g.oid, 'pg_authid') ~ '^portcullis')),
  'direct', (SELECT coalesce(json_agg(DISTINCT jsonb_build_array(r.rolname, d.datname)), '[]') FROM pg_shdepend s
    JOIN pg_roles r ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid
    JOIN pg_database d ON d.oid = CASE WHEN s.classid = 'pg_database'::regclass THEN s.objid ELSE s.dbid END
    WHERE s.deptype = 'a' AND r.rolname = ANY($1)))::text";

const PASSWORDS: &str = "\
SELECT coalesce(json_agg(u), '[]')::text FROM portcullis.users_with_password() u";

const ADMISSION: &str = "\
SELECT coalesce(json_agg(format('line %s of pg_hba.conf: %s', h.line_number,
    coalesce(h.error, concat_ws(' ', h.type, array_to_string(h.database, ','), array_to_string(h.user_name, ','),
      h.address, h.netmask, h.auth_method))) ORDER BY h.line_number), '[]')::text
FROM pg_hba_file_rules h JOIN pg_roles boss ON boss.oid = 10
WHERE h.error IS NOT NULL OR NOT (h.auth_method = 'reject'
  OR h.type = 'hostssl' AND h.auth_method = 'cert'
    AND coalesce(h.netmask, '') IN ('255.255.255.255', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')
  OR h.type = 'local' AND h.user_name = ARRAY[boss.rolname::text] AND h.auth_method = 'peer')";

/// What the server says of these users and of everyone else who can log in.
pub(crate) async fn observe(
    connection: &Connection,
    users: &[String],
) -> Result<Observed, Trouble> {
    let parameters: [Parameter<'_>; 2] = [(&users, Type::TEXT_ARRAY), (&PROVISIONER, Type::TEXT)];
    let everyone = connection.ask("list who can log in", OBSERVE, &parameters).await;
    let mut observed: Observed = everyone?;
    // Without these two the server was not enrolled by the present version; that is a finding, not a failure.
    observed.passwords = connection.ask("list users with a password", PASSWORDS, &[]).await.ok();
    observed.admission = connection.ask("list admission rules", ADMISSION, &[]).await.ok();
    Ok(observed)
}

const OBSERVE_DATABASE: &str = "\
WITH ours AS (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY($1))
SELECT json_build_object(
  'definers', (SELECT coalesce(json_agg(json_build_array(o.rolname, p.oid::regprocedure::text)), '[]')
    FROM pg_proc p JOIN ours o ON o.oid = p.proowner WHERE p.prosecdef),
  'granted', (SELECT coalesce(json_agg(DISTINCT jsonb_build_array(o.rolname, c.oid::regclass::text)), '[]')
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a JOIN ours o ON o.oid = a.grantor
    WHERE a.grantee <> c.relowner AND a.grantee NOT IN (SELECT r.oid FROM pg_roles r
      WHERE shobj_description(r.oid, 'pg_authid') ~ '^portcullis')))::text";

/// What users of ours did in the connection's database.
pub(crate) async fn in_database(
    connection: &Connection,
    users: &[String],
) -> Result<InDatabase, Trouble> {
    connection
        .ask("say what users made in a database", OBSERVE_DATABASE, &[(&users, Type::TEXT_ARRAY)])
        .await
}
