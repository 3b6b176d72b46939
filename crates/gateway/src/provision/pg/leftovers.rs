//! What a user leaves behind when its last role ends: owned objects go to the schema's owner, privileges of its own
//! go, prepared transactions are named.

use serde::Deserialize;
use tokio_postgres::types::Type;

use super::connection::Connection;
use super::enrolment::OWNER_ROLE;
use super::quote::{ident, literal};
use crate::provision::connection::Trouble;
use crate::provision::seen::{Places, Prepared};

const PLACES: &str = "\
SELECT json_build_object(
  'databases', (SELECT coalesce(json_agg(DISTINCT coalesce(d.datname, current_database())), '[]')
    FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
    WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1 AND s.deptype <> 'i'
      AND s.classid <> 'pg_auth_members'::regclass),
  'prepared', (SELECT coalesce(json_agg(json_build_object('gid', p.gid, 'database', p.database)), '[]')
    FROM pg_prepared_xacts p JOIN pg_roles r ON r.rolname = p.owner WHERE r.oid = $1))::text";

/// Where the user has something.
pub(crate) async fn places(connection: &Connection, oid: u32) -> Result<Places, Trouble> {
    connection.ask("say what a user owns", PLACES, &[(&oid, Type::OID)]).await
}

/// Rolls a prepared transaction back as the user, whose rights the provisioner must hold meanwhile. Each statement stands
/// alone: this one cannot be part of a transaction.
pub(crate) async fn roll_back(
    connection: &Connection,
    user: &str,
    prepared: &Prepared,
) -> Result<(), Trouble> {
    let attempt = "roll a prepared transaction back";
    connection.run(attempt, &["SET ROLE ", &ident(user)].concat()).await?;
    connection.run(attempt, &["ROLLBACK PREPARED ", &literal(&prepared.gid)].concat()).await
}

/// One owned object that goes to its schema's owner.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Owned {
    /// As `ALTER` names the type.
    r#type: String,
    /// As the server itself writes and quotes it.
    identity: String,
    /// The schema's owner; `portcullis_owner` where that is a superuser.
    owner: String,
    /// Whether it moves by itself: the rest goes with `REASSIGN OWNED`.
    movable: bool,
    /// Whether it runs with its owner's rights: a function that says so.
    definer: bool,
    /// Rules other than a view's own query: they, too, run with the owner's rights.
    rules: Vec<String>,
}

const OWNED: &str = "\
SELECT coalesce(json_agg(json_build_object('type', i.type, 'identity', i.identity,
    'owner', CASE WHEN o.rolsuper OR o.rolname IS NULL THEN $2 ELSE o.rolname END,
    'movable', o.rolname IS NOT NULL AND i.type IN ('table', 'view', 'materialized view', 'foreign table',
      'sequence', 'function', 'procedure', 'aggregate', 'type', 'domain', 'operator', 'operator class',
      'operator family', 'collation', 'conversion', 'text search dictionary', 'text search configuration'),
    'definer', coalesce((SELECT f.prosecdef FROM pg_proc f
      WHERE s.classid = 'pg_proc'::regclass AND f.oid = s.objid), false),
    'rules', (SELECT coalesce(json_agg(w.rulename ORDER BY w.rulename), '[]') FROM pg_rewrite w
      WHERE s.classid = 'pg_class'::regclass AND w.ev_class = s.objid AND w.ev_type <> '1')) ORDER BY i.type = 'sequence', i.identity),
    '[]')::text
FROM pg_shdepend s
JOIN pg_database d ON d.datname = current_database()
CROSS JOIN LATERAL pg_identify_object(s.classid, s.objid, s.objsubid) i
LEFT JOIN pg_namespace n ON quote_ident(n.nspname) = i.schema
LEFT JOIN pg_roles p ON p.oid = n.nspowner
LEFT JOIN pg_roles o ON o.oid = CASE WHEN p.rolname = 'pg_database_owner' THEN d.datdba ELSE p.oid END
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1 AND s.deptype = 'o' AND s.dbid IN (d.oid, 0)
  AND s.classid <> 'pg_default_acl'::regclass AND s.classid <> 'pg_auth_members'::regclass
  AND NOT EXISTS (SELECT FROM pg_depend l WHERE l.classid = s.classid AND l.objid = s.objid
    AND s.classid = 'pg_class'::regclass AND l.deptype IN ('a', 'i') AND l.refclassid = 'pg_class'::regclass)";

