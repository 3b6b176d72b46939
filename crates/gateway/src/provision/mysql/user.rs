//! SQL for one login user.

use std::collections::BTreeSet;

use super::connection::Connection;
use super::quote::{account as quoted, ident, list, literal};
use super::{account, backend, former, role};
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
    let attempt = "prepare a user";
    let user = wanted.user;
    let own = own(user, wanted.mark)?;
    let mut sql = vec![format!("CREATE ROLE IF NOT EXISTS {}", ident(&own))];
    for host in connection.hosts() {
        sql.extend(account::make(user, &host, &own, &connection.accounts));
    }
    connection.run_all(attempt, &sql).await?;
    role::share(connection).await?;
    former::drop_accounts(connection, user, &own).await?;
    let held = observed.map(|observed| observed.memberships.as_slice()).unwrap_or_default();
    let held: BTreeSet<String> = held.iter().map(|held| held.role.clone()).collect();
    grant_exactly(connection, (user, &own), &held, &wanted.roles).await?;
    let limit = wanted.connections_max.unwrap_or(0);
    let mut sql = attributes(connection, user, wanted.attributes);
    for host in connection.hosts() {
        sql.push(account::let_in(user, &host, limit, &connection.accounts));
    }
    connection.run_all(attempt, &sql).await
}

fn own(user: &str, mark: &str) -> Result<String, Trouble> {
    account::own_role(user, mark).ok_or(Trouble::Lacking("tell whose a user is"))
}

/// A session knows what its user held when it entered its database (measured on 10.11): what is gained counts when it enters
/// one again, and what is taken it would keep, so whoever takes something ends it.
async fn grant_exactly(
    connection: &Connection,
    (user, own): (&str, &str),
    held: &BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let attempt = "change a user's roles";
    let extra: BTreeSet<&String> = held.difference(wanted).collect();
    if revoke(connection, (user, own), &extra).await? == Revoked::InPart {
        return start_over(connection, (user, own), wanted).await;
    }
    for role in wanted.difference(held) {
        connection.run(attempt, &format!("GRANT {} TO {}", ident(role), ident(own))).await?;
    }
    Ok(())
}

/// `ER_CANNOT_REVOKE_ROLE`: it was not granted there.
const NOT_GRANTED: u16 = 1962;
/// `ER_ACCESS_DENIED_NO_PASSWORD_ERROR`: only whoever may hand a role on takes it away.
const NOT_OURS_TO_TAKE: u16 = 1698;

/// What came of taking roles away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revoked {
    All,
    /// Somebody else's roles are left, given by hand.
    InPart,
}

/// From the role of its own, and from the accounts themselves, to which someone may have granted them by hand.
async fn revoke(
    connection: &Connection,
    (user, own): (&str, &str),
    roles: &BTreeSet<&String>,
) -> Result<Revoked, Trouble> {
    let accounts = connection.hosts().into_iter().map(|host| quoted(user, &host));
    let members: Vec<String> = std::iter::once(ident(own)).chain(accounts).collect();
    let mut revoked = Revoked::All;
    for role in roles {
        for from in &members {
            let sql = format!("REVOKE {} FROM {from}", ident(role));
            match connection.run("change a user's roles", &sql).await {
                Err(Trouble::MySql { number: NOT_GRANTED, .. }) | Ok(()) => {}
                Err(Trouble::MySql { number: NOT_OURS_TO_TAKE, .. }) => revoked = Revoked::InPart,
                Err(trouble) => return Err(trouble),
            }
        }
    }
    Ok(revoked)
}

/// Everything at once can be taken away, also what only others could take away by its name. Sessions that may have taken it
/// on end.
async fn start_over(
    connection: &Connection,
    (user, own): (&str, &str),
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let attempt = "take everything away from a user";
    let accounts = accounts_of(connection, user).await?;
    let everything = |member: String| format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {member}");
    let mut sql = vec![everything(ident(own))];
    for who in accounts {
        sql.extend([everything(who.clone()), format!("GRANT {} TO {who}", ident(own))]);
    }
    connection.run_all(attempt, &sql).await?;
    backend::terminate(connection, user, &Backends::All).await?;
    let granted = wanted.iter().map(|role| format!("GRANT {} TO {}", ident(role), ident(own)));
    connection.run_all(attempt, &granted.collect::<Vec<_>>()).await
}

