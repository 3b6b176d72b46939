//! SQL for the server's roles that stand for database roles. A role is ours when the provisioner made it, which makes it
//! the one that may hand it on.

use std::collections::BTreeSet;

use access::database_user::PROVISIONER;

use super::account::OWN_ROLE;
use super::connection::{Connection, Row};
use super::quote::{account, ident, list, literal};
use crate::provision::connection::Trouble;
use crate::provision::names::ROLE_MARK;
use crate::provision::seen::{ObservedMembership, Role, Roles};

/// How the names of roles begin that stand for database roles.
pub(crate) const PREFIX: &str = "portcullis_";

/// Databases of the server's own.
pub(crate) const SYSTEM: &str = "'mysql', 'information_schema', 'performance_schema', 'sys'";

/// All roles, and whether each holds nothing on the server as a whole.
pub(crate) const ROLES: &str = "\
SELECT User, JSON_VALUE(Priv, '$.access') = 0 FROM mysql.global_priv
WHERE Host = '' AND JSON_VALUE(Priv, '$.is_role') = 1";

const MAPPINGS: &str = "SELECT User, Role FROM mysql.roles_mapping WHERE Host = ''";

/// What the server says about these roles, and about all others that are ours.
pub(crate) async fn observe(
    connection: &Connection,
    asked: &[(String, String)],
) -> Result<Roles, Trouble> {
    let attempt = "list roles";
    let roles = connection.rows(attempt, ROLES).await?;
    let mappings = pairs(connection.rows(attempt, MAPPINGS).await?);
    let made = format!(
        "SELECT Role FROM mysql.roles_mapping WHERE User = {} AND Admin_option = 'Y'",
        literal(PROVISIONER)
    );
    let made: BTreeSet<String> = texts(&connection.rows(attempt, &made).await?);
    let databases = format!(
        "SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME NOT IN ({SYSTEM})"
    );
    let databases = texts(&connection.rows(attempt, &databases).await?);
    let ours: Vec<Role> =
        roles.iter().filter_map(|row| role(row, asked, &made, &mappings)).collect();
    let names: BTreeSet<&str> = ours.iter().map(|role| role.name.as_str()).collect();
    let held = "SELECT DISTINCT GRANTEE, TABLE_SCHEMA FROM information_schema.schema_privileges \
                WHERE GRANTEE LIKE '%@'''''";
    let held = pairs(connection.rows(attempt, held).await?);
    let held_in = held
        .into_iter()
        .filter(|(grantee, _)| names.iter().any(|name| *grantee == grantee_of(name)))
        .map(|(_, database)| unescaped(&database));
    Ok(Roles {
        databases: databases.into_iter().collect(),
        held_in: held_in.collect::<BTreeSet<_>>().into_iter().collect(),
        dangerous: dangerous(&roles, &mappings),
        roles: ours,
    })
}

/// A role as the views of privileges name it.
pub(crate) fn grantee_of(role: &str) -> String {
    format!("'{role}'@''")
}

/// A database's name from the pattern that GRANT keeps.
pub(crate) fn unescaped(pattern: &str) -> String {
    pattern.replace("\\_", "_").replace("\\%", "%").replace("\\\\", "\\")
}

fn role(
    row: &Row,
    asked: &[(String, String)],
    made: &BTreeSet<String>,
    mappings: &[(String, String)],
) -> Option<Role> {
    let name = row.text(0).to_owned();
    let wanted = asked.iter().find(|(asked, _)| *asked == name).map(|(_, mark)| mark);
    let mark = match wanted {
        Some(mark) => made.contains(&name).then(|| mark.clone()),
        None if name.starts_with(PREFIX) && made.contains(&name) => Some(ROLE_MARK.to_owned()),
        None => return None,
    };
    let member_of = mappings.iter().filter(|(member, _)| *member == name);
    let member_of = member_of
        .map(|(_, role)| ObservedMembership { role: role.clone(), grantor: String::new() })
        .collect();
    Some(Role { name, mark, plain: row.says_yes(1), member_of })
}

