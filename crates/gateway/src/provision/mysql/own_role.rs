//! How a user of MariaDB's gets what its roles give: by a role of its own, its default role, to which the active ones are
//! granted, since there is one current role. By that role its accounts are known to be ours.

use std::collections::BTreeSet;

use super::connection::Connection;
use super::quote::{account as quoted, ident};
use super::user::accounts_of;
use super::{account, backend, role};
use crate::provision::connection::Trouble;
use crate::provision::seen::Backends;

/// Makes what is missing: the role, and the accounts that carry it.
pub(crate) async fn make(connection: &Connection, user: &str, mark: &str) -> Result<(), Trouble> {
    let own = own(user, mark)?;
    let mut sql = vec![format!("CREATE ROLE IF NOT EXISTS {}", ident(&own))];
    for host in connection.hosts() {
        sql.extend(account::make(user, &host, &own, &connection.accounts));
    }
    connection.run_all("prepare a user", &sql).await?;
    role::share(connection).await
}

/// What keeps an account ours when everything else is taken from it.
pub(crate) fn keep(user: &str, mark: &str, who: &str) -> Result<String, Trouble> {
    Ok(format!("GRANT {} TO {who}", ident(&own(user, mark)?)))
}

fn own(user: &str, mark: &str) -> Result<String, Trouble> {
    account::own_role(user, mark).ok_or(Trouble::Lacking("tell whose a user is"))
}

/// A session knows what its user held when it entered its database (measured on 10.11): what is gained counts when it enters
/// one again, and what is taken it would keep, so whoever takes something ends it.
pub(crate) async fn grant_exactly(
    connection: &Connection,
    (user, mark): (&str, &str),
    held: &BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let attempt = "change a user's roles";
    let own = &own(user, mark)?;
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