/// Those from the gateway's addresses that there are, quoted.
async fn accounts_of(connection: &Connection, user: &str) -> Result<Vec<String>, Trouble> {
    let hosts = connection.hosts();
    let sql = format!(
        "SELECT Host FROM mysql.global_priv WHERE BINARY User = {} AND Host IN ({})",
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
    let attempt = "withdraw a user";
    for host in connection.hosts() {
        let who = quoted(user, &host);
        connection.run(attempt, &format!("ALTER USER IF EXISTS {who} ACCOUNT LOCK")).await?;
    }
    if let Some(mark) = &observed.mark {
        former::drop_accounts(connection, user, &own(user, mark)?).await?;
    }
    // Told first, counted later: the sessions are gone while the rest is done.
    backend::terminate(connection, user, &Backends::All).await?;
    revoke_all(connection, user, observed).await?;
    forget(connection, user, observed).await
}

/// What was granted to an account by hand, and a password that its user gave itself. Whose it is stays known.
async fn forget(
    connection: &Connection,
    user: &str,
    observed: &ObservedUser,
) -> Result<(), Trouble> {
    let mark = observed.mark.as_deref().unwrap_or_default();
    let own = ident(&own(user, mark)?);
    for who in accounts_of(connection, user).await? {
        let sql = [
            format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}"),
            format!("GRANT {own} TO {who}"),
            format!("ALTER USER {who} IDENTIFIED BY '' ACCOUNT LOCK"),
        ];
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
    let own = own(user, mark)?;
    let held: BTreeSet<&String> = observed.memberships.iter().map(|held| &held.role).collect();
    if revoke(connection, (user, &own), &held).await? == Revoked::InPart {
        start_over(connection, (user, &own), &BTreeSet::new()).await?;
    }
    Ok(())
}

/// Takes some roles away and gives others.
pub(crate) async fn change(
    connection: &Connection,
    (user, observed): (&str, &ObservedUser),
    wanted: &BTreeSet<String>,
    given: Attributes,
) -> Result<(), Trouble> {
    let Some(mark) = &observed.mark else { return Ok(()) };
    let own = own(user, mark)?;
    let held: BTreeSet<String> =
        observed.memberships.iter().map(|held| held.role.clone()).collect();
    // The authority may have changed, and somebody may have given it a password.
    let require = account::require(user, &connection.accounts);
    let mut made = Vec::new();
    let mut sql = attributes(connection, user, given);
    for host in connection.hosts() {
        let who = quoted(user, &host);
        made.extend(account::make(user, &host, &own, &connection.accounts));
        sql.push(format!("ALTER USER {who} IDENTIFIED BY '' {require} ACCOUNT UNLOCK"));
    }
    connection.run_all("change a user's roles", &made).await?;
    former::drop_accounts(connection, user, &own).await?;
    grant_exactly(connection, (user, &own), &held, wanted).await?;
    connection.run_all("change a user's roles", &sql).await
}

/// Takes over accounts that someone else made: the certificate is their only way in from here on.
pub(crate) async fn take_over(
    connection: &Connection,
    user: &str,
    mark: &str,
) -> Result<(), Trouble> {
    let own = own(user, mark)?;
    let mut sql = vec![format!("CREATE ROLE IF NOT EXISTS {}", ident(&own))];
    for host in connection.hosts() {
        sql.extend(account::make(user, &host, &own, &connection.accounts));
        sql.push(account::let_in(user, &host, 0, &connection.accounts));
    }
    connection.run_all("take over a user", &sql).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_mark_of_ours_is_nobodys_and_nothing_was_late() {
        let missing = own("ada", "somebody else's").unwrap_err();
        assert!(matches!(missing, Trouble::Lacking(_)), "{missing}");
        assert_eq!(
            missing.to_string(),
            "the server's answer to the attempt to tell whose a user is lacks what was asked for"
        );
    }
}
