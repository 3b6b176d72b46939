//! How a server is asked for what no resource explains.

use access::database_user::PROVISIONER;

use super::account::{self, OWN_ROLE};
use super::catalog::Which;
use super::connection::Connection;
use super::leftovers::DEFINED;
use super::listed::{self, Account, Mapping};
use super::quote::{common_name, list, literal};
use super::role::{PREFIX, SYSTEM};
use super::weakness;
use crate::provision::connection::Trouble;
use crate::provision::drift::found::{InDatabase, Observed, User};

/// Whoever is given a role by a setting of the server's.
const EVERYBODY: &str = "everybody (`mandatory_roles`)";

/// What the server says of these users and of everyone else who can log in.
pub(crate) async fn observe(
    connection: &Connection,
    users: &[String],
) -> Result<Observed, Trouble> {
    let mappings = listed::mappings(connection, None).await?;
    let accounts = listed::accounts(connection, Which::Everyone, &mappings).await?;
    let hosts = connection.hosts();
    let ours = |one: &Account| {
        let is_marked = one.own.is_some() || one.mark.is_some();
        users.contains(&one.user) && (hosts.contains(&one.host) || is_marked)
    };
    let issuer = common_name(&connection.accounts.issuer);
    let mut seen: Vec<User> = Vec::new();
    for one in &accounts {
        let user = user(one, ours(one), (&issuer, &hosts, &mappings));
        match seen.iter_mut().find(|known| known.name == user.name) {
            Some(known) => merge(known, user),
            None => seen.push(user),
        }
    }
    let passwords = accounts.iter().filter(|one| ours(one) && one.password);
    let mut strangers = strangers(&mappings, users, &hosts);
    strangers.extend(mandatory(connection).await?);
    Ok(Observed {
        users: seen,
        passwords: Some(passwords.map(|one| one.user.clone()).collect()),
        admission: Some(admission(connection, &accounts).await?),
        open_databases: open_databases(connection).await?,
        strangers,
        direct: direct(connection, users).await?,
    })
}

fn user(
    one: &Account,
    ours: bool,
    (issuer, hosts, mappings): (&str, &[String], &[Mapping]),
) -> User {
    let (name, host) = (&one.user, &one.host);
    let mark = one.mark.clone().filter(|_| ours);
    let login = !one.locked;
    User {
        // An account of the same name from elsewhere is somebody else.
        name: if ours || name == PROVISIONER { name.clone() } else { format!("{name}@{host}") },
        oid: mark.as_deref().map(account::number).unwrap_or_default(),
        login,
        bootstrap: one.bootstrap,
        superuser: one.superuser,
        attributes: one.global,
        member_of: if ours { one.memberships(mappings) } else { one.roles.clone() },
        // Of an authority that does not sign any more, from an address of before, or without all that its roles give it.
        stale: mark.is_some()
            && (!hosts.contains(host) || (login && (one.issuer != issuer || !one.begins_with_all))),
        unguarded: login && mark.is_some() && (!one.by_subject || one.subject != common_name(name)),
        mark,
        entered: false,
    }
}

/// Roles that a setting gives to everybody, ours too.
async fn mandatory(connection: &Connection) -> Result<Vec<(String, String)>, Trouble> {
    let Some(sql) = connection.catalog.mandatory_roles() else { return Ok(Vec::new()) };
    let rows = connection.rows("say which roles everybody is given", sql).await?;
    let given = rows.first().map(|row| row.text(0).to_owned()).unwrap_or_default();
    let given = given.split(',').map(str::trim).filter(|role| !role.is_empty());
    Ok(given.map(|role| (role.to_owned(), EVERYBODY.to_owned())).collect())
}

/// Accounts of one user of ours, from several addresses of the gateway's.
fn merge(known: &mut User, other: User) {
    known.login |= other.login;
    known.superuser |= other.superuser;
    known.attributes |= other.attributes;
    known.stale |= other.stale;
    known.unguarded |= other.unguarded;
    known.member_of.extend(other.member_of);
    if known.mark != other.mark {
        known.mark = None;
    }
}

/// Ways in that are wider than one address, or without TLS.
async fn admission(connection: &Connection, accounts: &[Account]) -> Result<Vec<String>, Trouble> {
    let wide = accounts.iter().filter(|one| !one.locked && weakness::is_wide(&one.host));
    let mut lines: Vec<String> = wide.map(|one| weakness::wide(&one.user, &one.host)).collect();
    let rows =
        connection.rows("say whether TLS is required", "SELECT @@require_secure_transport").await?;
    if !rows.first().is_some_and(|row| row.says_yes(0)) {
        lines.push("require_secure_transport is off".to_owned());
    }
    Ok(lines)
}

async fn open_databases(connection: &Connection) -> Result<Vec<String>, Trouble> {
    let sql = "SELECT DISTINCT Db FROM mysql.db WHERE User = '' OR User = 'PUBLIC' ORDER BY Db";
    let rows = connection.rows("list databases that are open to everyone", sql).await?;
    Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
}

/// Members of roles that are ours, and are not.
fn strangers(mappings: &[Mapping], users: &[String], hosts: &[String]) -> Vec<(String, String)> {
    let strange = mappings.iter().filter(|Mapping { member, host, role }| {
        let of_ours = role.starts_with(PREFIX) || role.starts_with(OWN_ROLE);
        let by_us = member == PROVISIONER
            || (host.is_empty() && member.starts_with(OWN_ROLE))
            || account::mark(member, role).is_some()
            || (users.contains(member) && hosts.contains(host));
        of_ours && !by_us
    });
    strange.map(|held| (held.role.clone(), held.member.clone())).collect()
}

/// Privileges that accounts of users of ours hold themselves.
async fn direct(
    connection: &Connection,
    users: &[String],
) -> Result<Vec<(String, String)>, Trouble> {
    let users = list(users.iter().map(String::as_str));
    let sql = format!(
        "SELECT DISTINCT User, Db FROM (SELECT User, Host, Db FROM mysql.db \
         UNION ALL SELECT User, Host, Db FROM mysql.tables_priv \
         UNION ALL SELECT User, Host, Db FROM mysql.columns_priv \
         UNION ALL SELECT User, Host, Db FROM mysql.procs_priv) AS held \
         WHERE Host <> '' AND BINARY User IN ({users}) ORDER BY User, Db"
    );
    let rows = connection.rows("list privileges of users", &sql).await?;
    Ok(rows.iter().map(|row| (row.text(0).to_owned(), row.text(1).to_owned())).collect())
}

/// What users of ours did in a database: what they defined there runs with their rights. Nobody of them can grant.
pub(crate) async fn in_database(
    connection: &Connection,
    database: &str,
    users: &[String],
) -> Result<InDatabase, Trouble> {
    let sql = format!(
        "SELECT definer, CONCAT(what, ' ', name) FROM ({DEFINED}) AS all_of_them \
         WHERE runs AND d = {} AND d NOT IN ({SYSTEM}) ORDER BY 1, 2",
        literal(database)
    );
    let rows = connection.rows("say what users made in a database", &sql).await?;
    let definers = rows.iter().filter_map(|row| {
        let user = users.iter().find(|user| account::defines(user, row.text(0)))?;
        Some((user.clone(), row.text(1).to_owned()))
    });
    Ok(InDatabase { definers: definers.collect(), granted: Vec::new() })
}