/// Moves what the user owns in this database and takes its privileges there, as one; what was moved, in words. The
/// provisioner must hold the user's rights meanwhile.
pub(crate) async fn hand_over(
    connection: &Connection,
    user: &str,
    oid: u32,
) -> Result<Vec<String>, Trouble> {
    let parameters: [super::connection::Parameter<'_>; 2] =
        [(&oid, Type::OID), (&OWNER_ROLE, Type::TEXT)];
    let owned: Vec<Owned> =
        connection.ask("say what a user owns in a database", OWNED, &parameters).await?;
    let mut sql: String = owned.iter().flat_map(Owned::without_rules).collect();
    for object in owned.iter().filter(|object| object.movable) {
        let owner = ident(&object.owner);
        sql.extend(object.harmless(connection.version).map(|change| object.alter(change)));
        sql.push_str(&object.alter(&["OWNER TO ", &owner].concat()));
    }
    if owned.iter().any(|object| !object.movable) {
        let statement = ["REASSIGN OWNED BY ", &ident(user), " TO ", &ident(OWNER_ROLE), ";\n"];
        sql.push_str(&statement.concat());
    }
    sql.push_str(&["DROP OWNED BY ", &ident(user), ";\n"].concat());
    connection.run("move what a user leaves behind", &sql).await?;
    Ok(owned.iter().flat_map(|object| object.told(connection.version)).collect())
}

impl Owned {
    /// The identity comes from the server, quoted by it.
    fn alter(&self, change: &str) -> String {
        ["ALTER ", &self.r#type.to_uppercase(), " ", &self.identity, " ", change, ";\n"].concat()
    }

    /// What must change before it moves: with the new owner's rights it could do more than whoever wrote it might.
    fn harmless(&self, version: u32) -> Option<&'static str> {
        match self.r#type.as_str() {
            "function" | "procedure" if self.definer => Some("SECURITY INVOKER"),
            "view" if version >= SECURITY_INVOKER_VIEWS_SINCE => {
                Some("SET (security_invoker = true)")
            }
            _ => None,
        }
    }

    /// With the new owner's rights a rule could do more than whoever wrote it might.
    fn without_rules(&self) -> impl Iterator<Item = String> {
        let drop = |rule| ["DROP RULE ", &ident(rule), " ON ", &self.identity, ";\n"].concat();
        self.rules.iter().map(move |rule| drop(rule))
    }

    fn told(&self, version: u32) -> Vec<String> {
        let what = match self.harmless(version) {
            Some(_) => format!("{self} and runs with its caller's rights now"),
            None if self.r#type == "view" => {
                format!(
                    "{self} and still reads with its owner's rights, which are the new one's now"
                )
            }
            None => self.to_string(),
        };
        let rules = self.rules.iter().map(|rule| {
            format!(
                "rule {rule} on {}, which ran with its owner's rights, was dropped",
                self.identity
            )
        });
        std::iter::once(what).chain(rules).collect()
    }
}

/// Before PostgreSQL 15 every view reads with its owner's rights.
const SECURITY_INVOKER_VIEWS_SINCE: u32 = 150_000;

impl std::fmt::Display for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} went to {}", self.r#type, self.identity, self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_runs_with_its_owners_rights_is_said_and_rules_go() {
        let view = Owned {
            r#type: "view".to_owned(),
            identity: "public.mine".to_owned(),
            owner: "orders_owner".to_owned(),
            movable: true,
            definer: false,
            rules: vec!["a \"trap\"".to_owned()],
        };
        let rule = "rule a \"trap\" on public.mine, which ran with its owner's rights, was dropped";
        assert_eq!(
            view.told(140_000),
            [
                "view public.mine went to orders_owner and still reads with its owner's rights, which are the new one's now",
                rule,
            ]
        );
        assert_eq!(
            view.told(150_000),
            ["view public.mine went to orders_owner and runs with its caller's rights now", rule]
        );
        let dropped: Vec<String> = view.without_rules().collect();
        assert_eq!(dropped, ["DROP RULE \"a \"\"trap\"\"\" ON public.mine;\n"]);
    }
}
