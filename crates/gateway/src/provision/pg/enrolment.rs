//! SQL of the enrolment: what it reads, and the steps that follow from it. Run by the server's own superuser.

use std::collections::BTreeSet;

use access::database_user::PROVISIONER;
use model::kind::database_role::Privileges;
use model::kind::server::Databases;

use super::quote::{ident, literal};
use crate::enrolment::pg::{Observed, ObservedDatabase, ObservedSchema};
use crate::enrolment::{EnrollInput, Script, Step};

/// Owns what nobody else can own: the schemas' owner where that would be a superuser, and what people leave behind there.
pub(crate) const OWNER_ROLE: &str = "portcullis_owner";

/// At most so many connections of the provisioner: two that stand, one for each database that is looked at, and room for
/// a gateway that is being replaced.
const PROVISIONER_CONNECTIONS_MAX: u32 = 10;

/// One JSON value: [`Observed`] without its files and without what is in the databases.
pub(crate) const OBSERVE_SERVER: &str = "\
SET search_path = pg_catalog, pg_temp;
SELECT json_build_object(
  'version', current_setting('server_version_num')::int4,
  'superuser', current_user,
  'maintenanceDatabase', current_database(),
  'hbaFile', current_setting('hba_file'),
  'ssl', current_setting('ssl'),
  'sslCaFile', current_setting('ssl_ca_file'),
  'sslCertFile', current_setting('ssl_cert_file'),
  'listenAddresses', current_setting('listen_addresses'),
  'altered', (SELECT coalesce(json_object_agg(f.name, f.setting), '{}') FROM pg_file_settings f
    WHERE f.sourcefile LIKE '%/postgresql.auto.conf' AND f.name IN ('ssl', 'ssl_ca_file')),
  'roles', (SELECT json_agg(json_build_object('name', r.rolname, 'superuser', r.rolsuper,
      'createsRoles', r.rolcreaterole, 'logsIn', r.rolcanlogin,
      'memberOf', (SELECT coalesce(json_agg(json_build_object('role', g.role, 'admin', g.admin)), '[]')
        FROM (SELECT o.rolname AS role, bool_or(m.admin_option) AS admin
          FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid
          WHERE m.member = r.oid GROUP BY o.rolname) g)) ORDER BY r.rolname)
    FROM pg_roles r WHERE r.rolname !~ '^pg_'
      AND coalesce(shobj_description(r.oid, 'pg_authid'), '') !~ '^portcullis(-role)?:'),
  'passwordProbe', to_regprocedure('portcullis.users_with_password()') IS NOT NULL,
  'admissionProbe', EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) a, pg_roles r
    WHERE c.oid = 'pg_hba_file_rules'::regclass AND r.oid = a.grantee
      AND r.rolname = 'portcullis_provisioner'),
  'databases', (SELECT json_agg(json_build_object('name', d.datname,
      'publicConnects', EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT'),
      'provisionerConnects', EXISTS (SELECT FROM aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE r.rolname = 'portcullis_provisioner' AND a.is_grantable AND a.privilege_type = 'CONNECT'))
      ORDER BY d.datname)
    FROM pg_database d WHERE d.datallowconn));
";

