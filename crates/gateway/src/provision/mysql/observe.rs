//! What the server says of one login user: all accounts of its name, and the role of its own.

use std::collections::BTreeSet;

use super::account::{self, OWN_ROLE};
use super::connection::{Connection, Row};
use super::quote::{common_name, literal};
use crate::provision::connection::Trouble;
use crate::provision::seen::{ObservedMembership, ObservedUser};

/// One account as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
struct Account {
    host: String,
    locked: bool,
    superuser: bool,
    create_user: bool,
    replication: bool,
    /// The role of its own that it carries, which only the provisioner gives.
    own: Option<String>,
    /// Granted to the account itself.
    roles: BTreeSet<String>,
    /// Locked, and by the certificate only: one whose making was broken off, when it carries no role of its own.
    is_made: bool,
}

fn accounts_of(user: &str) -> String {
    format!(
        "SELECT u.Host, JSON_VALUE(g.Priv, '$.account_locked'), u.Super_priv, u.Create_user_priv, \
         u.Repl_slave_priv, u.default_role, u.is_role, \
         JSON_VALUE(g.Priv, '$.x509_subject'), JSON_VALUE(g.Priv, '$.x509_issuer') \
         FROM mysql.user u JOIN mysql.global_priv g ON g.Host = u.Host AND g.User = u.User \
         WHERE BINARY u.User = {}",
        literal(user)
    )
}

impl Account {
    fn read(row: &Row, user: &str, (mappings, issuer): (&[Row], &str)) -> Self {
        let host = row.text(0);
        let locked = row.says_yes(1);
        let by_certificate = row.text(7) == common_name(user) && row.text(8) == common_name(issuer);
        let its = mappings.iter().filter(|held| held.text(0) == host);
        let roles: BTreeSet<String> = its.map(|held| held.text(1).to_owned()).collect();
        Self {
            host: host.to_owned(),
            locked,
            superuser: row.says_yes(2),
            create_user: row.says_yes(3),
            replication: row.says_yes(4),
            own: account::own_of(user, row.text(5), &roles),
            roles,
            is_made: locked && by_certificate && !row.says_yes(6),
        }
    }
}

/// Roles of ours that a user could have as its own.
fn own_roles(user: &str) -> String {
    let begins = literal(&format!("{OWN_ROLE}{user}~"));
    format!(
        "SELECT User FROM mysql.global_priv WHERE Host = '' AND \
         LEFT(BINARY User, LENGTH({begins})) = BINARY {begins}"
    )
}

/// A user of this name, when there is an account from anywhere, or a role. It carries a mark only when all its accounts have
/// the same role of its own; those from addresses that the gateway had before have it too.
pub(crate) async fn user(
    connection: &Connection,
    user: &str,
) -> Result<Option<ObservedUser>, Trouble> {
    let attempt = "describe a user";
    let rows = connection.rows(attempt, &accounts_of(user)).await?;
    let mappings = format!(
        "SELECT Host, Role FROM mysql.roles_mapping WHERE BINARY User = {} AND Host <> ''",
        literal(user)
    );
    let mappings = connection.rows(attempt, &mappings).await?;
    let facts = (mappings.as_slice(), connection.accounts.issuer.as_str());
    let accounts: Vec<Account> = rows.iter().map(|row| Account::read(row, user, facts)).collect();
    if accounts.is_empty() {
        return Ok(None);
    }
    let own = own_role(connection, user, &accounts).await?;
    let mark = own.as_deref().and_then(|own| account::mark(user, own));
    let mut held: BTreeSet<String> =
        accounts.iter().flat_map(|each| each.roles.iter().cloned()).collect();
    if let Some(own) = &own {
        let sql = format!(
            "SELECT Role FROM mysql.roles_mapping WHERE BINARY User = {} AND Host = ''",
            literal(own)
        );
        held.extend(names(connection.rows("list a user's roles", &sql).await?));
    }
    held.retain(|role| Some(role) != own.as_ref());
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

async fn own_role(
    connection: &Connection,
    user: &str,
    accounts: &[Account],
) -> Result<Option<String>, Trouble> {
    let hosts = connection.hosts();
    let unfinished =
        |each: &Account| each.own.is_none() && each.is_made && hosts.contains(&each.host);
    if !accounts.iter().all(|each| each.own.is_some() || unfinished(each)) {
        return Ok(None);
    }
    let carried: BTreeSet<&String> = accounts.iter().filter_map(|each| each.own.as_ref()).collect();
    let carried: Vec<&String> = carried.into_iter().collect();
    match carried.as_slice() {
        [one] => Ok(Some((*one).clone())),
        // Its making was broken off before it was given one; the role was made first.
        [] => {
            let made = names(connection.rows("list roles", &own_roles(user)).await?);
            let mut ours = made.into_iter().filter(|role| account::mark(user, role).is_some());
            Ok(ours.next().filter(|_| ours.next().is_none()))
        }
        _ => Ok(None),
    }
}

fn names(rows: Vec<Row>) -> impl Iterator<Item = String> {
    rows.into_iter().map(|row| row.text(0).to_owned())
}
