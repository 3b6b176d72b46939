//! What the server says of one login user: all accounts of its name, and the role of its own where users have one.

use std::collections::BTreeSet;

use super::account::{self, OWN_ROLE};
use super::catalog::{Catalog, Which};
use super::connection::Connection;
use super::listed::{self, Account};
use super::quote::literal;
use crate::provision::connection::Trouble;
use crate::provision::seen::{ObservedMembership, ObservedUser};

/// Roles of ours that a user could have as its own.
fn own_roles(user: &str) -> String {
    let begins = literal(&format!("{OWN_ROLE}{user}~"));
    format!(
        "SELECT User FROM mysql.global_priv WHERE Host = '' AND \
         LEFT(BINARY User, LENGTH({begins})) = BINARY {begins}"
    )
}

/// A user of this name, when there is an account from anywhere, or a role. It carries a mark only when all its accounts have
/// the same; those from addresses that the gateway had before have it too.
pub(crate) async fn user(
    connection: &Connection,
    user: &str,
) -> Result<Option<ObservedUser>, Trouble> {
    let mut mappings = listed::mappings(connection, Some(&[user])).await?;
    let accounts = listed::accounts(connection, Which::Named(user), &mappings).await?;
    if accounts.is_empty() {
        return Ok(None);
    }
    let own = own_role(connection, user, &accounts).await?;
    if let Some(own) = &own {
        mappings.extend(listed::mappings(connection, Some(&[own.as_str()])).await?);
    }
    let mark = match &own {
        Some(own) => account::mark(user, own),
        None => common(accounts.iter().map(|each| each.mark.as_ref())),
    };
    let mut held: BTreeSet<String> =
        accounts.iter().flat_map(|each| each.memberships(&mappings)).collect();
    held.extend(own.iter().flat_map(|own| listed::roles_of(own, "", &mappings)));
    let memberships = held.into_iter();
    Ok(Some(ObservedUser {
        oid: mark.as_deref().map(account::number).unwrap_or_default(),
        login: accounts.iter().any(|each| !each.locked),
        superuser: accounts.iter().any(|each| each.superuser),
        replication: accounts.iter().any(|each| each.replication),
        create_role: accounts.iter().any(|each| each.create_user),
        create_db: false,
        bypass_rls: false,
        mark,
        memberships: memberships
            .map(|role| ObservedMembership { role, grantor: String::new() })
            .collect(),
    }))
}

/// What all have alike.
fn common<'a>(each: impl Iterator<Item = Option<&'a String>>) -> Option<String> {
    let all: BTreeSet<Option<&String>> = each.collect();
    let all: Vec<Option<&String>> = all.into_iter().collect();
    match all.as_slice() {
        [one] => (*one).cloned(),
        _ => None,
    }
}

/// The role that all accounts carry, or were about to be given.
async fn own_role(
    connection: &Connection,
    user: &str,
    accounts: &[Account],
) -> Result<Option<String>, Trouble> {
    if connection.catalog != Catalog::MariaDb {
        return Ok(None);
    }
    let (hosts, issuer) = (connection.hosts(), &connection.accounts.issuer);
    // Its making was broken off before it was given one: locked, and by the certificate only.
    let unfinished = |each: &Account| {
        let is_made = each.locked && each.is_for_its_certificate(issuer) && !each.is_role;
        each.own.is_none() && is_made && hosts.contains(&each.host)
    };
    if !accounts.iter().all(|each| each.own.is_some() || unfinished(each)) {
        return Ok(None);
    }
    if accounts.iter().any(|each| each.own.is_some()) {
        let carried = accounts.iter().filter(|each| each.own.is_some());
        return Ok(common(carried.map(|each| each.own.as_ref())));
    }
    // The role was made first.
    let made = connection.rows("list roles", &own_roles(user)).await?;
    let made = made.iter().map(|row| row.text(0).to_owned());
    let mut ours = made.filter(|role| account::mark(user, role).is_some());
    Ok(ours.next().filter(|_| ours.next().is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_with_and_without_a_mark_are_nobodys() {
        let (one, two) = ("a".to_owned(), "b".to_owned());
        assert_eq!(common([Some(&one), Some(&one)].into_iter()), Some(one.clone()));
        assert_eq!(common([Some(&one), Some(&two)].into_iter()), None);
        assert_eq!(common([Some(&one), None].into_iter()), None);
        assert_eq!(common([None, None].into_iter()), None);
    }
}