/// One JSON array of [`ObservedSchema`], in the database that it is run in.
pub(crate) const OBSERVE_DATABASE: &str = "\
SET search_path = pg_catalog, pg_temp;
WITH schemas AS (
  SELECT n.oid, n.nspname, n.nspacl, n.nspowner, o.oid AS owner, o.rolname, o.rolsuper
  FROM pg_namespace n JOIN pg_roles p ON p.oid = n.nspowner, pg_database d, pg_roles o
  WHERE d.datname = current_database()
    AND o.oid = CASE WHEN p.rolname = 'pg_database_owner' THEN d.datdba ELSE p.oid END
    AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'portcullis')
), owners AS (
  SELECT s.oid, r.oid AS owner, r.rolname, r.rolsuper
  FROM schemas s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  JOIN pg_roles r ON r.oid = c.relowner GROUP BY 1, 2, 3, 4
  UNION SELECT oid, owner, rolname, rolsuper FROM schemas
), creators AS (
  SELECT s.oid, a.grantee AS creator FROM schemas s, aclexplode(s.nspacl) a
  WHERE a.privilege_type = 'CREATE' AND a.grantee <> 0
  UNION SELECT oid, owner FROM owners
), shared AS (
  SELECT o.oid, o.owner, EXISTS (SELECT FROM pg_default_acl a, aclexplode(a.defaclacl) e, pg_roles g
      WHERE a.defaclrole = o.owner AND a.defaclnamespace = o.oid AND a.defaclobjtype = 'r'
        AND g.oid = e.grantee AND g.rolname = 'portcullis_owner')
    AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = o.oid AND c.relowner = o.owner
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (
        SELECT FROM aclexplode(c.relacl) e JOIN pg_roles g ON g.oid = e.grantee
        WHERE g.rolname = 'portcullis_owner' AND e.privilege_type = 'SELECT')) AS done
  FROM owners o WHERE o.rolsuper
)
SELECT coalesce(json_agg(json_build_object(
  'name', s.nspname,
  'owner', s.rolname,
  'publicCreates', EXISTS (SELECT FROM aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a
    WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'),
  'ownerRoleCreates', (SELECT count(*) = 2 FROM aclexplode(s.nspacl) a JOIN pg_roles g ON g.oid = a.grantee
    WHERE g.rolname = 'portcullis_owner' AND a.is_grantable AND a.privilege_type IN ('CREATE', 'USAGE')),
  'creators', (SELECT coalesce(json_agg(r.rolname ORDER BY r.rolname), '[]') FROM pg_roles r
    WHERE NOT r.rolsuper AND r.rolname !~ '^(pg_|portcullis_)'
      AND coalesce(shobj_description(r.oid, 'pg_authid'), '') !~ '^portcullis(-role)?:'
      AND EXISTS (SELECT FROM creators c WHERE c.oid = s.oid AND pg_has_role(r.oid, c.creator, 'USAGE'))),
  'superuserOwners', (SELECT coalesce(json_agg(o.rolname ORDER BY o.rolname), '[]') FROM owners o
    WHERE o.oid = s.oid AND o.rolsuper),
  'superuserObjectsShared', (SELECT coalesce(bool_and(h.done), true) FROM shared h WHERE h.oid = s.oid))
  ORDER BY s.nspname), '[]') FROM schemas s;
";

/// What the new admission rules say to the server itself; empty when it can read them.
pub(crate) const ADMISSION_ERRORS: &str = "\
SELECT pg_catalog.string_agg(pg_catalog.format('line %s: %s', line_number, error), '; ')
FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL;
";

/// Takes changed files into force.
pub(crate) const RELOAD: &str = "SELECT pg_catalog.pg_reload_conf();\n";

/// TLS, and where client authorities are read from.
pub(crate) fn settings(observed: &Observed, authority_file: &str) -> Option<Step> {
    let mut script = Script::default();
    let wanted =
        [("ssl", &observed.ssl, "on"), ("ssl_ca_file", &observed.ssl_ca_file, authority_file)];
    for (name, current, value) in wanted {
        if current != value {
            let undo = match observed.altered.get(name) {
                Some(former) => format!("ALTER SYSTEM SET {name} = {}", literal(former)),
                None => format!("ALTER SYSTEM RESET {name}"),
            };
            script.add(format!("ALTER SYSTEM SET {name} = {}", literal(value)), undo);
        }
    }
    script.step(
        &observed.maintenance_database,
        "speak TLS and check client certificates",
        "certificates exist only inside TLS; the file names the one authority that counts",
    )
}

/// The provisioner and what it needs on the whole server.
pub(crate) fn roles(input: &EnrollInput, observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(provisioner(input, observed));
    steps.extend(memberships(input, observed));
    steps.extend(probes(observed));
    steps
}

fn provisioner(input: &EnrollInput, observed: &Observed) -> Option<Step> {
    let mut script = Script::default();
    let superuser = input.server.spec.test_stack;
    let attributes = if superuser { "SUPERUSER" } else { "NOSUPERUSER" };
    let attributes = format!(
        "LOGIN CREATEROLE {attributes} NOCREATEDB NOREPLICATION NOBYPASSRLS INHERIT PASSWORD NULL \
         CONNECTION LIMIT {PROVISIONER_CONNECTIONS_MAX}"
    );
    match observed.role(PROVISIONER) {
        None => script
            .add(format!("CREATE ROLE {} {attributes}", ident(PROVISIONER)), retire(PROVISIONER)),
        Some(role) if !role.logs_in || !role.creates_roles || role.superuser != superuser => script
            .add(
                format!("ALTER ROLE {} {attributes}", ident(PROVISIONER)),
                format!("ALTER ROLE {} NOLOGIN NOCREATEROLE NOSUPERUSER", ident(PROVISIONER)),
            ),
        Some(_) => {}
    }
    if observed.role(OWNER_ROLE).is_none() {
        script.add(format!("CREATE ROLE {} NOLOGIN", ident(OWNER_ROLE)), retire(OWNER_ROLE));
    }
    let reason = if superuser {
        "test stack: the gateway's provisioner is a superuser here, so that database roles with the superuser \
         attribute can exist"
    } else {
        "the gateway makes and withdraws people's login users through it; it is no superuser, has no password and \
         logs in with a certificate only. `portcullis_owner` owns what people leave behind where the schema's owner \
         is a superuser"
    };
    script.step(
        &observed.maintenance_database,
        "a login user for the gateway's own administration",
        reason,
    )
}

/// Other roles may still depend on it; then it stays, unable to do anything.
fn retire(role: &str) -> String {
    let (name, text) = (ident(role), literal(role));
    format!(
        "DO $undo$ BEGIN EXECUTE 'DROP OWNED BY {name} CASCADE'; EXECUTE 'DROP ROLE {name}'; EXCEPTION WHEN \
         dependent_objects_still_exist THEN RAISE NOTICE '% stays, without login', {text}; \
         EXECUTE 'ALTER ROLE {name} NOLOGIN NOCREATEROLE NOSUPERUSER'; END $undo$"
    )
}

/// Roles of the server's own that the provisioner needs, and the existing ones that database roles name.
fn memberships(input: &EnrollInput, observed: &Observed) -> Option<Step> {
    let mut script = Script::default();
    let known = observed.role(PROVISIONER);
    let member = |role: &str, admin: bool| {
        known.is_some_and(|known| {
            known.member_of.iter().any(|held| held.role == role && (held.admin || !admin))
        })
    };
    let mut plain = vec!["pg_signal_backend", "pg_read_all_stats"];
    if observed.version >= 160_000 {
        plain.push("pg_use_reserved_connections");
    }
    for role in plain.into_iter().filter(|role| !member(role, false)) {
        script.add(
            format!("GRANT {} TO {}", ident(role), ident(PROVISIONER)),
            format!("REVOKE {} FROM {}", ident(role), ident(PROVISIONER)),
        );
    }
    let mut handed_on = BTreeSet::from([OWNER_ROLE]);
    for role in &input.roles {
        if let Privileges::ExistingRole(name) = &role.spec.privileges {
            handed_on.insert(name.as_str());
        }
    }
    for role in handed_on.into_iter().filter(|role| !member(role, true)) {
        script.add(grant_with_admin(role), revoke_membership(role));
    }
    script.step(
        &observed.maintenance_database,
        "what the gateway's administration needs on the whole server",
        "it ends sessions (pg_signal_backend), sees when each began (pg_read_all_stats), and hands on exactly the \
         existing roles that database roles name",
    )
}

fn grant_with_admin(role: &str) -> String {
    format!("GRANT {} TO {} WITH ADMIN OPTION", ident(role), ident(PROVISIONER))
}

fn revoke_membership(role: &str) -> String {
    format!("REVOKE {} FROM {} CASCADE", ident(role), ident(PROVISIONER))
}

/// What lets the provisioner see drift without seeing secrets.
fn probes(observed: &Observed) -> Option<Step> {
    let mut script = Script::default();
    let provisioner = ident(PROVISIONER);
    if !observed.password_probe {
        script.add("CREATE SCHEMA IF NOT EXISTS portcullis".to_owned(), drop_probe_schema());
        script.add(
            format!("GRANT USAGE ON SCHEMA portcullis TO {provisioner}"),
            format!("REVOKE USAGE ON SCHEMA portcullis FROM {provisioner}"),
        );
        let function = "portcullis.users_with_password()";
        let body = format!(
            "CREATE OR REPLACE FUNCTION {function} RETURNS SETOF pg_catalog.name LANGUAGE sql STABLE \
             SECURITY DEFINER SET search_path = pg_catalog, pg_temp \
             AS 'SELECT rolname FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL'"
        );
        script.add(body, format!("DROP FUNCTION IF EXISTS {function}"));
        script.add(
            format!("REVOKE ALL ON FUNCTION {function} FROM PUBLIC"),
            format!("REVOKE ALL ON FUNCTION {function} FROM {provisioner}"),
        );
        script.statements.push(format!("GRANT EXECUTE ON FUNCTION {function} TO {provisioner}"));
    }
    if !observed.admission_probe {
        script.add(
            format!("GRANT SELECT ON pg_catalog.pg_hba_file_rules TO {provisioner}"),
            format!("REVOKE SELECT ON pg_catalog.pg_hba_file_rules FROM {provisioner}"),
        );
        script.add(
            format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO {provisioner}"),
            format!("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() FROM {provisioner}"),
        );
    }
    script.step(
        &observed.maintenance_database,
        "let the gateway notice changes made by hand",
        "it sees which login users have a password (their names, never the password) and which lines `pg_hba.conf` \
         has, and reports what no resource explains",
    )
}

fn drop_probe_schema() -> String {
    "DROP SCHEMA IF EXISTS portcullis".to_owned()
}

/// What must change inside one database.
pub(crate) fn database(
    input: &EnrollInput,
    observed: &Observed,
    database: &ObservedDatabase,
) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(connections(input, database));
    steps.extend(public_schema(database));
    if reachable(input, &database.name) {
        steps.extend(creators(input, observed, database));
        steps.extend(superusers_objects(database));
    }
    steps
}

