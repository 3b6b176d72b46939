//! SQL for one login user.

use std::collections::BTreeSet;

use access::database_user::PROVISIONER;
use tokio_postgres::types::Type;

use super::connection::Connection;
use super::quote::{ident, literal};
use crate::provision::connection::Trouble;
use crate::provision::plan::Attributes;
use crate::provision::seen::{Backends, ObservedMembership, ObservedUser, WantedUser};

/// Takes away what someone gave by hand. What is not there is not spoken of: from PostgreSQL 16 on only those who have
/// CREATEDB may say NOCREATEDB.
fn without_attributes(observed: &ObservedUser) -> String {
    let given = [(observed.create_db, " NOCREATEDB"), (observed.create_role, " NOCREATEROLE")];
    given.into_iter().filter_map(|(given, word)| given.then_some(word)).collect()
}

/// Whether the provisioner can take a membership away: from PostgreSQL 16 on each belongs to whoever granted it.
pub(crate) fn within_reach(held: &ObservedMembership, connection: &Connection) -> bool {
    connection.superuser || connection.version < 160_000 || held.grantor == PROVISIONER
}

const OBSERVE: &str = "\
SELECT coalesce((SELECT json_build_object('oid', r.oid::int8, 'login', r.rolcanlogin, 'superuser', r.rolsuper,
    'replication', r.rolreplication, 'create_role', r.rolcreaterole, 'create_db', r.rolcreatedb,
    'bypass_rls', r.rolbypassrls, 'mark', shobj_description(r.oid, 'pg_authid'),
    'memberships', (SELECT coalesce(json_agg(json_build_object('role', g.rolname, 'grantor', o.rolname)), '[]')
      FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles o ON o.oid = m.grantor
      WHERE m.member = r.oid))
  FROM pg_roles r WHERE r.rolname = $1), 'null')::text";

/// A role of this name, when there is one.
pub(crate) async fn observe(
    connection: &Connection,
    user: &str,
) -> Result<Option<ObservedUser>, Trouble> {
    connection.ask("describe a user", OBSERVE, &[(&user, Type::TEXT)]).await
}

/// The statements that make a login user what it must be.
pub(crate) fn enable(
    wanted: &WantedUser<'_>,
    observed: Option<&ObservedUser>,
    connection: &Connection,
) -> String {
    let user = ident(wanted.user);
    let limit = wanted.connections_max.map_or(-1, i64::from);
    let mut sql = match observed {
        None => {
            format!(
                "CREATE ROLE {user} LOGIN INHERIT NOCREATEDB NOCREATEROLE PASSWORD NULL CONNECTION LIMIT {limit};\n{}",
                mark(wanted.user, wanted.mark)
            )
        }
        Some(observed) => format!(
            "ALTER ROLE {user} LOGIN INHERIT{} PASSWORD NULL CONNECTION LIMIT {limit} \
             VALID UNTIL 'infinity';\n",
            without_attributes(observed)
        ),
    };
    if connection.superuser {
        sql.push_str(&attributes(wanted.user, wanted.attributes));
    }
    let memberships = observed.map(|observed| observed.memberships.as_slice()).unwrap_or_default();
    let extra = memberships.iter().filter(|held| !wanted.roles.contains(&held.role));
    for held in extra.filter(|held| within_reach(held, connection)) {
        sql.push_str(&revoke(wanted.user, held, connection.version));
    }
    for role in &wanted.roles {
        sql.push_str(&grant(wanted.user, role, connection.version));
    }
    sql
}

/// Ends every session of a user and then its rights: no login, no password, no membership, no settings of its own. The
/// sessions go first, because an open transaction of the user's can hold a lock on the user itself.
pub(crate) fn disable(user: &str, observed: &ObservedUser, connection: &Connection) -> String {
    let name = ident(user);
    let oid = observed.oid;
    let mut sql = format!(
        "SET LOCAL lock_timeout = '{DISABLE_LOCK_MILLISECONDS_MAX}ms';\n\
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = {oid};\n\
         ALTER ROLE {name} NOLOGIN{} PASSWORD NULL;\nALTER ROLE {name} RESET ALL;\n",
        without_attributes(observed)
    );
    if connection.superuser {
        sql.push_str(&attributes(user, Attributes::default()));
    }
    sql.push_str(&revoke_all(user, observed, connection));
    sql
}

/// A lock that a dying session held is free by then; only a prepared transaction holds one for longer.
const DISABLE_LOCK_MILLISECONDS_MAX: u32 = 1_000;

/// The part of [`disable`] that no lock of the user's can hold up.
pub(crate) fn revoke_all(user: &str, observed: &ObservedUser, connection: &Connection) -> String {
    let held = observed.memberships.iter().filter(|held| within_reach(held, connection));
    let revoked: Vec<String> = held.map(|held| revoke(user, held, connection.version)).collect();
    revoked.concat()
}

/// The statement that marks a login user as a record's.
pub(crate) fn mark(user: &str, mark: &str) -> String {
    format!("COMMENT ON ROLE {} IS {};\n", ident(user), literal(mark))
}

/// The statement that leaves a login user without a password.
pub(crate) fn forget_password(user: &str) -> String {
    format!("ALTER ROLE {} PASSWORD NULL;\n", ident(user))
}

