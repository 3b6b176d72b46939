//! SQL for the server's roles that stand for database roles. A role is ours when it says so in its attributes; or, where
//! roles have none, when the provisioner made it, which makes it the one that may hand it on.

use std::collections::BTreeSet;

use access::database_user::PROVISIONER;

use super::account::OWN_ROLE;
use super::catalog::Catalog;
use super::connection::{Connection, Row};
use super::quote::{account, ident, list, literal};
use super::{listed, marked};
use crate::provision::connection::Trouble;
use crate::provision::names::ROLE_MARK;
use crate::provision::seen::{ObservedMembership, Role, Roles};

/// How the names of roles begin that stand for database roles.
pub(crate) const PREFIX: &str = "portcullis_";

/// Databases of the server's own.
pub(crate) const SYSTEM: &str = "'mysql', 'information_schema', 'performance_schema', 'sys'";

/// What the server says about these roles, and about all others that are ours.
pub(crate) async fn observe(
    connection: &Connection,
    asked: &[(String, String)],
) -> Result<Roles, Trouble> {
    let attempt = "list roles";
    let catalog = connection.catalog;
    let mut roles: Vec<Listed> =
        connection.rows(attempt, &catalog.roles()).await?.iter().map(Listed::read).collect();
    if catalog == Catalog::MariaDb {
        mark(connection, asked, &mut roles).await?;
    }
    let mappings = listed::mappings(connection, None).await?;
    let mappings: Vec<(String, String)> = mappings
        .into_iter()
        .filter(|held| held.host.is_empty())
        .map(|held| (held.member, held.role))
        .collect();
    let databases = format!(
        "SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME NOT IN ({SYSTEM})"
    );
    let databases = texts(&connection.rows(attempt, &databases).await?);
    let is_asked = |name: &String| asked.iter().any(|(asked, _)| asked == name);
    let is_ours = |role: &&Listed| role.mark.is_some() && role.name.starts_with(PREFIX);
    let ours = roles.iter().filter(|role| is_asked(&role.name) || is_ours(role));
    let ours: Vec<Role> = ours.map(|role| role.with(&mappings)).collect();
    let names: BTreeSet<&str> = ours.iter().map(|role| role.name.as_str()).collect();
    let begins = literal(&format!("'{PREFIX}"));
    let held = format!(
        "SELECT DISTINCT GRANTEE, TABLE_SCHEMA FROM information_schema.schema_privileges \
         WHERE LEFT(GRANTEE, CHAR_LENGTH({begins})) = {begins}"
    );
    let held = pairs(connection.rows(attempt, &held).await?);
    let held_in = held
        .into_iter()
        .filter(|(grantee, _)| names.iter().any(|name| *grantee == catalog.grantee_of(name)))
        .map(|(_, database)| unescaped(&database));
    Ok(Roles {
        databases: databases.into_iter().collect(),
        held_in: held_in.collect::<BTreeSet<_>>().into_iter().collect(),
        dangerous: dangerous(&roles, &mappings),
        roles: ours,
    })
}

/// A database's name from the pattern that GRANT keeps.
pub(crate) fn unescaped(pattern: &str) -> String {
    pattern.replace("\\_", "_").replace("\\%", "%").replace("\\\\", "\\")
}

/// A role as it is listed.
struct Listed {
    name: String,
    /// Whether nobody logs in as it, and it holds nothing on the server as a whole.
    plain: bool,
    mark: Option<String>,
}

impl Listed {
    fn read(row: &Row) -> Self {
        let mark = Some(row.text(2).to_owned()).filter(|mark| !mark.is_empty());
        Self { name: row.text(0).to_owned(), plain: row.says_yes(1), mark }
    }

    fn with(&self, mappings: &[(String, String)]) -> Role {
        let member_of = mappings.iter().filter(|(member, _)| *member == self.name);
        let member_of = member_of
            .map(|(_, role)| ObservedMembership { role: role.clone(), grantor: String::new() })
            .collect();
        Role { name: self.name.clone(), mark: self.mark.clone(), plain: self.plain, member_of }
    }
}

/// What the provisioner may hand on because it made it is what it was asked for, or something of before.
async fn mark(
    connection: &Connection,
    asked: &[(String, String)],
    roles: &mut [Listed],
) -> Result<(), Trouble> {
    let made = format!(
        "SELECT Role FROM mysql.roles_mapping WHERE User = {} AND Admin_option = 'Y'",
        literal(PROVISIONER)
    );
    let made: BTreeSet<String> = texts(&connection.rows("list roles", &made).await?);
    for role in roles.iter_mut().filter(|role| made.contains(&role.name)) {
        let wanted = asked.iter().find(|(asked, _)| *asked == role.name).map(|(_, mark)| mark);
        role.mark = Some(wanted.cloned().unwrap_or_else(|| ROLE_MARK.to_owned()));
    }
    Ok(())
}

/// Roles that must never be handed on: those with rights on the whole server, users' own, ours, and whatever leads to one.
fn dangerous(roles: &[Listed], mappings: &[(String, String)]) -> BTreeSet<String> {
    let named = |role: &&Listed| {
        !role.plain || role.name.starts_with(OWN_ROLE) || role.name.starts_with(PREFIX)
    };
    let mut dangerous: BTreeSet<String> =
        roles.iter().filter(named).map(|role| role.name.clone()).collect();
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
    for (name, mark) in roles {
        let sql = match connection.catalog {
            Catalog::MariaDb => format!("CREATE ROLE {}", ident(name)),
            Catalog::MySql(_) => marked::role(name, mark),
        };
        connection.run("make roles", &sql).await?;
    }
    share(connection).await
}

/// Lets the provisioner's accounts from the gateway's other addresses hand on the roles of ours that this one may: whoever
/// makes a role is the only one who may, at first.
pub(crate) async fn share(connection: &Connection) -> Result<(), Trouble> {
    let attempt = "share roles among the gateway's addresses";
    let hosts = connection.hosts();
    // MySQL's provisioner may hand on whatever there is.
    if hosts.len() < 2 || connection.catalog != Catalog::MariaDb {
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
    let quoted = |name: &str| connection.catalog.role(name);
    let name = quoted(&role.name);
    let gone = held.difference(wanted).map(|gone| format!("REVOKE {} FROM {name}", quoted(gone)));
    let new = wanted.difference(&held).map(|new| format!("GRANT {} TO {name}", quoted(new)));
    let sql: Vec<String> = gone.chain(new).collect();
    connection.run_all("hand on roles", &sql).await
}

/// Removes a role, with all that it holds.
pub(crate) async fn drop(connection: &Connection, name: &str) -> Result<(), Trouble> {
    connection.run("drop a role", &format!("DROP ROLE {}", connection.catalog.role(name))).await
}
