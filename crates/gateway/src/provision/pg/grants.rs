//! What database roles hold inside one database: what the server says, what must change, and the SQL for it. The plan
//! between the two is pure.

use std::collections::{BTreeMap, BTreeSet};

use access::database_user::PROVISIONER;
use serde::Deserialize;
use tokio_postgres::types::Type;

use super::connection::Connection;
use super::quote::{ident, qualified};
use crate::provision::connection::Trouble;
use crate::provision::engine::Settled;
use crate::provision::seen::{Level, Rights};

/// Statements are sent in batches of so many, each one a transaction, so that no lock is held for long.
const BATCH: usize = 200;

/// A privilege held: by which role, and which.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held(pub(crate) String, pub(crate) String);

/// Tables (and views) or sequences.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Tables, views, materialized views, foreign tables.
    #[serde(rename = "r")]
    Tables,
    /// Sequences.
    #[serde(rename = "S")]
    Sequences,
}

/// A table or sequence.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) owner: String,
    /// Whether the provisioner can grant on it.
    pub(crate) may: bool,
    /// Whether its owner is a login user of ours, whose rights the provisioner can take on for a moment.
    #[serde(default)]
    pub(crate) ours: bool,
    #[serde(default)]
    pub(crate) held: Vec<Held>,
}

/// A schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Schema {
    pub(crate) name: String,
    /// Its owner; the database's where it is `pg_database_owner`; `portcullis_owner` where that is a superuser.
    pub(crate) owner: String,
    /// Whether the provisioner can grant on it.
    pub(crate) may: bool,
    /// Our roles that can use it, however.
    #[serde(default)]
    pub(crate) usable: Vec<String>,
    /// Our roles that were granted USAGE.
    #[serde(default)]
    pub(crate) granted: Vec<String>,
}

/// A role that can create objects in a schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Creator {
    pub(crate) schema: String,
    pub(crate) creator: String,
    /// Whether the provisioner can change its default privileges.
    pub(crate) may: bool,
    /// Whether it is a login user of ours, whose rights the provisioner can take on for a moment.
    pub(crate) ours: bool,
}

/// Default privileges of what a role will create in a schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Default {
    pub(crate) schema: String,
    pub(crate) creator: String,
    pub(crate) class: Class,
    #[serde(default)]
    pub(crate) held: Vec<Held>,
}

/// One database as the server has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) database: String,
    /// Whether the provisioner can grant CONNECT.
    pub(crate) may: bool,
    /// Our roles that were granted CONNECT.
    pub(crate) connect: Vec<String>,
    pub(crate) schemas: Vec<Schema>,
    pub(crate) relations: Vec<Relation>,
    pub(crate) creators: Vec<Creator>,
    pub(crate) defaults: Vec<Default>,
}

/// What a role holds on each table and sequence.
fn privileges(level: Level, class: Class) -> &'static [&'static str] {
    match (level, class) {
        (Level::None, _) | (Level::Read, Class::Sequences) => &[],
        (Level::Read, Class::Tables) => &["SELECT"],
        (Level::Write | Level::Define, Class::Tables) => &["SELECT", "INSERT", "UPDATE", "DELETE"],
        (Level::Write | Level::Define, Class::Sequences) => &["USAGE", "SELECT", "UPDATE"],
    }
}

/// What has to change in one database, and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) statements: Vec<String>,
    pub(crate) findings: Vec<String>,
}

const OBSERVE: &str = "\
WITH ours AS (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY($1)),
base AS (SELECT d.oid, d.datname, d.datdba, d.datacl FROM pg_database d WHERE d.datname = current_database()),
wanted AS (
  SELECT n.oid, n.nspname, n.nspowner, n.nspacl, o.oid AS owner, o.rolname AS owner_name, o.rolsuper AS owner_super
  FROM pg_namespace n JOIN pg_roles p ON p.oid = n.nspowner CROSS JOIN base b
  JOIN pg_roles o ON o.oid = CASE WHEN p.rolname = 'pg_database_owner' THEN b.datdba ELSE p.oid END
  WHERE n.nspname = ANY($2)
    OR EXISTS (SELECT FROM aclexplode(n.nspacl) a JOIN ours ON ours.oid = a.grantee)),
