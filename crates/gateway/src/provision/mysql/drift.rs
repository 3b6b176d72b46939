//! How a server is asked for what no resource explains.

use std::collections::BTreeSet;

use access::database_user::PROVISIONER;

use super::account::{self, OWN_ROLE};
use super::connection::{Connection, Row};
use super::leftovers::DEFINED;
use super::quote::{common_name, list, literal};
use super::role::{PREFIX, SYSTEM};
use super::weakness;
use crate::provision::connection::Trouble;
use crate::provision::drift::found::{InDatabase, Observed, User};

/// Who could come in with what. An account of this host that only its unix socket lets in is the server's own.
fn accounts() -> String {
    let password = weakness::password();
    format!(
        "SELECT g.User, g.Host, JSON_VALUE(Priv, '$.account_locked'), u.Super_priv, \
         JSON_VALUE(Priv, '$.access') <> 0, u.default_role, {password}, \
         g.Host = 'localhost' AND NOT {password} \
         AND ({} OR JSON_VALUE(Priv, '$.authentication_string') = 'invalid'), \
         COALESCE(JSON_VALUE(Priv, '$.x509_issuer'), ''), COALESCE(JSON_VALUE(Priv, '$.x509_subject'), ''), \
         COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0) \
         FROM mysql.global_priv g JOIN mysql.user u ON u.Host = g.Host AND u.User = g.User \
         WHERE COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) = 0 ORDER BY g.User, g.Host",
        weakness::SOCKET
    )
}

/// `ssl_type` of an account that names the certificate that opens it.
const BY_SUBJECT: u64 = 3;

const MAPPINGS: &str = "SELECT User, Host, Role FROM mysql.roles_mapping";

/// What the server says of these users and of everyone else who can log in.
pub(crate) async fn observe(
    connection: &Connection,
    users: &[String],
) -> Result<Observed, Trouble> {
    let attempt = "list who can log in";
    let accounts = connection.rows(attempt, &accounts()).await?;
    let mappings = connection.rows(attempt, MAPPINGS).await?;
    let hosts = connection.hosts();
    let ours = |row: &Row| {
        let (user, host) = (row.text(0), row.text(1));
        users.iter().any(|known| known == user)
            && (hosts.iter().any(|known| known == host) || own_of(row, &mappings).is_some())
    };
    let issuer = common_name(&connection.accounts.issuer);
    let mut seen: Vec<User> = Vec::new();
    for row in &accounts {
        let user = user(row, ours(row), (&issuer, &hosts, &mappings));
        match seen.iter_mut().find(|known| known.name == user.name) {
            Some(known) => merge(known, user),
            None => seen.push(user),
        }
    }
    let passwords = accounts.iter().filter(|row| ours(row) && row.says_yes(6));
    Ok(Observed {
        users: seen,
        passwords: Some(passwords.map(|row| row.text(0).to_owned()).collect()),
        admission: Some(admission(connection, &accounts).await?),
        open_databases: open_databases(connection).await?,
        strangers: strangers(&mappings, users, &hosts),
        direct: direct(connection, users).await?,
    })
}

fn roles_of(member: &str, from: &str, mappings: &[Row]) -> BTreeSet<String> {
    let held = mappings.iter().filter(|held| held.text(0) == member && held.text(1) == from);
    held.map(|held| held.text(2).to_owned()).collect()
}

fn own_of(row: &Row, mappings: &[Row]) -> Option<String> {
    let (name, host, default_role) = (row.text(0), row.text(1), row.text(5));
    account::own_of(name, default_role, &roles_of(name, host, mappings))
}

fn user(row: &Row, ours: bool, (issuer, hosts, mappings): (&str, &[String], &[Row])) -> User {
    let (name, host) = (row.text(0), row.text(1));
    let own = own_of(row, mappings).filter(|_| ours);
    let mark = own.as_deref().and_then(|own| account::mark(name, own));
    let mut member_of = roles_of(name, host, mappings);
    if let Some(own) = &own {
        member_of.remove(own);
        member_of.extend(roles_of(own, "", mappings));
    }
    let login = !row.says_yes(2);
    let from_here = hosts.iter().any(|known| known == host);
    User {
        // An account of the same name from elsewhere is somebody else.
        name: if ours || name == PROVISIONER { name.to_owned() } else { format!("{name}@{host}") },
        oid: mark.as_deref().map(account::number).unwrap_or_default(),
        login,
        bootstrap: row.says_yes(7),
        superuser: row.says_yes(3),
        attributes: row.says_yes(4),
        member_of,
        // Of an authority that does not sign any more, from an address of before, or without the role that gives it all.
        stale: own.as_deref().is_some_and(|own| {
            !from_here || (login && (row.text(8) != issuer || row.text(5) != own))
        }),
        unguarded: login
            && mark.is_some()
            && (row.number(10) != BY_SUBJECT || row.text(9) != common_name(name)),
        mark,
        entered: false,
    }
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
async fn admission(connection: &Connection, accounts: &[Row]) -> Result<Vec<String>, Trouble> {
    let wide = accounts.iter().filter(|row| !row.says_yes(2) && weakness::is_wide(row.text(1)));
    let mut lines: Vec<String> = wide.map(|row| weakness::wide(row.text(0), row.text(1))).collect();
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
fn strangers(mappings: &[Row], users: &[String], hosts: &[String]) -> Vec<(String, String)> {
    let strange = mappings.iter().filter(|row| {
        let (user, host, role) = (row.text(0), row.text(1), row.text(2));
        let of_ours = role.starts_with(PREFIX) || role.starts_with(OWN_ROLE);
        let by_us = user == PROVISIONER
            || (host.is_empty() && user.starts_with(OWN_ROLE))
            || account::mark(user, role).is_some()
            || (users.iter().any(|known| known == user) && hosts.iter().any(|known| known == host));
        of_ours && !by_us
    });
    strange.map(|row| (row.text(2).to_owned(), row.text(0).to_owned())).collect()
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
