//! One login user: the same on every server that speaks the protocol, but for how its roles reach its accounts.

use std::collections::BTreeSet;

use super::catalog::{Catalog, Which};
use super::connection::Connection;
use super::listed::{self, Account};
use super::quote::{account as quoted, list, literal};
use super::{account, backend, former, marked, own_role};
use crate::provision::connection::Trouble;
use crate::provision::plan::Attributes;
use crate::provision::seen::{Backends, ObservedUser, WantedUser};

/// Makes a login user what it must be. What is there already is made so again: a statement that is broken off half way is
/// followed by the same once more.
pub(crate) async fn enable(
    connection: &Connection,
    wanted: &WantedUser<'_>,
    observed: Option<&ObservedUser>,
) -> Result<(), Trouble> {
    let user = wanted.user;
    make(connection, (user, wanted.mark)).await?;
    let held = observed.map(held).unwrap_or_default();
    grant_exactly(connection, (user, wanted.mark), &held, &wanted.roles).await?;
    let limit = wanted.connections_max.unwrap_or(0);
    let mut sql = attributes(connection, user, wanted.attributes);
    let certified = (connection.catalog, &connection.accounts);
    for host in connection.hosts() {
        sql.push(account::let_in(certified, (user, &host), Some(limit)));
    }
    connection.run_all("prepare a user", &sql).await
}

/// Makes the accounts that are missing, and drops those from addresses of before.
async fn make(connection: &Connection, (user, mark): (&str, &str)) -> Result<(), Trouble> {
    let there = accounts(connection, user).await?;
    match connection.catalog {
        Catalog::MariaDb => own_role::make(connection, user, mark).await?,
        Catalog::MySql(_) => marked::make(connection, (user, mark), &there).await?,
    }
    former::drop_accounts(connection, (user, mark), &there).await
}

async fn accounts(connection: &Connection, user: &str) -> Result<Vec<Account>, Trouble> {
    let mappings = listed::mappings(connection, Some(&[user])).await?;
    listed::accounts(connection, Which::Named(user), &mappings).await
}

fn held(observed: &ObservedUser) -> BTreeSet<String> {
    observed.memberships.iter().map(|held| held.role.clone()).collect()
}

async fn grant_exactly(
    connection: &Connection,
    (user, mark): (&str, &str),
    held: &BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    match connection.catalog {
        Catalog::MariaDb => own_role::grant_exactly(connection, (user, mark), held, wanted).await,
        Catalog::MySql(_) => marked::grant_exactly(connection, user, held, wanted).await,
    }
}

/// Those from the gateway's addresses that there are, quoted.
pub(crate) async fn accounts_of(
    connection: &Connection,
    user: &str,
) -> Result<Vec<String>, Trouble> {
    let hosts = connection.hosts();
    let sql = format!(
        "SELECT Host FROM mysql.user WHERE BINARY User = {} AND Host IN ({})",
        literal(user),
        list(hosts.iter().map(String::as_str))
    );
    let rows = connection.rows("describe a user", &sql).await?;
    Ok(rows.iter().map(|row| quoted(user, row.text(0))).collect())
}

/// Ends a user: no login, no role, no session, no privilege or password of its own.
pub(crate) async fn disable(
    connection: &Connection,
    user: &str,
    observed: &ObservedUser,
) -> Result<(), Trouble> {
    let mut locked = Ok(());
    for host in connection.hosts() {
        let sql = format!("ALTER USER IF EXISTS {} ACCOUNT LOCK", quoted(user, &host));
        // One that was given the server by hand may be beyond the provisioner: all else ends all the same.
        locked = locked.and(connection.run("withdraw a user", &sql).await);
    }
    if let Some(mark) = &observed.mark {
        let there = accounts(connection, user).await?;
        former::drop_accounts(connection, (user, mark), &there).await?;
    }
    // Told first, counted later: the sessions are gone while the rest is done.
    backend::terminate(connection, user, &Backends::All).await?;
    revoke_all(connection, user, observed).await?;
    forget(connection, user, observed).await?;
    locked
}

/// What was granted to an account by hand, and a password that its user gave itself. Whose it is stays known.
async fn forget(
    connection: &Connection,
    user: &str,
    observed: &ObservedUser,
) -> Result<(), Trouble> {
    let mark = observed.mark.as_deref().unwrap_or_default();
    for who in accounts_of(connection, user).await? {
        let mut sql = vec![format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}")];
        if connection.catalog == Catalog::MariaDb {
            sql.push(own_role::keep(user, mark, &who)?);
        }
        sql.push(format!(
            "ALTER USER {who} {} ACCOUNT LOCK",
            account::no_password(connection.catalog)
        ));
        connection.run_all("withdraw a user", &sql).await?;
    }
    Ok(())
}

/// Takes every role away.
pub(crate) async fn revoke_all(
    connection: &Connection,
    user: &str,
    observed: &ObservedUser,
) -> Result<(), Trouble> {
    let Some(mark) = &observed.mark else { return Ok(()) };
    grant_exactly(connection, (user, mark), &held(observed), &BTreeSet::new()).await
}

/// Takes some roles away and gives others. The authority may have changed, and somebody may have given it a password.
pub(crate) async fn change(
    connection: &Connection,
    (user, observed): (&str, &ObservedUser),
    wanted: &BTreeSet<String>,
    given: Attributes,
) -> Result<(), Trouble> {
    let Some(mark) = &observed.mark else { return Ok(()) };
    make(connection, (user, mark)).await?;
    grant_exactly(connection, (user, mark), &held(observed), wanted).await?;
    let mut sql = attributes(connection, user, given);
    let certified = (connection.catalog, &connection.accounts);
    for host in connection.hosts() {
        sql.push(account::let_in(certified, (user, &host), None));
    }
    connection.run_all("change a user's roles", &sql).await
}

/// Takes over accounts that someone else made: the certificate is their only way in from here on.
pub(crate) async fn take_over(
    connection: &Connection,
    user: &str,
    mark: &str,
) -> Result<(), Trouble> {
    let attempt = "take over a user";
    if connection.catalog != Catalog::MariaDb {
        for who in accounts_of(connection, user).await? {
            let sql = format!("ALTER USER {who} {}", marked::attribute(mark));
            connection.run(attempt, &sql).await?;
        }
    }
    make(connection, (user, mark)).await?;
    let certified = (connection.catalog, &connection.accounts);
    let let_in = |host: String| account::let_in(certified, (user, &host), Some(0));
    let sql: Vec<String> = connection.hosts().into_iter().map(let_in).collect();
    connection.run_all(attempt, &sql).await
}

/// Only a test stack's provisioner can hand these on.
fn attributes(connection: &Connection, user: &str, attributes: Attributes) -> Vec<String> {
    if !connection.superuser {
        return Vec::new();
    }
    let each = connection.hosts().into_iter().map(|host| {
        let who = quoted(user, &host);
        if attributes.superuser {
            vec![format!("GRANT ALL PRIVILEGES ON *.* TO {who} WITH GRANT OPTION")]
        } else {
            // The one does not take the other.
            vec![
                format!("REVOKE ALL PRIVILEGES ON *.* FROM {who}"),
                format!("REVOKE GRANT OPTION ON *.* FROM {who}"),
            ]
        }
    });
    each.flatten().collect()
}