relations AS (
  SELECT c.oid, n.nspname, c.relname, CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END AS class, c.relowner, c.relacl
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (n.nspname = ANY($2) OR EXISTS (SELECT FROM aclexplode(c.relacl) a JOIN ours ON ours.oid = a.grantee))),
creators AS (
  SELECT w.nspname, r.oid, r.rolname,
    coalesce(shobj_description(r.oid, 'pg_authid'), '') ~ '^portcullis:' AS ours
  FROM wanted w JOIN pg_roles r ON has_schema_privilege(r.oid, w.oid, 'CREATE')
  WHERE r.rolname !~ '^pg_' AND (NOT r.rolsuper OR EXISTS (SELECT FROM pg_roles me
    WHERE me.rolname = current_user AND me.rolsuper AND me.oid <> r.oid AND r.oid IN
      (SELECT w.nspowner UNION SELECT c.relowner FROM pg_class c WHERE c.relnamespace = w.oid))))
SELECT json_build_object(
  'database', current_database(),
  'may', (SELECT pg_has_role(current_user, datdba, 'USAGE') OR EXISTS (SELECT FROM aclexplode(datacl) a
      WHERE a.is_grantable AND a.privilege_type = 'CONNECT' AND a.grantee <> 0
        AND pg_has_role(current_user, a.grantee, 'USAGE')) FROM base),
  'connect', (SELECT coalesce(json_agg(DISTINCT ours.rolname), '[]') FROM base, aclexplode(datacl) a
    JOIN ours ON ours.oid = a.grantee WHERE a.privilege_type = 'CONNECT'),
  'schemas', (SELECT coalesce(json_agg(json_build_object('name', w.nspname,
      'owner', CASE WHEN w.owner_super THEN 'portcullis_owner' ELSE w.owner_name END,
      'may', pg_has_role(current_user, w.owner, 'USAGE') OR EXISTS (SELECT FROM aclexplode(w.nspacl) a
        WHERE a.is_grantable AND a.privilege_type = 'USAGE' AND a.grantee <> 0
          AND pg_has_role(current_user, a.grantee, 'USAGE')),
      'usable', (SELECT coalesce(json_agg(ours.rolname), '[]') FROM ours
        WHERE has_schema_privilege(ours.oid, w.oid, 'USAGE')),
      'granted', (SELECT coalesce(json_agg(ours.rolname), '[]') FROM aclexplode(w.nspacl) a
        JOIN ours ON ours.oid = a.grantee WHERE a.privilege_type = 'USAGE'))), '[]') FROM wanted w),
  'relations', (SELECT coalesce(json_agg(json_build_object('schema', c.nspname, 'name', c.relname, 'class', c.class,
      'owner', o.rolname,
      'ours', coalesce(shobj_description(o.oid, 'pg_authid'), '') ~ '^portcullis:',
      'may', pg_has_role(current_user, c.relowner, 'USAGE') OR EXISTS (SELECT FROM aclexplode(c.relacl) a
        WHERE a.is_grantable AND a.grantee <> 0 AND pg_has_role(current_user, a.grantee, 'USAGE')),
      'held', (SELECT coalesce(json_agg(json_build_array(ours.rolname, a.privilege_type)), '[]')
        FROM aclexplode(c.relacl) a JOIN ours ON ours.oid = a.grantee))), '[]')
    FROM relations c JOIN pg_roles o ON o.oid = c.relowner),
  'creators', (SELECT coalesce(json_agg(json_build_object('schema', c.nspname, 'creator', c.rolname,
      'may', pg_has_role(current_user, c.oid, 'USAGE'), 'ours', c.ours)), '[]') FROM creators c),
  'defaults', (SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'creator', r.rolname,
      'class', d.defaclobjtype,
      'held', (SELECT coalesce(json_agg(json_build_array(ours.rolname, a.privilege_type)), '[]')
        FROM aclexplode(d.defaclacl) a JOIN ours ON ours.oid = a.grantee))), '[]')
    FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace JOIN pg_roles r ON r.oid = d.defaclrole
    WHERE d.defaclobjtype IN ('r', 'S')))::text";

/// Brings what roles hold in the connection's database to what they must hold.
pub(crate) async fn settle(connection: &Connection, wanted: &[Rights]) -> Result<Settled, Trouble> {
    let names: Vec<String> = wanted.iter().map(|wanted| wanted.role.clone()).collect();
    let schemas: BTreeSet<&String> = wanted.iter().flat_map(|wanted| &wanted.schemas).collect();
    let schemas: Vec<String> = schemas.into_iter().cloned().collect();
    let observed = observe(connection, &names, &schemas).await?;
    let plan = plan(&observed, wanted);
    apply(connection, &plan).await?;
    let owners = observed.schemas.into_iter().map(|schema| (schema.name, schema.owner)).collect();
    // A session asks for what it holds at every statement.
    Ok(Settled { owners, narrowed: Vec::new(), findings: plan.findings })
}