fn reachable(input: &EnrollInput, database: &str) -> bool {
    match &input.server.spec.databases {
        Databases::Any => !["template0", "template1"].contains(&database),
        Databases::Only(names) => names.contains(database),
    }
}

fn connections(input: &EnrollInput, database: &ObservedDatabase) -> Option<Step> {
    let mut script = Script::default();
    let name = ident(&database.name);
    if database.public_connects {
        script.add(
            format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"),
            format!("GRANT CONNECT ON DATABASE {name} TO PUBLIC"),
        );
    }
    if !database.provisioner_connects && !input.server.spec.test_stack {
        let provisioner = ident(PROVISIONER);
        script.add(
            format!("GRANT CONNECT ON DATABASE {name} TO {provisioner} WITH GRANT OPTION"),
            format!("REVOKE CONNECT ON DATABASE {name} FROM {provisioner} CASCADE"),
        );
    }
    script.step(
        &database.name,
        &format!("who may connect to database `{}`", database.name),
        "every role may by default; from now on only those whose database role says so, which the gateway's \
         administration hands on",
    )
}

fn public_schema(database: &ObservedDatabase) -> Option<Step> {
    let mut script = Script::default();
    if database.schemas.iter().any(|schema| schema.name == "public" && schema.public_creates) {
        script.add(
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
            "GRANT CREATE ON SCHEMA public TO PUBLIC".to_owned(),
        );
    }
    script.step(
        &database.name,
        &format!("nobody creates objects in schema `public` of `{}` unasked", database.name),
        "whoever may create there can plant functions and operators that others call by accident, and leaves objects \
         behind",
    )
}