/// The statements that take some roles away and give others.
pub(crate) fn change(
    user: &str,
    observed: &ObservedUser,
    wanted: &BTreeSet<String>,
    connection: &Connection,
) -> String {
    let gone = observed
        .memberships
        .iter()
        .filter(|held| !wanted.contains(&held.role) && within_reach(held, connection));
    let mut sql: Vec<String> = gone.map(|held| revoke(user, held, connection.version)).collect();
    let held: BTreeSet<&String> = observed.memberships.iter().map(|held| &held.role).collect();
    let new = wanted.iter().filter(|role| !held.contains(role));
    sql.extend(new.map(|role| grant(user, role, connection.version)));
    sql.concat()
}

/// Only a superuser may speak of these attributes at all, and only a test stack's provisioner is one.
pub(crate) fn attributes(user: &str, attributes: Attributes) -> String {
    let word = |set: bool, word: &str| if set { word.to_owned() } else { format!("NO{word}") };
    format!(
        "ALTER ROLE {} {} {} NOBYPASSRLS;\n",
        ident(user),
        word(attributes.superuser, "SUPERUSER"),
        word(attributes.replication, "REPLICATION")
    )
}

/// By INHERIT and never through `SET ROLE`: from PostgreSQL 16 on the server itself can be told so.
pub(crate) fn grant(user: &str, role: &str, version: u32) -> String {
    let options = if version >= 160_000 { " WITH INHERIT TRUE, SET FALSE" } else { "" };
    format!("GRANT {} TO {}{options};\n", ident(role), ident(user))
}

/// Takes one membership away; from PostgreSQL 16 on it belongs to whoever granted it.
pub(crate) fn revoke(user: &str, held: &ObservedMembership, version: u32) -> String {
    let by = if version >= 160_000 {
        format!(" GRANTED BY {} CASCADE", ident(&held.grantor))
    } else {
        String::new()
    };
    format!("REVOKE {} FROM {}{by};\n", ident(&held.role), ident(user))
}

/// Lets the provisioner act on what a user owns, for a moment. A superuser needs no membership.
pub(crate) fn enter(user: &str, connection: &Connection) -> String {
    match (connection.superuser, connection.version >= 160_000) {
        (true, _) => String::new(),
        (false, true) => {
            format!(
                "GRANT {} TO {} WITH INHERIT TRUE, SET TRUE;\n",
                ident(user),
                ident(PROVISIONER)
            )
        }
        (false, false) => format!("GRANT {} TO {};\n", ident(user), ident(PROVISIONER)),
    }
}

/// Takes [`enter`] back.
pub(crate) fn leave(user: &str, connection: &Connection) -> String {
    match (connection.superuser, connection.version >= 160_000) {
        (true, _) => String::new(),
        (false, true) => {
            let (user, provisioner) = (ident(user), ident(PROVISIONER));
            format!("REVOKE {user} FROM {provisioner} GRANTED BY {provisioner};\n")
        }
        (false, false) => format!("REVOKE {} FROM {};\n", ident(user), ident(PROVISIONER)),
    }
}

const NOW: &str = "SELECT to_json(clock_timestamp()::text)::text";

/// The server's own clock.
pub(crate) async fn server_now(connection: &Connection) -> Result<String, Trouble> {
    connection.ask("tell the time", NOW, &[]).await
}

const TERMINATE: &str = "\
SELECT to_json(count(*) FILTER (WHERE pg_terminate_backend(pid)))::text FROM pg_stat_activity
WHERE usesysid = $1 AND ($2 = '' OR backend_start < $2::timestamptz)";

const COUNT: &str = "\
SELECT to_json(count(*))::text FROM pg_stat_activity
WHERE usesysid = $1 AND ($2 = '' OR backend_start < $2::timestamptz)";

/// Ends backends; how many were told to.
pub(crate) async fn terminate(
    connection: &Connection,
    oid: u32,
    which: &Backends,
) -> Result<u64, Trouble> {
    backends(connection, "end backends", TERMINATE, (oid, which)).await
}

/// How many backends are left.
pub(crate) async fn count(
    connection: &Connection,
    oid: u32,
    which: &Backends,
) -> Result<u64, Trouble> {
    backends(connection, "count backends", COUNT, (oid, which)).await
}

async fn backends(
    connection: &Connection,
    attempt: &'static str,
    question: &str,
    (oid, which): (u32, &Backends),
) -> Result<u64, Trouble> {
    let before = match which {
        Backends::All => "",
        Backends::Before(instant) => instant.as_str(),
    };
    connection.ask(attempt, question, &[(&oid, Type::OID), (&before, Type::TEXT)]).await
}

const TERMINATE_EACH: &str = "\
SELECT coalesce(json_agg(a.pid), '[]')::text FROM pg_stat_activity a
JOIN unnest($1::int4[], $2::text[]) AS w(pid, usename) ON a.pid = w.pid AND a.usename = w.usename
WHERE pg_terminate_backend(a.pid)";

/// Ends these backends, each if it is the user's beside it; which there were.
pub(crate) async fn terminate_each(
    connection: &Connection,
    backends: &[(&str, u32)],
) -> Result<Vec<u32>, Trouble> {
    let pid = |(_, pid): &(&str, u32)| i32::try_from(*pid).unwrap_or_default();
    let pids: Vec<i32> = backends.iter().map(pid).collect();
    let users: Vec<&str> = backends.iter().map(|(user, _)| *user).collect();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&pids, Type::INT4_ARRAY), (&users, Type::TEXT_ARRAY)];
    connection.ask("end backends", TERMINATE_EACH, &parameters).await
}