/// What our roles hold in the connection's database, and what could be granted to them.
async fn observe(
    connection: &Connection,
    roles: &[String],
    schemas: &[String],
) -> Result<Observed, Trouble> {
    let parameters: [super::connection::Parameter<'_>; 2] =
        [(&roles, Type::TEXT_ARRAY), (&schemas, Type::TEXT_ARRAY)];
    connection.ask("say what roles hold in a database", OBSERVE, &parameters).await
}

/// Runs a plan's statements, in batches.
async fn apply(connection: &Connection, plan: &Plan) -> Result<(), Trouble> {
    for batch in plan.statements.chunks(BATCH) {
        connection.run("grant to roles", &batch.concat()).await?;
    }
    Ok(())
}

/// From what is held to what must be. Whatever a role of ours holds beyond that is taken away.
fn plan(observed: &Observed, wanted: &[Rights]) -> Plan {
    let mut plan = Plan::default();
    for role in wanted {
        connect(observed, role, &mut plan);
        schemas(observed, role, &mut plan);
        relations(observed, role, &mut plan);
        defaults(observed, role, &mut plan);
    }
    plan
}

fn connect(observed: &Observed, wanted: &Rights, plan: &mut Plan) {
    let held = observed.connect.contains(&wanted.role);
    let (database, role) = (ident(&observed.database), ident(&wanted.role));
    match (wanted.connects, held) {
        (true, true) | (false, false) => {}
        (true, false) if observed.may => {
            plan.statements.push(format!("GRANT CONNECT ON DATABASE {database} TO {role};\n"));
        }
        (true, false) => plan.findings.push(format!(
            "`{}` cannot be let into database `{}`: {AGAIN}",
            wanted.role, observed.database
        )),
        (false, true) => {
            plan.statements.push(format!("REVOKE CONNECT ON DATABASE {database} FROM {role};\n"));
        }
    }
}

const AGAIN: &str = "run `portcullis server enroll` again";

fn schemas(observed: &Observed, wanted: &Rights, plan: &mut Plan) {
    let role = ident(&wanted.role);
    for missing in wanted
        .schemas
        .iter()
        .filter(|name| !observed.schemas.iter().any(|schema| schema.name == **name))
    {
        plan.findings.push(format!("database `{}` has no schema `{missing}`", observed.database));
    }
    for schema in &observed.schemas {
        let name = ident(&schema.name);
        let wants = wanted.schemas.contains(&schema.name);
        if wants && !schema.usable.contains(&wanted.role) {
            if schema.may {
                plan.statements.push(format!("GRANT USAGE ON SCHEMA {name} TO {role};\n"));
            } else {
                plan.findings.push(format!(
                    "`{}` cannot be let into schema `{}` of `{}`: {AGAIN}",
                    wanted.role, schema.name, observed.database
                ));
            }
        }
        if !wants && schema.granted.contains(&wanted.role) {
            plan.statements.push(format!("REVOKE ALL ON SCHEMA {name} FROM {role};\n"));
        }
    }
}

/// What `role` lacks and what it holds too much.
fn difference(
    held: &[Held],
    role: &str,
    wanted: &'static [&'static str],
) -> (Vec<&'static str>, Vec<String>) {
    let held: BTreeSet<&str> =
        held.iter().filter(|held| held.0 == role).map(|held| held.1.as_str()).collect();
    let missing = wanted.iter().copied().filter(|privilege| !held.contains(privilege)).collect();
    let extra = held.into_iter().filter(|privilege| !wanted.contains(privilege));
    (missing, extra.filter(|privilege| is_privilege(privilege)).map(str::to_owned).collect())
}

/// Privileges are words of the server's; nothing else may get into a statement unquoted.
fn is_privilege(word: &str) -> bool {
    word.chars().all(|letter| letter.is_ascii_uppercase() || letter == ' ')
}