/// To grant on a table one must be its owner, or a member of the owner: so the provisioner becomes a member of the roles
/// that own or create tables, superusers excepted.
fn creators(input: &EnrollInput, observed: &Observed, database: &ObservedDatabase) -> Option<Step> {
    if input.server.spec.test_stack {
        return None;
    }
    let mut script = Script::default();
    let owners = database.schemas.iter().map(|schema| &schema.owner);
    let creators = database.schemas.iter().flat_map(|schema| &schema.creators);
    let held = observed.role(PROVISIONER).map(|role| role.member_of.as_slice()).unwrap_or_default();
    let wanted: BTreeSet<&String> = owners
        .chain(creators)
        .filter(|role| !observed.is_superuser(role) && !role.starts_with("portcullis_"))
        .filter(|role| !held.iter().any(|held| held.role == **role && held.admin))
        .collect();
    for role in wanted {
        script.add(grant_with_admin(role), revoke_membership(role));
    }
    script.step(
        &database.name,
        &format!("membership of the roles that own tables in `{}`", database.name),
        "only an owner can grant on its tables and on those that it will make tomorrow; ADMIN OPTION, because the \
         database role `admin` changes tables through the schema owner's role",
    )
}

/// What superusers own is never reached through membership: `portcullis_owner` holds it with the right to hand it on.
fn superusers_objects(database: &ObservedDatabase) -> Option<Step> {
    let mut script = Script::default();
    for schema in &database.schemas {
        if schema.superuser_owners.contains(&schema.owner) && !schema.owner_role_creates {
            let (name, owner) = (ident(&schema.name), ident(OWNER_ROLE));
            script.add(
                format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {owner} WITH GRANT OPTION"),
                format!("REVOKE ALL ON SCHEMA {name} FROM {owner} CASCADE"),
            );
        }
        if !schema.superuser_objects_shared {
            share(schema, &mut script);
        }
    }
    script.step(
        &database.name,
        &format!("what superusers own in `{}`", database.name),
        "the gateway's administration is never a member of a superuser; instead `portcullis_owner` may use these \
         objects, and those that the superuser makes tomorrow, and hands that on. Giving the objects to a role of \
         their own is better",
    )
}

fn share(schema: &ObservedSchema, script: &mut Script) {
    const TABLES: &str = "SELECT, INSERT, UPDATE, DELETE";
    const SEQUENCES: &str = "USAGE, SELECT, UPDATE";
    let (name, role) = (ident(&schema.name), ident(OWNER_ROLE));
    for (what, privileges) in [("TABLES", TABLES), ("SEQUENCES", SEQUENCES)] {
        script.add(
            format!(
                "GRANT {privileges} ON ALL {what} IN SCHEMA {name} TO {role} WITH GRANT OPTION"
            ),
            format!("REVOKE ALL ON ALL {what} IN SCHEMA {name} FROM {role} CASCADE"),
        );
        for owner in &schema.superuser_owners {
            let whose =
                format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {name}", ident(owner));
            script.add(
                format!("{whose} GRANT {privileges} ON {what} TO {role} WITH GRANT OPTION"),
                format!("{whose} REVOKE ALL ON {what} FROM {role} CASCADE"),
            );
        }
    }
}