/// Roles that must never be handed on: those with rights on the whole server, users' own, ours, and whatever leads to one.
fn dangerous(roles: &[Row], mappings: &[(String, String)]) -> BTreeSet<String> {
    let named = |row: &&Row| {
        let name = row.text(0);
        !row.says_yes(1) || name.starts_with(OWN_ROLE) || name.starts_with(PREFIX)
    };
    let mut dangerous: BTreeSet<String> =
        roles.iter().filter(named).map(|row| row.text(0).to_owned()).collect();
    loop {
        let before = dangerous.len();
        let led = mappings.iter().filter(|(_, role)| dangerous.contains(role));
        let led: Vec<String> = led.map(|(member, _)| member.clone()).collect();
        dangerous.extend(led);
        if dangerous.len() == before {
            return dangerous;
        }
    }
}

fn texts(rows: &[Row]) -> BTreeSet<String> {
    rows.iter().map(|row| row.text(0).to_owned()).collect()
}

fn pairs(rows: Vec<Row>) -> Vec<(String, String)> {
    rows.into_iter().map(|row| (row.text(0).to_owned(), row.text(1).to_owned())).collect()
}

/// Makes roles that nobody logs in as.
pub(crate) async fn create(
    connection: &Connection,
    roles: &[(String, String)],
) -> Result<(), Trouble> {
    for (name, _) in roles {
        connection.run("make roles", &format!("CREATE ROLE {}", ident(name))).await?;
    }
    share(connection).await
}

/// Lets the provisioner's accounts from the gateway's other addresses hand on the roles of ours that this one may: whoever
/// makes a role is the only one who may, at first.
pub(crate) async fn share(connection: &Connection) -> Result<(), Trouble> {
    let attempt = "share roles among the gateway's addresses";
    let hosts = connection.hosts();
    if hosts.len() < 2 {
        return Ok(());
    }
    let sql = format!(
        "SELECT mine.Role, other.Host FROM mysql.roles_mapping AS mine JOIN mysql.global_priv AS other \
         ON other.User = mine.User AND other.Host <> mine.Host \
         WHERE CONCAT(mine.User, '@', mine.Host) = CURRENT_USER() AND mine.Admin_option = 'Y' \
         AND other.Host IN ({}) AND NOT EXISTS (SELECT 1 FROM mysql.roles_mapping AS theirs \
         WHERE theirs.User = other.User AND theirs.Host = other.Host AND theirs.Role = mine.Role \
         AND theirs.Admin_option = 'Y')",
        list(hosts.iter().map(String::as_str))
    );
    let missing = pairs(connection.rows(attempt, &sql).await?);
    let ours =
        |(role, _): &(String, String)| role.starts_with(PREFIX) || role.starts_with(OWN_ROLE);
    for (role, host) in missing.into_iter().filter(ours) {
        let who = account(PROVISIONER, &host);
        let sql = format!("GRANT {} TO {who} WITH ADMIN OPTION", ident(&role));
        connection.run(attempt, &sql).await?;
    }
    Ok(())
}

/// Makes a role a member of exactly these.
pub(crate) async fn settle(
    connection: &Connection,
    role: &Role,
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let held: BTreeSet<String> = role.member_of.iter().map(|held| held.role.clone()).collect();
    let name = ident(&role.name);
    let gone = held.difference(wanted).map(|gone| format!("REVOKE {} FROM {name}", ident(gone)));
    let new = wanted.difference(&held).map(|new| format!("GRANT {} TO {name}", ident(new)));
    let sql: Vec<String> = gone.chain(new).collect();
    connection.run_all("hand on roles", &sql).await
}

/// Removes a role, with all that it holds.
pub(crate) async fn drop(connection: &Connection, name: &str) -> Result<(), Trouble> {
    connection.run("drop a role", &format!("DROP ROLE {}", ident(name))).await
}