fn relations(observed: &Observed, wanted: &Rights, plan: &mut Plan) {
    let role = ident(&wanted.role);
    let mut unreachable: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for relation in &observed.relations {
        let within = wanted.schemas.contains(&relation.schema);
        let level = if within { wanted.level } else { Level::None };
        let (missing, extra) =
            difference(&relation.held, &wanted.role, privileges(level, relation.class));
        let word = match relation.class {
            Class::Tables => "TABLE",
            Class::Sequences => "SEQUENCE",
        };
        let name = qualified(&relation.schema, &relation.name);
        let mut sql = String::new();
        if !extra.is_empty() {
            sql.extend([
                "REVOKE ",
                &extra.join(", "),
                " ON ",
                word,
                " ",
                &name,
                " FROM ",
                &role,
                ";\n",
            ]);
        }
        if !missing.is_empty() {
            sql.extend([
                "GRANT ",
                &missing.join(", "),
                " ON ",
                word,
                " ",
                &name,
                " TO ",
                &role,
                ";\n",
            ]);
        }
        if sql.is_empty() {
            continue;
        }
        match (relation.may, relation.ours) {
            (true, _) => plan.statements.push(sql),
            (false, true) => plan.statements.push(as_one_of_ours(&relation.owner, &sql)),
            (false, false) => {
                *unreachable.entry((&relation.schema, &relation.owner)).or_default() += 1;
            }
        }
    }
    for ((schema, owner), count) in unreachable {
        plan.findings.push(format!(
            "`{}` lacks rights on {count} objects of `{owner}` in schema `{schema}` of `{}`: {AGAIN}",
            wanted.role, observed.database
        ));
    }
}

/// Tables made tomorrow, by whomever.
fn defaults(observed: &Observed, wanted: &Rights, plan: &mut Plan) {
    let mut creators: BTreeMap<(&str, &str), Option<&Creator>> = observed
        .creators
        .iter()
        .map(|creator| ((creator.schema.as_str(), creator.creator.as_str()), Some(creator)))
        .collect();
    for known in &observed.defaults {
        creators.entry((&known.schema, &known.creator)).or_insert(None);
    }
    for ((schema, creator), known) in creators {
        let within = wanted.schemas.contains(schema) && known.is_some();
        let level = if within { wanted.level } else { Level::None };
        for class in [Class::Tables, Class::Sequences] {
            let held = observed
                .defaults
                .iter()
                .find(|known| {
                    known.schema == schema && known.creator == creator && known.class == class
                })
                .map(|known| known.held.as_slice())
                .unwrap_or_default();
            let (missing, extra) = difference(held, &wanted.role, privileges(level, class));
            let change =
                DefaultChange { schema, creator, class, role: &wanted.role, missing, extra };
            let ours = known.is_some_and(|known| known.ours);
            if change.is_nothing() {
                continue;
            }
            if ours {
                plan.statements.push(as_one_of_ours(creator, &change.sql()));
            } else if known.is_none_or(|known| known.may) {
                plan.statements.push(change.sql());
            } else {
                plan.findings.push(format!(
                    "what `{creator}` creates in schema `{schema}` of `{}` will not be open to `{}`: {AGAIN}",
                    observed.database, wanted.role
                ));
            }
        }
    }
    plan.findings.sort();
    plan.findings.dedup();
}

struct DefaultChange<'a> {
    schema: &'a str,
    creator: &'a str,
    class: Class,
    role: &'a str,
    missing: Vec<&'static str>,
    extra: Vec<String>,
}

impl DefaultChange<'_> {
    fn is_nothing(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    fn sql(&self) -> String {
        let (creator, schema, role) = (ident(self.creator), ident(self.schema), ident(self.role));
        let whose = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {creator} IN SCHEMA {schema}");
        let what = match self.class {
            Class::Tables => "TABLES",
            Class::Sequences => "SEQUENCES",
        };
        let mut sql = String::new();
        if !self.extra.is_empty() {
            let extra = self.extra.join(", ");
            sql.extend([&whose, " REVOKE ", &extra, " ON ", what, " FROM ", &role, ";\n"]);
        }
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            sql.extend([&whose, " GRANT ", &missing, " ON ", what, " TO ", &role, ";\n"]);
        }
        sql
    }
}

/// The provisioner takes on a user's rights for the length of these statements, which are one transaction.
fn as_one_of_ours(user: &str, sql: &str) -> String {
    let (user, provisioner) = (ident(user), ident(PROVISIONER));
    format!("GRANT {user} TO {provisioner};\n{sql}REVOKE {user} FROM {provisioner};\n")
}

#[cfg(test)]
mod tests;
